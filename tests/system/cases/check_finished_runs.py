"""Finished variants and seeds are saved at once: a later one that fails or is killed takes none of them along."""
import os
import pathlib
import signal
import subprocess
import time

import cases
from cases import clean, metrics, same

# Case 23 with two seeds: the second variant fails in its first step.
FAILS = dict(
    run="{experiment: pde_training, ranks: 1, seeds: [0, 1], output: out.h5}",
    pde="{name: equation, parameters: {D: 0.05, r: 2}, flux: '-D*d(u,x)', source: 'r*u*(1-u)',"
        " walls: {left: {slope: 0}, right: {slope: 0}},"
        " initial: {gaussian_random_field: {length_scale: 0.15, amplitude: 0.4}, expression: u^2}, data_cells: 64}",
    grid="{cells: 32, frames: 16, tiles: [1, 2]}",
    formulation="{preset: target, time: uniform, time_input: linear, initial_input_scale: 1, basis: 4}",
    train="{steps: 4, batch: 2, learning_rate: 4e-3}",
    variants="{good: {formulation: {experts: [1, 2]}}, bad: {train: {learning_rate: 1e300}}}")


def kill_all(check, job):
    """kill -9 for the job and its ranks."""
    ranks = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "exe") == str(check.rankine) and os.readlink(entry / "cwd") == str(check.folder):
                ranks.append(int(entry.name))
        except OSError:
            pass
    for pid in ranks:
        os.kill(pid, signal.SIGKILL)
    job.wait()
    end = time.monotonic() + 30
    while time.monotonic() < end and any(os.path.exists(f"/proc/{pid}/exe") for pid in ranks):
        time.sleep(0.01)


def later_variants_fail(check):
    deck = check.deck(**FAILS)
    folder = check.folder / "out.h5.checkpoints"
    for ranks in (1, 2):
        clean(check)
        failed = check.run("run", deck, ranks=ranks)
        check.says("a later variant fails", failed, 2, "the run fails with 2 of 4 runs done (good seed 0, good seed 1)",
                   "out.h5 holds their results, and is marked as incomplete")
        found = sorted(path.name for path in folder.glob("*.h5"))
        check.expect("records", found == ["finished-good-seed_0.h5", "finished-good-seed_1.h5"], found)
        values, info = metrics(check)
        check.expect("incomplete results", sorted(values) == [("good", 0), ("good", 1)]
                     and info["missing"] == "bad seed 0, bad seed 1", (sorted(values), info["missing"]))
        mended = check.run("run", deck, "--restart", "auto", "--set", "variants.bad.train.learning_rate=1e-3", ranks=ranks)
        check.says("the restart", mended, 0, "good seed 0: was done before", "good seed 1: was done before",
                   never=("good seed 0: step",))
        whole = check.run("run", deck, "--output", "whole.h5", "--set", "variants.bad.train.learning_rate=1e-3")
        check.says("uninterrupted", whole, 0)
        same(check, "same bits", "whole.h5", "out.h5")
        check.expect("not marked any more", metrics(check)[1]["missing"] == "")
    # Complete results of before are not replaced by incomplete ones.
    before = (check.folder / "out.h5").read_bytes()
    check.says("again", check.run("run", deck), 2, "the run fails with 2 of 4 runs done", never=("is marked",))
    check.expect("older results stay", (check.folder / "out.h5").read_bytes() == before)
    # In the first variant: nothing to save.
    clean(check)
    check.says("at once", check.run("run", deck, "--only", "bad"), 2, never=("runs done",))
    check.expect("nothing is left", not folder.exists() and not (check.folder / "out.h5").exists())
    # Groups of ranks, and one task of several.
    clean(check)
    failed = check.run("run", deck, "--set", "run.concurrent=2", ranks=2)
    check.expect("groups", failed.returncode == 2, failed.stdout + failed.stderr)
    done = len(list(folder.glob("finished-good-seed_*.h5")))
    mended = check.run("run", deck, "--set", "run.concurrent=2", "--restart", "auto", "--set",
                       "variants.bad.train.learning_rate=1e-3", ranks=2)
    check.expect("the restart of groups", mended.returncode == 0 and mended.stdout.count("was done before") == done,
                 f"{done} records\n{mended.stdout}{mended.stderr}")
    check.run("run", deck, "--output", "whole.h5", "--set", "variants.bad.train.learning_rate=1e-3")
    same(check, "same bits of groups", "whole.h5", "out.h5")
    clean(check)
    check.says("a task", check.run("run", deck, "--task", "1/2"), 2, "the run fails with 1 of 2 runs done (good seed 0)")
    check.says("the task's restart", check.run("run", deck, "--task", "1/2", "--restart", "auto", "--set",
                                               "variants.bad.train.learning_rate=1e-3"), 0, "good seed 0: was done before")


def kills(check):
    """kill -9 while a later variant or seed is at work."""
    long = ("--set", "variants.bad.train={steps: 100000, learning_rate: 1e-6}")
    deck = check.deck(**FAILS)
    for ranks, more in ((1, ()), (2, ()), (2, ("--set", "run.concurrent=2"))):
        clean(check)
        log = check.folder / "log.txt"
        with open(log, "w") as out:
            job = subprocess.Popen(check.command("run", deck, *long, *more, ranks=ranks), cwd=check.folder, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and job.poll() is None and "bad seed 0: step" not in log.read_text():
            time.sleep(0.01)
        if more:  # the other group has its own share
            time.sleep(2)
        kill_all(check, job)
        said = log.read_text()
        done = said.count("done in")
        kept = len(list((check.folder / "out.h5.checkpoints").glob("finished-good-seed_*.h5")))
        check.expect("written at once", done >= 1 and kept == done, f"{done} done, {kept} kept\n{said}")
        restarted = check.run("run", deck, "--restart", "auto", "--only", "good", *more, ranks=ranks)
        check.expect("taken up", restarted.returncode == 0 and restarted.stdout.count("was done before") == done,
                     f"{done} done\n{restarted.stdout}{restarted.stderr}")


def meanwhile(check, words, disturb, *arguments):
    """A run that `disturb()` disturbs once it has said `words`: its exit code and all that it said."""
    job = subprocess.Popen(check.command("run", *arguments), cwd=check.folder, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    for line in job.stdout:
        if disturb is not None and words in line:
            disturb()
            disturb = None
        said += line
    check.expect("it was disturbed", disturb is None, said)
    return job.wait(), said


def promises(check):
    """The message of a failure tells what is saved, what is not, and which results are complete."""
    deck = check.deck(**FAILS)
    clean(check)
    folder = check.folder / "out.h5.checkpoints"
    code, said = meanwhile(check, "good seed 0: step", folder.touch, deck, "--set", "variants.good.train={steps: 400}")
    check.expect("records that cannot be saved", code == 2 and "fails with 2 of 4 runs done (good seed 0, good seed 1); not "
                 "saved for a restart: good seed 0, good seed 1 (" in said and "cannot make the folder" in said
                 and "takes" not in said and "out.h5 holds their results" in said, said)
    folder.unlink()
    clean(check)
    ordinary = check.deck("ordinary.yaml", train="{steps: 400, batch: 2, learning_rate: 4e-3}")
    side = check.folder / "out.xdmf"
    code, said = meanwhile(check, "v seed 0: step", side.mkdir, ordinary)
    check.expect("only the side file is missing", code == 3 and "the results in out.h5 are complete" in said
                 and "out.xdmf" in said and "runs done" not in said and "takes" not in said, said)
    side.rmdir()
    check.says("they are", check.run("run", ordinary, "--output", "again.h5"), 0)
    same(check, "complete results", "again.h5", "out.h5")


def nothing_is_left(check):
    """Short runs that end well leave their results and no records."""
    deck = check.deck(**{**FAILS, "variants": "{good: {}, better: {train: {learning_rate: 1e-3}}}"})
    for ranks, more in ((1, ()), (2, ()), (2, ("--set", "run.concurrent=2"))):
        clean(check)
        check.says("a short run", check.run("run", deck, *more, ranks=ranks), 0)
        left = sorted(path.name for path in check.folder.iterdir() if path.suffix != ".yaml")
        check.expect("nothing but results", left == ["out.h5", "out.xdmf"], left)
    # Checkpoints of an earlier run do not make room for a few seconds' work.
    clean(check)
    check.says("with checkpoints", check.run("run", deck, "--set", "checkpoint.every_steps=2"), 0)
    before = {path.name: path.read_bytes() for path in (check.folder / "out.h5.checkpoints").rglob("*.h5")}
    check.says("a short run beside them", check.run("run", deck), 0)
    after = {path.name: path.read_bytes() for path in (check.folder / "out.h5.checkpoints").rglob("*.h5")}
    check.expect("they stay", before == after and before, (sorted(before), sorted(after)))


def names_of_blocks(check):
    """What health of gradients adds to the results goes through records and groups too."""
    clean(check)
    deck = check.source / "inputs/mlp.yaml"
    health = ("--smoke", "--set", "run.seeds=[0, 1]", "--set", "train.health.every=1")
    check.says("one after the other", check.run("run", deck, *health, "--output", "one.h5"), 0)
    check.says("in groups", check.run("run", deck, *health, "--output", "groups.h5", "--set", "run.concurrent=2", ranks=2), 0)
    same(check, "groups", "one.h5", "groups.h5")
    check.says("with records", check.run("run", deck, *health, "--output", "two.h5", "--set", "checkpoint.every_steps=1"), 0)
    (check.folder / "two.h5").unlink()
    check.says("from records", check.run("run", deck, *health, "--output", "two.h5", "--set", "checkpoint.every_steps=1",
                                         "--restart", "auto"), 0, "was done before")
    same(check, "records", "one.h5", "two.h5")


def run(check):
    names_of_blocks(check)
    later_variants_fail(check)
    promises(check)
    kills(check)
    nothing_is_left(check)


if __name__ == "__main__":
    cases.main(run)
