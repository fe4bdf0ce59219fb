"""The main job at smoke size on one rank, with checkpoints, under valgrind's memcheck: no error and no lost memory.

usage: check_valgrind.py VALGRIND RANKINE MISTAKES DECK

First, valgrind must see what mistakes.cpp does wrong with the same suppressions. Exit code 77 (skipped): RANKINE was compiled
for instructions that this valgrind does not know; build it with -DRANKINE_NATIVE=OFF.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

VALGRIND, RANKINE, MISTAKES, DECK = map(os.path.abspath, sys.argv[1:])
SUPPRESSIONS = pathlib.Path(__file__).resolve().parent / "valgrind.supp"
FOUND = 99  # valgrind's exit code where it has found something
REPORTS = {"leak": r"bytes in 1 blocks are definitely lost", "heap": r"Invalid write of size 8",
           "freed": r"Invalid read of size 4", "unset": r"Conditional jump or move depends on uninitialised value"}


def memcheck(*command):
    """(exit code, valgrind's report, what the program wrote)"""
    log = pathlib.Path("valgrind.log")
    # OpenBLAS must not choose by a processor that valgrind cannot play.
    modern = "avx2" in pathlib.Path("/proc/cpuinfo").read_text()
    done = subprocess.run(
        [VALGRIND, f"--error-exitcode={FOUND}", "--leak-check=full", "--show-leak-kinds=definite,possible",
         "--errors-for-leak-kinds=definite,possible", "--keep-debuginfo=yes", "--num-callers=60", "--child-silent-after-fork=yes",
         f"--suppressions={SUPPRESSIONS}", f"--log-file={log}", *command], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, "OPENBLAS_CORETYPE": "Haswell" if modern else "Nehalem"})
    return done.returncode, log.read_text(), done.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for mistake in ("none", *REPORTS):
            code, report, said = memcheck(MISTAKES, mistake)
            if "unrecognised instruction" in report:
                print(f"skipped: {unknown_instructions(report)}")
                return 77
            expected = 0 if mistake == "none" else FOUND
            if code != expected or not re.search(REPORTS.get(mistake, "ERROR SUMMARY: 0 errors"), report):
                sys.exit(f"mistake '{mistake}': exit code {code}, expected {expected}\n{report[-4000:]}{said}")
        code, report, said = memcheck(RANKINE, "run", DECK, "--smoke", "--set", "checkpoint.every_steps=1", "--output", "out.h5")
        if "unrecognised instruction" in report:
            print(f"skipped: {unknown_instructions(report)}")
            return 77
        if code != 0 or "ERROR SUMMARY: 0 errors" not in report or not pathlib.Path("out.h5").exists():
            sys.exit(f"exit code {code}\n{report[-20000:]}\n{said[-3000:]}")
        if not list(pathlib.Path("out.h5.checkpoints").glob("checkpoint-*.h5")):
            sys.exit(f"no checkpoint was written\n{said[-3000:]}")
        print(re.search(r"total heap usage:.*", report).group(), "\n" + re.search(r"definitely lost:.*", report).group())
        print(re.search(r"ERROR SUMMARY:.*", report).group())
    return 0


def unknown_instructions(report):
    line = next(line for line in report.splitlines() if "unrecognised instruction" in line)
    return f"{line}: build with -DRANKINE_NATIVE=OFF, or with a newer valgrind"


if __name__ == "__main__":
    sys.exit(main())
