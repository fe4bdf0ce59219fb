"""A closed or full standard output ends the output and no run; commands that only print say that it was not written."""
import os
import subprocess

import cases


def check(t):
    t.deck(train="{steps: 300, batch: 2, learning_rate: 4e-3}")
    out = t.folder / "out.h5"

    def shell(line, **more):
        """Exit codes of the parts of a pipe, and what it said."""
        environment = {**os.environ, "R": str(t.rankine), "M": " ".join(t.command(ranks=2)[:-1])}
        process = subprocess.run(["bash", "-c", line + '; echo "codes ${PIPESTATUS[@]}" >&2'], cwd=t.folder, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                                 env=environment, **more)
        *said, codes = process.stderr.strip().split("\n")
        return [int(code) for code in codes.split()[1:]], process.stdout, "\n".join(said)

    def finishes(what, line, *needed, **more):
        out.unlink(missing_ok=True)
        codes, _, said = shell(line, **more)
        if line.startswith("$M") and (": SIGPIPE detected" in said or codes[0] == 141):
            # Open MPI's launcher has ended the job, or was itself ended by SIGPIPE: a line was on its way when the
            # reader went. Rankine prints no more from then on, so that it is one line at most, and leaves nothing
            # half-written.
            t.expect(what + ": whole or not there", not out.exists() or t.run("info", "out.h5").returncode == 0)
            return
        t.expect(what, codes[0] == 0 and all(word in said for word in needed), f"{codes} {said}")
        t.says(what + ": the results are whole", t.run("info", "out.h5"), 0)
        t.expect(what + ": nothing else is left", not list(t.folder.glob("*.tmp.*")) and not list(t.folder.glob(".*.lock")),
                 str(list(t.folder.iterdir())))

    run = '"$R" run deck.yaml'
    finishes("a reader that goes", f"{run} | head -1")
    finishes("a reader that never reads", f"{run} | true")
    finishes("a closed output", f"{run} >&-", "warning: standard output could not be written")
    finishes("a closed error output", f"{run} 2>&-")
    finishes("all closed", f"{run} <&- >&- 2>&-")
    finishes("a full disk for the output", f"{run} > /dev/full", "warning: standard output could not be written: No space")
    finishes("both full", f"{run} > /dev/full 2> /dev/full")
    finishes("two ranks", f"$M {run} | head -1")
    finishes("groups of ranks", f"$M {run} --set run.seeds=[0,1] --set run.concurrent=2 | head -1")
    finishes("with checkpoints", f"{run} --set checkpoint.every_steps=50 | head -1")

    printing = ["info out.h5", "info out.h5 --json", "info out.h5.checkpoints", "describe pde_training", "describe deck",
                "list", "list block", "check deck.yaml", "compare out.h5 out.h5", "doctor", "doctor --json", "--version",
                "--help", "run --help", "run deck.yaml --dry-run", "compare --merge out.h5",
                "info out.h5.checkpoints/finished-v-seed_0.h5 --deck deck.yaml"]
    for command in printing:
        plain, text, _ = shell(f'"$R" {command}')
        if not t.expect(f"{command} prints", plain[0] == 0 and text, str(plain)):
            continue
        for place in ("/dev/full", "&-"):
            codes, _, said = shell(f'"$R" {command} >{place}')
            t.expect(f"{command} >{place}", codes == [3] and "error: standard output could not be written" in said,
                     f"{codes} {said}")
        codes, _, said = shell(f'"$R" {command} | true')
        t.expect(f"{command}, nobody reads", codes[0] == 0 and said == "", f"{codes} {said}")
    codes, _, said = shell('"$R" info nothing.h5 > /dev/full')
    t.expect("other errors keep their code", codes == [1], f"{codes} {said}")
    t.says("another file", t.run("run", "deck.yaml", "--output", "other.h5", "--set", "train.learning_rate=1e-3"), 0)
    codes, _, said = shell('"$R" compare out.h5 other.h5 > /dev/full')
    t.expect("a comparison that says nothing", codes == [3], f"{codes} {said}")
    codes, _, said = shell('"$R" compare out.h5 other.h5 | true')
    t.expect("a comparison whose reader goes", codes[0] == 4, f"{codes} {said}")


if __name__ == "__main__":
    cases.main(check)
