"""Runs the catalogue's runner on one deck at smoke size and looks at the table that it leaves.

usage: check_runner.py RUNNER RANKINE INPUTS
"""
import pathlib
import subprocess
import sys
import tempfile

import h5py


def main() -> int:
    runner, rankine, inputs = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        status = pathlib.Path(folder) / "STATUS.md"
        common = [sys.executable, runner, rankine, "--inputs", inputs, "--work", folder, "--status", str(status)]

        def run(*arguments):
            return subprocess.run([*common, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        unknown = run("no-such-deck")
        listed = unknown.stdout
        if unknown.returncode != 1 or "local/auglocal" not in listed or "diffusion_sorption_long" not in listed \
                or "heat" in listed or status.exists():
            print("an unknown name:", unknown.returncode, unknown.stdout)
            return 1
        first = run("local/auglocal", "--smoke")
        text = status.read_text() if status.exists() else ""
        # Smoke sizes check no expectation, so there is no bar.
        if first.returncode != 4 or "| 0.03 | local/auglocal |" not in text or "| no bar |" not in text:
            print("first run:", first.returncode, first.stdout, text)
            return 1
        second = run("auglocal", "--smoke")
        if "== local/auglocal\n" in second.stdout or status.read_text() != text:
            print("a complete deck was run again, or its line has changed:", second.stdout)
            return 1
        with h5py.File(pathlib.Path(folder) / "local/auglocal.h5", "a") as file:
            file.attrs["complete"] = 0  # as a failed run leaves it
        third = run("auglocal", "--smoke")
        if "== local/auglocal\n" not in third.stdout:
            print("incomplete results were taken for complete ones:", third.stdout)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
