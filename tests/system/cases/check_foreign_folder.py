"""A folder full of other people's files stays as it is, whatever is run beside them or in it."""
import os
import signal
import subprocess
import time

import h5py
import numpy

import cases

EVERY = ["--set", "checkpoint.every_steps=1"]
HERE = ["--set", "checkpoint.directory=."]
LONG = ["--set", "train.steps=100000"]


def fill(folder):
    """Data, results of other programs, notes, names like ours, links, and a `previous` of the user's."""
    folder.mkdir()
    outside = folder.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "kept.h5").write_bytes(b"kept")
    names = ["data.h5", "results.h5", "checkpoint-00000001.h5", "checkpoint-00000007.h5", "finished-other-seed_0.h5",
             "finished-v-seed_7.h5", "checkpoint-00000001.h5.damaged", "checkpoint-00000002.h5.tmp.notes",
             "out.h5.tmp.notes", "out.h5.tmp.20241130", "out.h5.tmp.v1.2", "out.h5.tmp.old.3",
             "checkpoint-00000001.h5.tmp.20241130", "checkpoint-00000004.h5.tmp.v1.2",
             "finished-v-seed_0.h5.tmp.20241130", "out.h5.fault-v-seed_0-step_3.h5.tmp.3", "out.h5.bak", "my_out.h5", "lock", "notes.txt", "weights.npz", "thesis.xdmf",
             ".hidden", "previous/data.h5", "previous/checkpoint-00000099.h5", "previous/finished-other-seed_0.h5",
             "previous/deeper/data.h5", "previous/group_2/data.h5", "group_2/data.h5", "group_2/checkpoint-00000003.h5",
             "group_x/checkpoint-00000001.h5", "out.h5.checkpoints.old/checkpoint-00000001.h5", "out.h5.fault-notes.h5"]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x89HDF\r\n\x1a\n" * (number % 3) + f"{name} {number}".encode())
    with h5py.File(folder / "real.h5", "w") as file:
        file["values"] = numpy.arange(100.0)
    (folder / "checkpoint-00000005.h5").symlink_to(outside / "kept.h5")
    (folder / "previous" / "link.h5").symlink_to(outside / "kept.h5")
    (folder / "linked").symlink_to(outside)
    (folder / "nowhere.h5").symlink_to("not/there.h5")
    return snapshot(folder), snapshot(outside)


def snapshot(folder):
    """path -> (content or where a link leads, inode, time of the last change)"""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else "/" if path.is_dir() else path.read_bytes()
        # The time of a folder changes with the declared outputs in it.
        found[str(path.relative_to(folder))] = (content, status.st_ino, 0 if path.is_dir() else status.st_mtime_ns)
    return found


def check(t):
    folder = t.folder / "work"
    before, outside = fill(folder)
    # Its name sorts the deck's own files apart from the foreign ones.
    t.deck("work/deck.yaml", run="{experiment: pde_training, ranks: 1, seeds: [0], output: out.h5}",
           train="{steps: 4, batch: 2, learning_rate: 4e-3}", smoke="{train: {steps: 2}}",
           variants="{v: {formulation: {method: soft}}, w: {formulation: {experts: [1, 2]}}}")
    deck = snapshot(folder)["deck.yaml"]
    # What may appear: the outputs that the commands below name, checkpoints of ours, and their archive.
    ours = ("out", "deck.yaml")

    def compare(what, killed=False):
        after = snapshot(folder)
        t.expect(what + ": the deck is untouched", after["deck.yaml"] == deck)
        for name, was in before.items():
            t.expect(f"{what}: {name}", after.get(name) == was, "gone" if name not in after else "changed")
        # A killed run leaves its hidden locks and what it was writing; the next start clears them.
        new = [name for name in after if name not in before and not is_declared(name) and
               not (killed and (name.endswith(".rankine.lock") or ".h5.tmp." in name))]
        t.expect(what + ": nothing undeclared", not new, str(new))
        t.expect(what + ": outside", snapshot(folder.parent / "outside") == outside)

    def is_declared(name):
        last = name.rsplit("/", 1)[-1]
        checkpoint = last.endswith(".h5") and (
            (last.startswith("checkpoint-") and int(last[11:-3]) >= (4 if "group_2/" in name else 8)) or
            last in ("finished-v-seed_0.h5", "finished-w-seed_0.h5", "finished-v-seed_1.h5", "finished-w-seed_1.h5"))
        group = name.startswith("group_2/") or name.startswith("previous/")
        return name == "deck.yaml" or name.startswith("out") and name.split("/")[0] not in before or \
            checkpoint and ("/" not in name or group or name.startswith("out")) or name == "previous/group_2"

    def run(what, *arguments, code=0, ranks=1, **more):
        process = t.run(*arguments, ranks=ranks, cwd=folder, **more)
        t.says(what, process, code)
        compare(what)
        return process

    def stopped(what, *arguments, sent=signal.SIGTERM):
        """A run that a signal stops after its second checkpoint."""
        job = subprocess.Popen(t.command("run", "deck.yaml", *arguments), cwd=folder,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        end = time.monotonic() + 60
        old = {path for path in folder.rglob("checkpoint-*.h5")}
        while len({path for path in folder.rglob("checkpoint-*.h5")} - old) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(job.pid, sent)
        said = job.communicate(timeout=60)[0]
        t.expect(what, job.returncode == (-9 if sent == signal.SIGKILL else 75), f"{job.returncode}\n{said}")
        compare(what, killed=sent == signal.SIGKILL)

    for where in ([], HERE):  # checkpoints in a folder of their own, and among the foreign files
        name = "its own folder" if not where else "the common folder"
        run(f"{name}: plain", "run", "deck.yaml", *where)
        for turn in range(3):
            run(f"{name}: afresh {turn}", "run", "deck.yaml", *EVERY, *where)
        stopped(f"{name}: stopped", *EVERY, *LONG, *where)
        run(f"{name}: restarted", "run", "deck.yaml", *EVERY, *where, "--restart", "auto", "--set", "train.steps=100000",
            "--set", "run.walltime=00:00:03", code=75)
        run(f"{name}: afresh after that", "run", "deck.yaml", *EVERY, *where)
        stopped(f"{name}: killed", *EVERY, *LONG, *where, sent=signal.SIGKILL)
        run(f"{name}: afresh after a kill", "run", "deck.yaml", *EVERY, *where)
        run(f"{name}: groups", "run", "deck.yaml", *EVERY, *where, "--set", "run.concurrent=2", ranks=2)
        run(f"{name}: groups again", "run", "deck.yaml", *EVERY, *where, "--set", "run.concurrent=2", ranks=2)
        run(f"{name}: smoke", "run", "deck.yaml", *EVERY, *where, "--smoke")
        run(f"{name}: other seeds", "run", "deck.yaml", *EVERY, *where, "--set", "run.seeds=[0, 1]")
        for task in ("1/2", "2/2"):
            # What the whole run has finished stays in its way, and is not taken away.
            run(f"{name}: task {task}", "run", "deck.yaml", *EVERY, *where, "--task", task, code=1 if where else 0)
        run(f"{name}: a fault", "run", "deck.yaml", *EVERY, *where, "--only", "v", "--set", "train.learning_rate=1e38",
            code=2)
        run(f"{name}: rewinds", "run", "deck.yaml", *EVERY, *where, "--only", "v", "--set", "train.learning_rate=1e38",
            "--set", "train.on_fault=rewind", "--set", "train.faults.rewind_limit=1", code=2)
    t.expect("fault files are there", list(folder.glob("out.h5.fault-*.h5")))
    run("checked", "check", "deck.yaml", *HERE)
    said = t.run("check", "deck.yaml", *HERE, cwd=folder)
    t.says("check warns", said, 0, "warning: checkpoint.directory: . holds other things")
    t.expect("once", said.stdout.count("holds other things") == 1, said.stdout)
    said = t.run("run", "deck.yaml", *HERE, "--set", "run.seeds=[0, 1]", ranks=2, cwd=folder)
    t.expect("run warns once", said.stdout.count("holds other things") == 1, said.stdout)
    run("planned", "run", "deck.yaml", *HERE, "--dry-run")
    run("merged", "compare", "--merge", "out.task_1_of_2.h5", "out.task_2_of_2.h5", "--output", "out_merged.h5")
    run("merged again", "compare", "--merge", "out.task_1_of_2.h5", "out.task_2_of_2.h5", "--output", "out_merged.h5")
    for ending in ("npz", "safetensors", "h5"):
        for turn in range(2):
            run(f"converted to {ending} {turn}", "convert", "out.h5", f"out_w.{ending}", "--group", "v/seed_0")
    run("data are written", "run", "deck.yaml", "--set", "data.write=out_data.h5", "--only", "v")
    run("data are written again", "run", "deck.yaml", "--set", "data.write=out_data.h5", "--only", "v")
    points = ["--only", "w", "--set", "data.observations={source: generate, points: 5, noise: 0.1, write: 'out_{seed}.h5'}",
              "--set", "formulation.residual=storage", "--set", "formulation.observations.weight=1"]
    run("observations are written", "run", "deck.yaml", *points)
    run("observations are written again", "run", "deck.yaml", *points)
    run("weights are read", "run", "deck.yaml", "--only", "v", "--weights", "out_w.npz")
    run("doctor", "doctor")
    run("info of the folder", "info", ".", "--json")


if __name__ == "__main__":
    cases.main(check)
