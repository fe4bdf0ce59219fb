"""`rankine catalogue` on a copy of the inputs: what it lists, runs, leaves alone, writes and refuses.

usage: check_catalogue.py RANKINE INPUTS MPIEXEC ... RANKS ...
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import h5py

def stale(listed):
    """The names of the decks that `rankine catalogue list` calls stale."""
    return [line.split()[1] for line in listed.splitlines() if " stale " in line]


QUICK = """about: {id: "9.01", name: a method that is quick, claim: It learns., minutes: 1}
run: {experiment: training, seeds: [0, 1], output: quick.h5}
data: {name: fashion_mnist, pool: 2, train: 40, validation: 8, test: 8}
model: {blocks: [{name: flatten}, {name: dense, units: 10}]}
train: {steps: 3, batch: 8, shards: 2}
expect: [mean(test_accuracy) BOUND]
smoke: {train.steps: 1}
"""


def main() -> int:
    rankine, inputs, *launcher = sys.argv[1:]
    failures = []

    def run(*arguments, ranks=0):
        words = [str(ranks) if word == "RANKS" else word for word in launcher] if ranks else []
        return subprocess.run([*words, rankine, "catalogue", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def expect(what, condition, output=""):
        if not condition:
            failures.append(f"{what}\n{output}")

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        shutil.copytree(inputs, "inputs")
        decks = pathlib.Path("inputs/catalogue/tried")
        decks.mkdir()
        (decks / "quick.yaml").write_text(QUICK.replace("BOUND", ">= 0"))
        (decks / "wrong.yaml").write_text(QUICK.replace("BOUND", "> 2").replace("9.01", "9.02"))
        (decks / "broken.yaml").write_text(QUICK.replace("BOUND", ">= 0").replace("9.01", "9.03").replace("steps: 3", "steps: x"))
        result = decks / "quick.result"

        listed = run("list").stdout
        systems = [line for line in pathlib.Path("inputs/catalogue/systems.tsv").read_text().splitlines() if line[:1].isdigit()]
        expect("there are 138 systems", len(systems) == 138)
        expect("every system is listed", all(f"{line.split(chr(9))[0]} " in listed for line in systems), listed)
        expect("states are told", "not built" in listed and "passes" in listed and "not run" in listed, listed)
        expect("`list catalogue` says the same",
               subprocess.run([rankine, "list", "catalogue"], stdout=subprocess.PIPE, text=True).stdout == listed)

        smoke = run("run", "quick", "--smoke", ranks=2)
        expect("smoke sizes write no result", smoke.returncode == 4 and "no bar" in smoke.stdout and not result.exists(), smoke.stdout)
        first = run("run", "tried/quick", "--again", ranks=2)
        expect("a deck that passes", first.returncode == 0 and result.exists() and "verdict: pass" in result.read_text(), first.stdout)
        expect("the table has its line", "| 9.01 | tried/quick | a method that is quick |" in
               pathlib.Path("inputs/catalogue/STATUS.md").read_text())
        expect("the result names deck and machine", re.search(r'^deck: "[0-9a-f]{16}"$', result.read_text(), re.M) and
               re.search(r'^machine: "?(2 ranks on )?[0-9]+ cores, ', result.read_text(), re.M), result.read_text())
        table = pathlib.Path("inputs/catalogue/STATUS.md").read_text()
        expect("results that know no deck stand in a footnote",
               "Unknown deck" in table and "local/sltt" in table.split("Unknown deck")[1] and "tried" not in table.split("Unknown deck")[1])
        stamp = result.stat().st_mtime_ns
        second = run("run", "quick")
        expect("what is complete is not run again",
               second.returncode == 0 and "was run before" in second.stdout and result.stat().st_mtime_ns == stamp, second.stdout)
        small = run("run", "quick", "--smoke")
        expect("results at other sizes are not taken for the deck's", "was run before" not in small.stdout, small.stdout)
        run("run", "quick", "--again")
        text = (decks / "quick.yaml").read_text()
        (decks / "quick.yaml").write_text("# a remark\n" + text.replace("It learns.", "It does."))
        expect("titles and remarks change no deck", "tried/quick" not in stale(run("list").stdout))
        (decks / "quick.yaml").write_text(text.replace("units: 10", "units: 10, bias: false"))
        expect("a result of another deck is stale", "tried/quick" in stale(run("list").stdout) and "| pass, stale |" in run("status").stdout,
               run("list").stdout)
        changed = run("run", "quick")
        expect("a deck that has changed is run again", "was run before" not in changed.stdout and changed.returncode == 0 and
               "tried/quick" not in stale(run("list").stdout), changed.stdout)
        with h5py.File("results/catalogue/tried/quick.h5", "a") as file:
            file.attrs["complete"] = 0
            file.attrs["missing"] = "default seed 1"
        third = run("run", "quick")
        expect("what is incomplete is run again", "was run before" not in third.stdout and third.returncode == 0, third.stdout)

        family = run("run", "tried")
        expect("a deck that breaks leaves the others alone",
               family.returncode == 1 and "steps" in family.stdout and "== tried/wrong: fail" in family.stdout, family.stdout)
        share = run("run", "tried", "--task", "2/3")
        expect("a share of the decks", "tried/quick" in share.stdout and "tried/wrong" not in share.stdout, share.stdout)
        expect("the table is the program's", run("status").stdout == pathlib.Path("inputs/catalogue/STATUS.md").read_text())
        unknown = run("run", "tired")
        expect("an unknown name", unknown.returncode == 1 and "tried" in unknown.stdout, unknown.stdout)
        unbuilt = run("run", "lpn")
        expect("a system without a deck", unbuilt.returncode == 1 and "no deck yet" in unbuilt.stdout, unbuilt.stdout)
        result.write_text("notes of mine\n")
        kept = run("run", "quick", "--again")
        expect("a foreign file is no result", kept.returncode != 0 and result.read_text() == "notes of mine\n", kept.stdout)
    print("\n".join(failures) or "the catalogue lists, runs and writes what it says")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
