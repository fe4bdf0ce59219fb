"""Weights of a run and of its checkpoints as .npz and .safetensors, read by NumPy, and back.

usage: check_convert.py RANKINE DECK [torch]

With torch: read by PyTorch and the safetensors package, by the Python that RANKINE_TORCH_PYTHON names or this one. Exit code
77 where it has them not.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import h5py
import numpy

RANKINE, DECK, *MODE = sys.argv[1:]
DECK = os.path.abspath(DECK)
RUN = "runs/moe/seed_0/weights"


def rankine(*arguments, code=0):
    done = subprocess.run([RANKINE, *map(str, arguments)], capture_output=True, text=True, timeout=100)
    if done.returncode != code:
        raise SystemExit(f"rankine {' '.join(map(str, arguments))}: exit code {done.returncode}, expected {code}\n"
                         f"{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def check(condition, what):
    if not condition:
        raise SystemExit(what)


def equal(found, wanted, what):
    check(sorted(found) == sorted(wanted), f"{what}: {sorted(found)} instead of {sorted(wanted)}")
    for name, values in wanted.items():
        other = numpy.asarray(found[name])
        check(other.dtype == values.dtype and other.shape == values.shape and other.tobytes() == values.tobytes(),
              f"{what}: {name} differs")


def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__")
    types = {"F32": "<f4", "F64": "<f8"}
    return {name: numpy.frombuffer(data[8 + length:][slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()}


def results(steps, *arguments):
    rankine("run", DECK, "--only", "moe", "--set", "run.seeds=[0]", "--set", f"train.steps={steps}", *arguments)


def weights_of(path):
    with h5py.File(path) as file:
        return {name: item[()] for name, item in file[RUN].items()}


FINISHED = """
run: {experiment: training, seeds: [0], output: n.h5}
data: {name: gaussian_mixture, classes: 3, train: 24, validation: 6, test: 30}
model: {blocks: [{name: dense, units: 8}, {name: batch_norm}, {name: relu}, {name: dense, units: 3}]}
train: {steps: 4, batch: 12}
probes: [calibration, {name: attack, epsilon: 0.1}]
"""


def test_finished_network():
    """A deck that takes the weights of another's results and trains nothing measures what the other did."""
    pathlib.Path("train.yaml").write_text(FINISHED)
    rankine("run", "train.yaml")
    judge = FINISHED.replace("n.h5", "judged.h5").replace("train: 24", "train: 1")
    pathlib.Path("judge.yaml").write_text(judge.replace("{steps: 4, batch: 12}", "{epochs: 0, weights: n.h5}"))
    rankine("run", "judge.yaml")
    with h5py.File("n.h5") as first, h5py.File("judged.h5") as second:
        there, here = (file["runs/default/seed_0"] for file in (first, second))
        check("steps" in there and "steps" not in here, "a run without steps has some")
        for name in ("test_loss", "test_accuracy", "test_calibration_error", "test_attacked_accuracy"):
            check(there["summary"][name][()] == here["summary"][name][()], f"{name} differs")
        check({name: item[()].tolist() for name, item in there["weights"].items()}
              == {name: item[()].tolist() for name, item in here["weights"].items()}, "the weights differ")
    for setting, said in (("train.epochs=1", "batch: 100 is more than the 1 training examples"),
                          ("train.weights_of=no", "no"), ("model.blocks[0].units=9", "use the model section"),
                          ("train.weights=''", "")):
        text = rankine("run", "judge.yaml", "--set", setting, "--output", "x.h5", code=1 if said else 0)
        check(said in text, text)
    with h5py.File("x.h5") as file, h5py.File("n.h5") as first:
        key = "runs/default/seed_0/summary/test_loss"
        check(file[key][()] != first[key][()], "fresh weights measure the same")


PRUNED = """
run: {experiment: training, seeds: [0, 1], output: pruned.h5}
data: {name: gaussian_mixture, classes: 3, train: 24, validation: 6, test: 30}
model: {blocks: [{name: dense, units: 12}, batch_norm, relu, {name: dense, units: 3}]}
train: {steps: 6, batch: 12}
checkpoint: {every_steps: 1, keep_last: 50}
variants:
  dense: {}
  slim: {sparsity: {on: [block0.weight], density: 0.5, structure: unit, schedule: {name: step, at: 3}}}
  scattered: {sparsity: {on: [block0.weight], density: 0.2, schedule: {name: step, at: 3}}}
  moving: {sparsity: {on: [block0.weight], density: 0.5, structure: unit, regrow: {name: random, every: 2}}}
"""


def test_compact():
    """The network of a pruned run without its units of zeros: a deck that takes its weights measures the same."""
    pathlib.Path("pruned.yaml").write_text(PRUNED)
    rankine("run", "pruned.yaml")
    checkpoints = {}
    for path in pathlib.Path("pruned.h5.checkpoints").glob("checkpoint-*.h5"):
        info = json.loads(rankine("info", path, "--json"))
        if info["seed"] == 1:
            checkpoints[info["variant"], info["step"]] = path

    def judged(source, weights, *group):
        pathlib.Path("small.yaml").write_text(rankine("convert", source, weights, "--compact", *group))
        pathlib.Path("judge.yaml").write_text(
            "use: small.yaml\nrun: {experiment: training, seeds: [1], output: small.h5}\n"
            f"train: {{steps: 0, epochs: 0, weights: {weights}}}\n"
            "data: {name: gaussian_mixture, classes: 3, train: 100, validation: 6, test: 30}\n")
        rankine("run", "judge.yaml")
        with h5py.File("small.h5") as file:
            return {name: item[()] for name, item in file["runs/default/seed_1/summary"].items()}

    with h5py.File("pruned.h5") as file:
        whole = {name: item[()] for name, item in file["runs/slim/seed_1/summary"].items()}
    small = judged("pruned.h5", "small.npz", "--group", "slim/seed_1")
    # 6 of 12 units, each with 20 weights, a bias, two numbers of the norm, and 3 weights behind it.
    check(small["parameters"] == whole["parameters"] - 6 * (20 + 1 + 2 + 3), str(small))
    # Rounding of the single precision that both compute in.
    check(abs(small["test_loss"] - whole["test_loss"]) < 1e-6, f"{small} instead of {whole}")
    with h5py.File("pruned.h5") as file:
        all_of_it = {name: item[()] for name, item in file["runs/scattered/seed_1/summary"].items()}
    few = judged("pruned.h5", "sparse.npz", "--group", "scattered/seed_1")
    check("name: sparse_dense" in pathlib.Path("small.yaml").read_text(), "a layer with a fifth of its weights is dense")
    check(few["parameters"] == all_of_it["parameters"] - 192, str(few))  # 48 of 12 x 20
    check(abs(few["test_loss"] - all_of_it["test_loss"]) < 1e-6, f"{few} instead of {all_of_it}")
    same = judged(checkpoints["slim", 6], "small.safetensors")
    check(same["test_loss"] == small["test_loss"], "the last checkpoint's weights are not those of the results")
    check(judged("pruned.h5", "dense.h5", "--group", "runs/dense/seed_1/weights")["parameters"] == whole["parameters"],
          "a network without zeros has become smaller")
    judged(checkpoints["slim", 4], "later.npz")  # after the pruning before step 3
    for source, group, said in (
            (checkpoints["slim", 3], (), "the state after 3 of 6 steps, and its masks change before step 3"),
            (checkpoints["moving", 3], (), "its masks change before step 4"),
            ("small.npz", (), "--compact wants results or a checkpoint"),
            ("pruned.h5", (), "holds several runs; name one with --group: dense/seed_0"),
            ("pruned.h5", ("--group", "slim/seed_7"), "holds no run 'slim/seed_7'")):
        text = rankine("convert", source, "x.npz", "--compact", *group, code=1)
        check(said in text, text)
    check(not os.path.exists("x.npz"), "a refused conversion has written a file")


def test_numpy():
    results(4, "--output", "r.h5")
    trained = weights_of("r.h5")
    rankine("convert", "r.h5", "w.npz")
    rankine("convert", "w.npz", "w.safetensors")
    rankine("convert", "w.safetensors", "w.h5")
    rankine("convert", "w.h5", "again.safetensors", "--group", "weights")
    with numpy.load("w.npz") as file:
        equal(dict(file), trained, "npz")
    equal(read_safetensors("w.safetensors"), trained, "safetensors")
    equal(read_safetensors("again.safetensors"), trained, "safetensors by way of npz, safetensors and HDF5")
    numpy.savez("numpy.npz", **trained)
    rankine("convert", "numpy.npz", "numpy.safetensors")
    equal(read_safetensors("numpy.safetensors"), trained, "NumPy's npz")

    newest = max(pathlib.Path("r.h5.checkpoints").glob("checkpoint-*.h5"))
    info = json.loads(rankine("info", newest, "--json"))
    rankine("convert", newest, "c.npz")
    with numpy.load("c.npz") as file:
        check(sorted(file) == sorted(trained), "the checkpoint's names")
        if info["step"] == 4:
            equal(dict(file), trained, "the last checkpoint")
    check("may go on" in rankine("info", newest, "--deck", DECK), "info --deck")
    pathlib.Path("other.yaml").write_text(pathlib.Path(DECK).read_text().replace("batch: 2", "batch: 3"))
    text = rankine("info", newest, "--deck", "other.yaml", code=4)
    check("a restart refuses it" in text and "train.batch: 2 then, 3 now" in text, text)

    # A run that starts from weights starts where the other ended.
    results(0, "--weights", "w.safetensors", "--output", "s.h5")
    equal(weights_of("s.h5"), trained, "the weights of a run without steps")
    with h5py.File("r.h5") as first, h5py.File("s.h5") as second:
        key = "runs/moe/seed_0/summary/rel_l2"
        check(first[key][()] == second[key][()], "the errors differ")
    results(0, "--weights", newest, "--output", "t.h5")
    results(0, "--set", "train.weights=r.h5", "--set", "train.weights_of=moe/seed_{seed}", "--output", "u.h5")
    equal(weights_of("u.h5"), trained, "the weights of one run of a results file")

    # What does not fit is refused, by name.
    spoilt = dict(trained)
    spoilt["fc0.weight"] = spoilt["fc0.weight"][:1]
    numpy.savez("shape.npz", **spoilt)
    spoilt = dict(trained)
    spoilt["fc1.bias"] = numpy.full_like(spoilt["fc1.bias"], numpy.nan)
    numpy.savez("nan.npz", **spoilt)
    spoilt = dict(trained)
    spoilt["other"] = spoilt.pop("fc2.bias")
    numpy.savez("names.npz", **spoilt)
    for file, words in {"shape.npz": "fc0.weight", "nan.npz": "holds NaN at element 0", "missing.npz": "missing.npz",
                        "names.npz": "missing: fc2.bias; unknown: other"}.items():
        text = rankine("run", DECK, "--only", "moe", "--weights", file, "--output", "x.h5", code=1)
        check(words in text and "Traceback" not in text, text)
    text = rankine("convert", "r.h5", "x.npz", "--compact", "--group", "moe/seed_0", code=1)
    check("trains no list of blocks" in text, text)
    print("npz, safetensors and HDF5 hold the same bits; runs start from them")


def test_torch():
    python = os.environ.get("RANKINE_TORCH_PYTHON", sys.executable)
    have = subprocess.run([python, "-c", "import torch, safetensors.torch"], capture_output=True)
    if have.returncode != 0:
        print(f"{python} has no torch with safetensors: skipped; RANKINE_TORCH_PYTHON may name another Python")
        raise SystemExit(77)
    results(4, "--output", "r.h5")
    rankine("convert", "r.h5", "w.safetensors")
    code = """
import numpy, safetensors.torch, torch
weights = safetensors.torch.load_file("w.safetensors")
assert all(isinstance(value, torch.Tensor) for value in weights.values())
layer = torch.nn.Linear(weights["fc0.weight"].shape[1], weights["fc0.weight"].shape[0])
layer.load_state_dict({"weight": weights["fc0.weight"], "bias": weights["fc0.bias"]})
numpy.savez("seen.npz", **{name: value.numpy() for name, value in weights.items()})
safetensors.torch.save_file(weights, "torch.safetensors", metadata={"format": "pt"})
"""
    subprocess.run([python, "-c", code], check=True)
    with numpy.load("seen.npz") as file:
        equal(dict(file), weights_of("r.h5"), "what PyTorch has read")
    rankine("convert", "torch.safetensors", "back.npz")
    with numpy.load("back.npz") as file:
        equal(dict(file), weights_of("r.h5"), "what PyTorch has written")
    results(0, "--weights", "torch.safetensors", "--output", "s.h5")
    equal(weights_of("s.h5"), weights_of("r.h5"), "a run from PyTorch's file")
    print("PyTorch reads and writes the same bits")


def test_endless():
    """A file whose groups contain each other: what reads it would never return."""
    with h5py.File("endless.h5", "w") as file:
        file.attrs["format"], file.attrs["format_version"] = "rankine-results", 1
        file.create_group("runs")
        inner = file.create_group("provenance/inner")
        inner["outer"] = file["provenance"]
    for command in (["info"], ["info", "--json"], ["compare", "endless.h5"]):
        text = rankine(*command, "endless.h5", code=1)
        check("rankine: error: endless.h5: " in text and "the file is damaged: get or make it again" in text, text)
        check(text.count("error:") == 1, text)


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    if MODE == ["torch"]:
        test_torch()
    else:
        test_finished_network()
        test_compact()
        test_numpy()
        test_endless()
