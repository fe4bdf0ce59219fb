"""`rankine run --profile`: its tables, one host read a step of the soft constraint, and the same results as without it.

usage: check_profile.py RANKINE DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def main() -> int:
    rankine, deck, *launcher = sys.argv[1:]
    place = launcher.index("RANKS")
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)

        def run(name, ranks, *arguments, code=0):
            command = [*launcher[:place], str(ranks), *launcher[place + 1:], rankine, "run", deck, "--smoke"]
            command += ["--only", "pi-sc", "--output", str(base / name), *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
            assert done.returncode == code, f"exit code {done.returncode}, not {code}\n{done.stdout}"
            return done.stdout

        plain = run("plain.h5", 1)
        assert "profile of" not in plain, plain
        for ranks in (1, 2):
            text = run(f"profile{ranks}.h5", ranks, "--profile")
            for wanted in (r"^profile of pi-sc, seed \d+: means over [1-9]\d* steps of [\d.]+ ms", r"^limits measured here: ",
                           r"^op +calls +ms +share +Gflop/s +GB/s +of limit$", r"^optimizer_step +1 ",
                           r"^fourier_layer_backward +[1-9]", r"^kernel +launches +ms$", r"^adam +1 ",
                           r"^MPI: [\d.]+ ms; "):
                assert re.search(wanted, text, re.M), f"no line {wanted!r} in\n{text}"
            reads = re.search(r"^a step: [1-9]\d* launches; ([\d.]+) host reads", text, re.M)
            assert reads, text
            # Where memory is apart the bridge reads too.
            if "0 accesses through the bridge" in text:
                assert reads.group(1) == "1", text
            messages = int(float(re.search(r"^MPI: .*; ([\d.]+) messages", text, re.M).group(1)))
            assert (messages > 0) == (ranks > 1), text
            same = subprocess.run([rankine, "compare", str(base / "plain.h5"), str(base / f"profile{ranks}.h5")],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
            assert same.returncode == 0, same.stdout
        refused = run("none.h5", 1, "--profile", "--dry-run", code=1)
        assert "--profile" in refused and "--dry-run" in refused, refused
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
