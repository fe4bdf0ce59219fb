"""What a user can get wrong in the main deck and in decks of `training`: exit code, one message, no half-written file.

usage: check_bad_input.py RANKINE DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import h5py
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402

DENSE = "[{name: flatten}, {name: dense, units: 4}, {name: relu}, {name: dense, units: 10}]"
TEXT = ("[{name: embedding, vocabulary: 256, units: 8}, {name: transformer, heads: 2}, {name: layer_norm}, "
        "{name: dense, units: 256}]")


def training_deck(path, data, blocks, more=""):
    path.write_text("run: {experiment: training, output: out.h5}\ndata: {" + data + "}\nmodel: {blocks: " + blocks +
                    "}\ntrain: {steps: 1, epochs: 0, batch: 4, shards: 4" + more + "}\nsmoke: {run: {seeds: [0]}}\n")


def write_images(folder, count=30, labels=None, cut=0):
    """Fashion-MNIST's four files with `count` images; the last `cut` bytes of the training images are missing."""
    folder.mkdir()
    labels = numpy.arange(count) % 10 if labels is None else labels
    for part in ("train", "t10k"):
        images = struct.pack(">iiii", 0x803, count, 28, 28) + bytes(count * 784)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images[:len(images) - (cut if part == "train" else 0)])
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, len(labels)) +
                                                           bytes(labels.astype(numpy.uint8)))


def check_training(base, check):
    """`check(name, deck, *needed, ranks)`: a smoke run of the deck ends with one message that has the words needed."""
    images = lambda folder: f"name: fashion_mnist, path: {folder}, train: 16, validation: 4, test: 4"
    wrong = numpy.arange(30) % 10
    wrong[17] = 12
    write_images(base / "truncated", cut=100)
    write_images(base / "count", labels=numpy.arange(29) % 10)
    write_images(base / "label", labels=wrong)
    write_images(base / "good")
    deck = base / "bad.yaml"
    for folder, *needed in (("nowhere", "dataset-fashion-mnist"), ("truncated", "train-images-idx3-ubyte"),
                            ("count", "30 images", "29 labels"), ("label", "label 17 is 12")):
        training_deck(deck, images(base / folder), DENSE)
        check(f"images: {folder}", deck, str(base / folder), *needed)

    rows = [f"{i},{i % 7},{i % 2}" for i in range(20)]
    (base / "good.csv").write_text("\n".join(["a,b,class", *rows]) + "\n")
    rows[4] = "nan,1,0"
    (base / "nan.csv").write_text("\n".join(["a,b,class", *rows]) + "\n")
    table = lambda name, more: f"name: table, table: file, path: {base / name}, task: classification, {more}"
    training_deck(deck, table("nan.csv", "test: 4, validation: 2"), "[{name: dense, units: 2}]")
    check("NaN in a table", deck, "nan.csv:6: column 1 is nan", "finite")
    training_deck(deck, table("good.csv", "rows: {train: [0, 12], validation: [12, 15], test: [11, 20]}"),
                  "[{name: dense, units: 2}]")
    check("test rows among the training rows", deck, "bad.yaml:2", "training and test share examples: 11")

    (base / "texts").mkdir()
    (base / "texts" / "a").write_text("It was a dark and stormy night. " * 200)
    text = f"name: text, path: {base / 'texts'}, length: 32, validation: 0.1, test: 0.1"
    training_deck(deck, text, TEXT.replace("heads: 2", "heads: 2, cache_length: 8"))
    check("sequence longer than the cache", deck, "32", "cache_length", "8")
    training_deck(deck, text, TEXT.replace("heads: 2", "heads: 2, causal: false"),
                  ", rule: {name: seco, chunk: 8}")
    check("a rule that the model cannot carry", deck, "bad.yaml:4", "seco: block1", "causal attention only")
    for rule, blocks, message in (
            ("pipeline", "[{name: flatten}, {name: dense, units: 8}, {name: dense, units: 10}]", "pipeline: 4 ranks for 2 stages of the network"),
            ("{name: auglocal, depth: 1}", DENSE.replace("{name: relu}", "{name: relu}, {name: relu}"),
             "auglocal: 4 ranks for 2 stages of the network")):
        training_deck(deck, images(base / "good"), blocks, ", rule: " + rule)
        check("more ranks than blocks", deck, "bad.yaml:4", message, ranks=4)
    training_deck(deck, images(base / "good"), DENSE, ", rule: lbfgs, clip: 1")
    check("an option that the rule makes no use of", deck, "bad.yaml:4", "clip: this learning rule makes no use of it")


def main() -> int:
    rankine, main_deck, *launcher = sys.argv[1:]
    failures = []

    def run(name, ranks, arguments, code, *needed, folder, deck=main_deck):
        before = sorted(os.listdir(folder))
        command = on_ranks(launcher, ranks)
        process = subprocess.run([*command, rankine, "run", deck, "--smoke", *arguments], cwd=folder,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        text = process.stderr
        problems = []
        if process.returncode != code:
            problems.append(f"exit code {process.returncode}, not {code}")
        if text.count("rankine: error:") != 1:
            problems.append(f"{text.count('rankine: error:')} error messages, not 1")
        for word in needed:
            if word not in text:
                problems.append(f"no word of {word!r}")
        if sorted(os.listdir(folder)) != before:
            problems.append(f"files left behind: {sorted(os.listdir(folder))}")
        if problems:
            failures.append(f"{name}: {'; '.join(problems)}\n{text}")

    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)
        out = ["--output", str(base / "out.h5")]
        with h5py.File(base / "short.h5", "w") as file:
            group = file.create_group("0000")
            group["data"] = numpy.full((11, 64, 1), 0.1, numpy.float32)
            group["grid/x"] = ((numpy.arange(64) + 0.5) / 64).astype(numpy.float32)
            group["grid/t"] = numpy.linspace(0, 500, 11).astype(numpy.float32)
        whole = (base / "short.h5").read_bytes()
        (base / "truncated.h5").write_bytes(whole[: len(whole) // 2])
        sets = lambda *values: [argument for value in values for argument in ("--set", value)] + out

        check = lambda name, arguments, *needed, ranks=1, code=1: run(name, ranks, arguments, code, *needed, folder=folder)
        check("unknown key", sets("train.stepz=3"), "train.stepz", "did you mean", "steps", ranks=2)
        check("wrong type", sets("train.steps=many"), "train.steps", "whole number")
        check("out of range", sets("train.learning_rate=-1"), "learning_rate", "-1")
        check("unknown choice", sets("formulation.rows=duel"), "rows", "dual")
        check("tiles do not divide", sets("grid.tiles=[1, 5]"), "5", "16")
        check("experts do not divide", sets("variants.pi-hc-moe.formulation.experts=[1, 3]"), "experts", "3", "tiles")
        check("more modes than points", sets("model.modes_x=40"), "modes")
        check("more ranks than tiles", sets("grid.tiles=[1, 2]", "variants.pi-hc-moe.formulation.experts=[1, 2]",
                                            "variants.pi-hc-moe-paper.formulation.experts=[1, 2]"),
              "ranks", "tiles", ranks=4)
        check("batch larger than data", sets("train.batch=64"), "batch", "64")
        check("points beyond the expert", sets("formulation.points=100000"), "points")
        check("missing data file", sets("data.source=pdebench", "data.path=missing.h5"), "missing.h5", ranks=2)
        check("truncated data file", sets("data.source=pdebench", "data.path=truncated.h5"), "truncated.h5", ranks=2)
        check("too few samples", sets("data.source=pdebench", "data.path=short.h5"), "short.h5", "1 samples")
        with h5py.File(base / "lacking.h5", "w") as file:
            file["t"], file["value"] = [1.0, 2.0], [0.1, 0.2]
        with h5py.File(base / "outside.h5", "w") as file:
            file["t"], file["x"], file["value"] = [1.0, 2.0], [0.5, 1.5], [0.1, 0.2]
        with h5py.File(base / "exact.h5", "w") as file:
            file["t"], file["x"], file["value"], file["sigma"] = [1.0, 2.0], [0.5, 0.6], [0.1, 0.2], [0.01, 0.0]
        from_file = lambda name: sets("data.observations.source=file", f"data.observations.path={name}")
        check("missing observations", from_file("nowhere.h5"), "data.observations.path", "nowhere.h5")
        check("observations without x", from_file("lacking.h5"), "dataset 'x' is missing", "'value' of one length")
        check("observation outside the domain", from_file("outside.h5"), "entry 1", "x = 1.5", "leave it out")
        check("exact observations", from_file("exact.h5"), "sigma is 0 at entry 1", "must be positive", ranks=2)
        check("observations without path", sets("data.observations.source=file"), "needs path")
        check("observations of no sample", sets("data.observations.source=generate", "data.observations.sample=99"),
              "sample: 99", "choose a smaller")
        check("unknown parameter to learn", sets("learn.difusion.initial=1e-3"), "difusion", "did you mean", "diffusion")
        check("learning without data", sets("learn.diffusion.initial=1e-3"), "data.observations")
        check("learning from a target that is held fixed",
              sets("learn.diffusion.initial=1e-3", "data.observations.source=generate",
                   "variants.pi-hc-moe-paper.formulation.preset=target"), "observations.corrections above 0")
        check("polishing nothing", sets("train.polish=2"), "polish", "learn")
        check("output below a file", ["--output", str(base / "short.h5" / "out.h5")], "short.h5' is no folder", ranks=2)
        (base / "part.yaml").write_text("grid:\n  tiles: [1, 4]\n  frame: 3\n")
        text = pathlib.Path(main_deck).read_text()
        (base / "uses.yaml").write_text(text + "use: part.yaml\n")
        (base / "misses.yaml").write_text(text + "use: [part.yml]\n")
        run("a mistake in a fragment", 2, out, 1, "part.yaml:3:3: unknown key 'frame'", "did you mean 'frames'", folder=folder,
            deck=str(base / "uses.yaml"))
        run("no such fragment", 2, out, 1, "misses.yaml:", "'use': there is no fragment 'part.yml'; looked for "
            + str(base / "part.yml"), folder=folder, deck=str(base / "misses.yaml"))
        check("unknown variant", ["--only", "pi-hd", *out], "pi-hd", "did you mean")
        check_training(base, lambda name, deck, *needed, ranks=1: run(name, ranks, out, 1, *needed, folder=folder, deck=deck))
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
