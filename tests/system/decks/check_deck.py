"""Runs a deck at smoke size on 1, 2, 3 and 4 ranks and compares the results bit by bit.

usage: check_deck.py RANKINE DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import pathlib
import subprocess
import sys
import tempfile


def main() -> int:
    rankine, deck, *launcher = sys.argv[1:]
    place = launcher.index("RANKS")
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for ranks in (1, 2, 3, 4):
            command = launcher[:place] + [str(ranks)] + launcher[place + 1 :]
            output = pathlib.Path(folder) / f"{ranks}.h5"
            run = subprocess.run(
                [*command, rankine, "run", deck, "--smoke", "--output", str(output)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200)
            if run.returncode != 0 or not output.exists():
                print(f"{ranks} ranks: exit code {run.returncode}\n{run.stdout}")
                return 1
            files.append(output)
        for ranks, output in enumerate(files[1:], start=2):
            comparison = subprocess.run([rankine, "compare", str(files[0]), str(output)],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if comparison.returncode != 0:
                print(f"1 and {ranks} ranks differ:\n{comparison.stdout}")
                return 1
        leftovers = [p.name for p in pathlib.Path(folder).iterdir() if p.suffix not in (".h5", ".xdmf")]
        if leftovers:
            print("left behind:", leftovers)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
