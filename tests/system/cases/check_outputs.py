"""Outputs: what they may replace, inputs that they must not, links, devices, folders that are missing."""
import os
import socket

import h5py
import numpy

import cases

CSV = "a,b,y\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(40))
TABLE = {"run": "{experiment: training, ranks: 1, seeds: [0], output: o.h5}", "pde": None, "grid": None,
         "data": "{name: table, path: t.csv, task: classification}", "formulation": None, "variants": None,
         "model": "{blocks: [{name: dense, units: 8}, {name: relu}, {name: dense, units: 2}]}",
         "train": "{steps: 2, epochs: 0, batch: 4, learning_rate: 1e-2}"}
OBSERVED = ["--set", "variants.v.formulation={experts: [1, 2], residual: storage, observations: {weight: 1}}"]
POINTS = "data.observations={source: generate, points: 5, noise: 0.1, write: '%s'}"


def check(t):
    deck = t.deck()
    t.deck("table.yaml", **TABLE)
    (t.folder / "t.csv").write_text(CSV)
    foreign = {"data.h5": None, "notes.txt": b"notes", "w.npz": b"PK mine", "w.safetensors": b"mine", "mine.xdmf": b"<Xdmf/>"}
    for name, content in foreign.items():
        if content is not None:
            (t.folder / name).write_bytes(content)
    with h5py.File(t.folder / "data.h5", "w") as file:
        file["x"] = numpy.arange(10)

    def untouched(what, run, *names):
        """`run` leaves these files, and makes no others."""
        before = {p: (p.lstat().st_ino, p.read_bytes() if p.is_file() else None) for p in t.folder.iterdir()}
        process = run()
        after = {p: (p.lstat().st_ino, p.read_bytes() if p.is_file() else None) for p in t.folder.iterdir()}
        changed = [p.name for p in {*before, *after} if before.get(p) != after.get(p)]
        t.expect(what + ": files", not changed, f"changed: {changed}")
        return process

    def refused(what, arguments, *needed, code=1):
        t.says(what, untouched(what, lambda: t.run(*arguments)), code, *needed)

    t.says("the first run", t.run("run", "deck.yaml"), 0, "wrote out.h5")
    t.says("a second run replaces its results", t.run("run", "deck.yaml"), 0, "wrote out.h5")
    t.says("a table", t.run("run", "table.yaml"), 0)

    # --- 07: outputs that are inputs, under any name
    deck_again = t.folder / "link.yaml"
    deck_again.symlink_to("deck.yaml")
    os.link(t.folder / "t.csv", t.folder / "hard.csv")
    (t.folder / "sub").mkdir()
    (t.folder / "sub" / "here").symlink_to("..")
    for name in ("deck.yaml", "./deck.yaml", "link.yaml", "sub/../deck.yaml", "sub/here/deck.yaml", str(deck)):
        refused(f"output {name} is the deck", ["run", "deck.yaml", "--output", name], "--output", "the file that the deck reads")
    refused("run.output is the deck", ["run", "deck.yaml", "--set", "run.output=deck.yaml"], "run.output", "the deck")
    refused("the deck by another name", ["run", "link.yaml", "--output", "deck.yaml"], "--output", "the deck")
    refused("check finds it too", ["check", "deck.yaml", "--set", "run.output=deck.yaml"], "run.output", "the deck")
    refused("and --dry-run", ["run", "deck.yaml", "--dry-run", "--output", "deck.yaml"], "--output", "the deck")
    for name in ("t.csv", "hard.csv"):
        refused(f"output {name} is the data", ["run", "table.yaml", "--output", name], "--output", "data.path (table.yaml:")
    refused("data.write is the deck", ["run", "deck.yaml", "--set", "data.write=deck.yaml"], "data.write", "deck")
    refused("data.write is the results", ["run", "deck.yaml", "--set", "data.write=new.h5", "--output", "new.h5"],
            "data.write", "--output names the same file")
    refused("the side file is the deck", ["run", "deck.yaml", "--set", "data.write=new.xdmf", "--output", "new.h5"],
            "data.write", "the side file of --output")
    refused("observations are the deck", ["run", "deck.yaml", *OBSERVED, "--set", POINTS % "deck.yaml"],
            "data.observations.write", "the deck")
    refused("weights are the results", ["run", "deck.yaml", "--weights", "out.h5", "--output", "out.h5"],
            "--output", "train.weights")
    t.says("weights", t.run("convert", "out.h5", "own.npz"), 0)
    refused("convert onto itself", ["convert", "out.h5", "out.h5"], "convert's first file")
    (t.folder / "same.npz").symlink_to("own.npz")
    refused("convert through a link", ["convert", "own.npz", "same.npz"], "convert's first file")
    (t.folder / "same.npz").unlink()
    refused("merge onto a part", ["compare", "--merge", "out.h5", "--output", "out.h5"], "--output", "compare --merge")
    checkpoints = ["--set", "checkpoint.every_steps=1", "--output", "c.h5"]
    t.says("with checkpoints", t.run("run", "deck.yaml", *checkpoints), 0)
    part = "c.h5.checkpoints/checkpoint-00000001.h5"
    refused("output onto the checkpoint", ["run", "deck.yaml", "--restart", part, "--output", part], "--output", "--restart")
    refused("output onto one of the folder", ["run", "deck.yaml", "--restart", "c.h5.checkpoints", "--output", part],
            "--output", "--restart")

    # --- an output where the run's own checkpoints will stand
    (t.folder / "ck").mkdir()
    (t.folder / "ck_link").symlink_to("ck")
    for name in ("ck/checkpoint-00000001.h5", "ck_link/checkpoint-00000001.h5", "ck/finished-v-seed_0.h5",
                 "ck/previous/checkpoint-00000001.h5", "ck/group_2/checkpoint-00000003.h5", "sub/../ck/checkpoint-00000002.h5"):
        inside = ["--set", "checkpoint.directory=ck", "--set", "checkpoint.every_steps=1"]
        refused(f"results as {name}", ["run", "deck.yaml", *inside, "--output", name], name, "--output", "name of a checkpoint")
        refused(f"samples as {name}", ["run", "deck.yaml", *inside, "--set", f"data.write={name}"], "data.write",
                "name of a checkpoint")
        refused(f"checked: {name}", ["check", "deck.yaml", *inside, "--set", f"run.output={name}"], "run.output",
                "name of a checkpoint")
    (t.folder / "ck_link").unlink()
    t.says("other names in that folder", t.run("run", "deck.yaml", *inside, "--output", "ck/o.h5"), 0)

    # --- points that each seed draws for itself, in one file
    seeds = [*OBSERVED, "--set", "run.seeds=[0, 1]"]
    for command in ("check", "run"):
        refused("one file for two seeds", [command, "deck.yaml", *seeds, "--set", POINTS % "p.h5"],
                "data.observations: write: p.h5 is one file for 2 seeds", "use {seed}")
    for points in (POINTS % "p_{seed}.h5", (POINTS % "p.h5").replace("5, ", "5, seed: 3, ")):
        t.says("a file for each, or the same points", t.run("check", "deck.yaml", *seeds, "--set", points), 0)

    # --- outputs of other tasks of an array
    (t.folder / "q_1.h5").write_bytes(b"of the other task")
    each = [*seeds, "--set", POINTS % "q_{seed}.h5", "--output", "q.h5"]
    t.says("task 1 writes q_0.h5 only", t.run("run", "deck.yaml", *each, "--task", "1/2"), 0)
    refused("task 2 writes q_1.h5", ["run", "deck.yaml", *each, "--task", "2/2"], "q_1.h5", "that Rankine wrote")

    # --- what stands there and is not of the kind
    for name in ("data.h5", "notes.txt", "w.npz"):
        refused(f"results onto {name}", ["run", "deck.yaml", "--output", name], name, "that Rankine wrote", "remove it")
        refused(f"merge onto {name}", ["compare", "--merge", "out.h5", "--output", name], name, "that Rankine wrote")
        refused(f"data.write onto {name}", ["run", "deck.yaml", "--set", f"data.write={name}"], name, "that Rankine wrote")
        refused(f"observations onto {name}", ["run", "deck.yaml", *OBSERVED, "--set", POINTS % name], name,
                "that Rankine wrote")
    refused("the side file is foreign", ["run", "deck.yaml", "--output", "mine.h5"], "mine.xdmf", "that Rankine wrote")
    for target in ("out.h5", part, "data.h5", "w.npz", "w.safetensors"):
        refused(f"convert onto {target}", ["convert", "own.npz", target], target, "that Rankine wrote")
    refused("results onto weights", ["run", "deck.yaml", "--output", "own.npz"], "a file of weights")
    refused("results onto a checkpoint", ["run", "deck.yaml", "--output", part], "a checkpoint")
    t.says("weights onto weights", t.run("convert", "out.h5", "own.npz"), 0)
    t.says("samples", t.run("run", "deck.yaml", "--set", "data.write=s.h5"), 0)
    t.says("samples onto samples", t.run("run", "deck.yaml", "--set", "data.write=s.h5"), 0)
    refused("results onto samples", ["run", "deck.yaml", "--output", "s.h5"], "a file of samples")
    (t.folder / "empty.h5").touch()
    t.says("an empty file has nothing to lose", t.run("run", "deck.yaml", "--output", "empty.h5"), 0)

    # --- 08: links, pipes, sockets, devices, folders
    os.mkfifo(t.folder / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(t.folder / "socket"))
    (t.folder / "device").symlink_to("/dev/null")
    (t.folder / "circle").symlink_to("circle")
    for name, words in (("pipe", "it is a pipe"), ("socket", "it is a socket"), ("/dev/null", "it is a device"),
                        ("device", "it is a device"), ("sub", "a folder of this name"), ("circle", "in a circle"),
                        ("notes.txt/o.h5", "no folder")):
        refused(f"output is {name}", ["run", "deck.yaml", "--output", name], words)
        refused(f"checked: {name}", ["check", "deck.yaml", "--set", f"run.output={name}"], words)
        refused(f"merge to {name}", ["compare", "--merge", "out.h5", "--output", name], words)
        refused(f"samples to {name}", ["run", "deck.yaml", "--set", f"data.write={name}"], words)
    os.mkfifo(t.folder / "pipe.npz")
    refused("convert to a pipe", ["convert", "out.h5", "pipe.npz"], "it is a pipe")
    (t.folder / "sub" / "real.h5").symlink_to("deeper/real.h5")
    (t.folder / "link.h5").symlink_to("sub/real.h5")
    for turn in range(2):
        t.says(f"through links {turn}", t.run("run", "deck.yaml", "--output", "link.h5"), 0)
        real = t.folder / "sub" / "deeper" / "real.h5"
        t.expect("the links stay", (t.folder / "link.h5").is_symlink() and (t.folder / "sub" / "real.h5").is_symlink()
                 and real.is_file() and not real.is_symlink())
    t.says("what they lead to is whole", t.run("compare", "link.h5", "out.h5"), 0)
    (t.folder / "sub" / "foreign.h5").symlink_to("../data.h5")
    refused("a link to a foreign file", ["run", "deck.yaml", "--output", "sub/foreign.h5"], "that Rankine wrote")

    # --- 24: folders that are missing
    new = t.folder / "new"
    refused("check makes no folder", ["check", "deck.yaml", "--set", "run.output=new/a/o.h5"], code=0)
    t.says("run.output", t.run("run", "deck.yaml", "--set", "run.output=new/a/o.h5"), 0)
    t.says("--output", t.run("run", "deck.yaml", "--output", str(new / "b" / "o.h5")), 0)
    t.says("data.write", t.run("run", "deck.yaml", "--set", "data.write=new/c/s.h5", "--output", "new/d/o.h5"), 0)
    t.says("observations", t.run("run", "deck.yaml", *OBSERVED, "--set", POINTS % "new/e/p_{seed}.h5"), 0)
    t.says("convert", t.run("convert", "out.h5", "new/f/w.npz"), 0)
    t.says("merge", t.run("compare", "--merge", "out.h5", "--output", "new/g/m.h5"), 0)
    made = ["a/o.h5", "b/o.h5", "c/s.h5", "d/o.h5", "e/p_0.h5", "f/w.npz", "g/m.h5"]
    t.expect("all are there", all((new / name).is_file() for name in made), str(list(new.rglob("*"))))
    t.expect("no locks stay", not list(t.folder.rglob("*.lock")), str(list(t.folder.rglob("*.lock"))))
    for name, content in foreign.items():
        t.expect(f"{name} is untouched", content is None or (t.folder / name).read_bytes() == content)


if __name__ == "__main__":
    cases.main(check)
