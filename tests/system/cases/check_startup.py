"""Commands that only read and say something start neither MPI nor PETSc nor Kokkos, except where a launcher has started
several of them: then one speaks, and all end alike.
"""
import os

import cases


def without(check, *arguments):
    """A run in which starting any of them ends the program with code 99."""
    return check.run(*arguments, cwd=check.source, env={**os.environ, "LD_PRELOAD": os.environ["RANKINE_NO_START"]})


def alone(check):
    deck = check.deck()
    check.says("the library sees a run", without(check, "run", deck), 99, "no_start: ")
    check.says("and a doctor", without(check, "doctor"), 99, "no_start: ")
    results = check.folder / "out.h5"
    check.says("results to look at", check.run("run", deck), 0)
    for what, words in {"--help": "Exit codes", "run --help": "--restart", "--version": "PETSc: 3", "list": "pde_training",
                        "list catalogue": "auglocal", "describe pde_training": "grid.cells",
                        "describe deck": "expect", f"info {results}": "rel_l2", f"info {results} --json": "rel_l2",
                        f"compare {results} {results}": ": same",
                        f"convert {results} {check.folder / 'w.npz'}": ""}.items():
        check.says(what, without(check, *what.split(" ")), 0, words, never=("no_start",))
    for what, words in {"chck": "unknown command 'chck'", "": "a command is missing", "list nothing": "there is no kind",
                        "describe nothing": "nothing is called", "info missing.h5": "missing.h5",
                        "check missing.yaml": "missing.yaml", f"check {deck} -- what": "PETSc options"}.items():
        check.says(f"wrong: '{what}'", without(check, *what.split(" ") if what else []), 1, "rankine: error:", words,
                   never=("no_start",))


def decks(check):
    """All of inputs/, and some that are wrong."""
    found = (path for path in (check.source / "inputs").rglob("*.yaml") if path.parent.name not in ("models", "protocols"))
    for path in sorted(found):
        checked = without(check, "check", path)
        data = checked.returncode == 1 and any(word in checked.stderr for word in (".gz", "data.path", "folder"))
        check.expect(f"check {path.name}", (checked.returncode == 0 and "is in order" in checked.stdout) or data,
                     f"{checked.returncode}\n{checked.stdout}{checked.stderr}")
    options = check.deck(petsc_options="['-march_ksp_type gmres']")
    check.says("PETSc's options", without(check, "check", options, "--", "-march_ksp_rtol", "1e-3"), 0, "is in order")
    wrong = check.deck(petsc_options="['march_ksp_type gmres']")
    said = check.says("wrong options of PETSc", without(check, "check", wrong), 1, "PETSc options: 'march_ksp_type'")
    check.says("as a run says", check.run("run", wrong), 1, "PETSc options: 'march_ksp_type'")
    check.says("a wrong deck", without(check, "check", check.deck(train="{steps: 2, bach: 2}")), 1, "bach")
    check.says("too few tiles for the ranks of --dry-run", check.run("run", check.deck(), "--dry-run"), 0, "# estimates")


def launched(check):
    deck = check.deck()
    for ranks in (2, 4):
        for arguments, code, words in ((("--version",), 0, "rankine "), (("list",), 0, "pde_training"),
                                       (("check", deck), 0 if ranks == 2 else 1, ""), (("chck",), 1, "unknown command"),
                                       (("info", "missing.h5"), 1, "missing.h5")):
            said = check.run(*arguments, ranks=ranks)
            text = said.stdout + said.stderr
            check.expect(f"{arguments} on {ranks} ranks", said.returncode == code and words in text, text)
            if code == 1:
                check.expect("one error", text.count("rankine: error:") == 1, text)
            elif words:
                check.expect("one speaks", text.count(words) == check.run(*arguments).stdout.count(words), text)
    # What a launcher leaves in the environment; a batch script of Slurm has some of it too.
    for variables, starts in (({"OMPI_COMM_WORLD_SIZE": "1"}, True), ({"PMI_RANK": "0"}, True), ({"PMIX_RANK": "0"}, True),
                              ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}, True),
                              ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, False),
                              ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, False)):
        said = check.run("list", env={**os.environ, **variables, "LD_PRELOAD": os.environ["RANKINE_NO_START"]})
        check.expect(f"with {variables}", said.returncode == (99 if starts else 0), said.stdout + said.stderr)


def run(check):
    alone(check)
    decks(check)
    launched(check)


if __name__ == "__main__":
    cases.main(run)
