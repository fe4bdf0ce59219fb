"""What the checks of this folder share: a scratch folder, decks, runs of the program, and what they must say.

usage of a check: check_<group>.py RANKINE SOURCE_DIR MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402

# An ordinary deck of a few steps; the keys of `more` replace its sections.
BASE = {
    "about": "{claim: An ordinary deck.}",
    "run": "{experiment: pde_training, ranks: 1, seeds: [0], output: out.h5}",
    "pde": "{name: diffusion_sorption, data_cells: 128}",
    "grid": "{cells: 32, frames: 20, tiles: [1, 2]}",
    "data": "{train: 4, validation: 1, test: 2}",
    "model": "{name: fno2d, widths: [8, 8], modes_t: 4, modes_x: 4, projection: 8}",
    "formulation": "{basis: 4}",
    "train": "{steps: 2, batch: 2, learning_rate: 4e-3}",
    "variants": "{v: {formulation: {method: soft}}}",
}


class Cases:
    """One scratch folder and what went wrong in it."""

    def __init__(self, arguments):
        self.rankine, self.source = pathlib.Path(arguments[1]).resolve(), pathlib.Path(arguments[2])
        self.mpiexec = arguments[3:]
        self.scratch = tempfile.TemporaryDirectory(prefix="rankine-cases-")
        self.folder = pathlib.Path(self.scratch.name)
        self.failures = []

    def deck(self, name="deck.yaml", **more):
        """Writes BASE with the sections of `more` as <scratch>/<name>; a section that is None is left out."""
        path = self.folder / name
        sections = {**BASE, **more}
        path.write_text("".join(f"{key}: {text}\n" for key, text in sections.items() if text is not None))
        return path

    def command(self, *arguments, ranks=1):
        """The command line of the program on so many ranks."""
        return [*on_ranks(self.mpiexec, ranks), str(self.rankine), *map(str, arguments)]

    def run(self, *arguments, ranks=1, cwd=None, timeout=120, **more):
        """The finished process, with its output as text."""
        return subprocess.run(self.command(*arguments, ranks=ranks), cwd=cwd or self.folder, timeout=timeout,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, **{"env": os.environ, **more})

    def expect(self, what, good, detail=""):
        """Notes a failure unless `good`."""
        if not good:
            self.failures.append(f"{what}: {detail}".rstrip(": "))
            print("FAILED", self.failures[-1], flush=True)
        return good

    def says(self, what, process, code, *needed, never=()):
        """The process ended with `code` and said all of `needed` (and nothing of `never`)."""
        text = process.stdout + process.stderr
        missing = [word for word in needed if word not in text]
        wrong = [word for word in never if word in text]
        return self.expect(what, process.returncode == code and not missing and not wrong,
                           f"exit code {process.returncode}, not {code}; lacks {missing}; has {wrong}; it said:\n{text}")

    def end(self):
        """Exit code of the check."""
        self.scratch.cleanup()
        print(f"{len(self.failures)} failures")
        return 1 if self.failures else 0


def metrics(check, path="out.h5"):
    """(variant, seed) -> metric -> value; null where it is not finite."""
    info = json.loads(check.run("info", path, "--json").stdout)
    return {(run["variant"], run["seed"]): {name: entry["value"] for name, entry in run["metrics"].items()}
            for run in info["runs"]}, info


def clean(check):
    """Removes everything but decks from the scratch folder."""
    for path in sorted(check.folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        elif path.suffix != ".yaml":
            path.unlink()


def same(check, what, first, second):
    """Two results files hold the same bits."""
    process = check.run("compare", first, second)
    check.expect(what, process.returncode == 0, process.stdout)


def main(check):
    """Runs `check(cases)` for the command line of this process."""
    cases = Cases(sys.argv)
    try:
        check(cases)
    finally:
        code = cases.end()
    sys.exit(code)
