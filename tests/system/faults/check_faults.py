"""Runs a deck whose data make single training steps fail, under each policy and on several ranks.

usage: check_faults.py TEST RANKINE DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]

TEST is stop, skip, rewind, update, or data; training_... the same of the experiment `training`.
"""
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402

TEST, RANKINE, DECK, *LAUNCHER = sys.argv[1:]
BAD = 2  # the sample


def write_data(nan_at=None):
    random = numpy.random.default_rng(1)
    t, x = numpy.linspace(0, 500, 11), (numpy.arange(64) + 0.5) / 64
    with h5py.File("data.h5", "w") as file:
        for sample in range(9):
            start = random.uniform(0.05, 0.2)
            u = start + (1 - start) * numpy.exp(-8 * x) * numpy.minimum(1, t[:, None] / 100)
            if sample == BAD:
                u[0] = 1e30
            if sample == nan_at:
                u[3, 7] = math.nan
            group = file.create_group(f"{sample:04d}")
            group["data"] = u[:, :, None]
            group["grid/x"], group["grid/t"] = x, t


def run(ranks, *arguments, code=0):
    done = subprocess.run([*on_ranks(LAUNCHER, ranks), RANKINE, "run", DECK, *arguments], capture_output=True, text=True, timeout=200)
    text = done.stdout + done.stderr
    if done.returncode != code:
        raise SystemExit(f"exit code {done.returncode}, expected {code}\n{text}")
    return text


def rankine(*arguments, code=0):
    done = subprocess.run([RANKINE, *arguments], capture_output=True, text=True)
    if done.returncode != code:
        raise SystemExit(f"rankine {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def check(condition, what):
    if not condition:
        raise SystemExit(what)


def arrays(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return {name: value for name, value in found.items() if not name.startswith("texts/")}


def same(first, second, what):
    check(first.keys() == second.keys(), f"{what}: {sorted(first.keys() ^ second.keys())}")
    for name in first:
        check(first[name].tobytes() == second[name].tobytes(), f"{what}: {name} differs")


def metric(path, variant, name):
    with h5py.File(path) as file:
        return file[f"runs/{variant}/seed_0/summary/{name}"][()]


def test_stop():
    dumps = []
    for ranks in (1, 2, 4):
        for variant in ("soft", "moe"):
            name = f"r{ranks}.h5"
            text = run(ranks, "--only", variant, "--output", name, code=2)
            check(text.count("is NaN") == 1, f"the fault is not named once:\n{text}")
            dump = f"{name}.fault-{variant}-seed_0-step_2.h5"
            check(dump in text and f"variant {variant}, seed 0, step 2" in text, text)
            check(not pathlib.Path(name).exists(), "results were written")
            with h5py.File(dump) as file:
                facts = dict(file.attrs)
            for key, value in {"variant": variant, "step": 2, "sample": BAD, "layer": "fc2", "phase": "backward",
                               "tile": 0, "tensor": "projection_head"}.items():
                check(facts[key] == value, f"{key} is {facts[key]}, not {value}")
            check(facts["expert"] == (0 if variant == "moe" else -1) and facts["rank"] == 0, str(facts))
            info = json.loads(rankine("info", dump, "--json"))
            check(info["kind"] == "fault" and info["facts"]["message"] in text, str(info["facts"]))
            held = {entry["name"]: entry for entry in info["arrays"]}
            check(held["tensor"]["not_finite"] > 0 and held["weights/fc0.weight"]["not_finite"] == 0, str(held))
            check("optimizer/first_moment" in held and "gradient/fc0.weight" in held, str(held.keys()))
            check("projection_head" in rankine("info", dump), "info as text")
            dumps.append((variant, arrays(dump)))
            check(BAD in dumps[-1][1]["batch/ids"], "the batch is another one")
    for variant, content in dumps[2:]:
        same(dict(dumps[:2])[variant], content, f"the dumps of {variant} on several ranks")
    print("the first bad value is named alike on 1, 2 and 4 ranks; its file holds tensor, batch, weights, gradient")


def test_skip():
    # A step that is left out: the same as one that never was.
    run(1, "--only", "moe", "--set", "train.on_fault=skip", "--set", "checkpoint.every_steps=1", "--set",
        "checkpoint.keep_last=99", "--output", "r1.h5")
    with h5py.File("r1.h5") as file:
        loss = file["runs/moe/seed_0/steps/loss"][()]
        norms = file["runs/moe/seed_0/steps/gradient_norm"][()]
    bad = [i for i, norm in enumerate(norms) if not math.isfinite(norm)]
    check(bad and bad[0] == 2 and metric("r1.h5", "moe", "steps_skipped") == len(bad) < len(loss), str(bad))
    states = {}
    for path in pathlib.Path("r1.h5.checkpoints").glob("checkpoint-*.h5"):
        content = arrays(path)
        info = json.loads(rankine("info", str(path), "--json"))
        states[info["step"]] = {k: v for k, v in content.items() if k.startswith(("state/state/weights", "state/state/optimizer"))}
    check(len(states) == len(loss), f"checkpoints after steps {sorted(states)}")
    for step in range(1, len(loss)):
        before, after = states[step], states[step + 1]
        equal = all(before[name].tobytes() == after[name].tobytes() for name in before)
        check(len(before) > 10 and equal == (step in bad), f"step {step}: state equal: {equal}, faulty steps {bad}")
    for ranks in (1, 2, 4):
        text = run(ranks, "--set", "train.on_fault=skip", "--output", f"all{ranks}.h5")
        check(text.count("the step is left out") == 2 * len(bad), text)
        if ranks > 1:
            rankine("compare", "all1.h5", f"all{ranks}.h5")
    run(1, "--only", "moe", "--set", "train.on_fault=skip", "--set", "train.faults.skip_limit=0", "--output", "r.h5", code=2)
    print(f"steps {bad} left no trace in weights and optimiser; equal on 1, 2 and 4 ranks")


def test_rewind():
    options = ["--set", "train.on_fault=rewind", "--set", "checkpoint.every_steps=2", "--set", "train.faults.rewind_limit=9"]
    for ranks in (1, 2, 4):
        text = run(ranks, *options, "--output", f"r{ranks}.h5")
        check("went back to step 2" in text and "the step is left out" in text, text)
        if ranks > 1:
            rankine("compare", "r1.h5", f"r{ranks}.h5")
    rewinds = metric("r1.h5", "moe", "rewinds")
    with h5py.File("r1.h5") as file:
        rates = file["runs/moe/seed_0/steps/learning_rate"][()]
        steps = file["runs/moe/seed_0/steps/step"][()]
    check(rewinds >= 2 and metric("r1.h5", "moe", "steps_skipped") == rewinds, f"{rewinds} rewinds")
    check(list(steps) == list(range(12)), str(steps))
    check(rates[0] == rates[1] and rates[-1] < rates[0] * 0.5 ** rewinds * 1.0001, str(rates))
    text = run(1, "--only", "moe", *options[:4], "--set", "train.faults.rewind_limit=1", "--output", "r.h5", code=2)
    check("went back 1 times before" in text, text)
    text = run(1, "--only", "moe", *options[:2], "--set", "checkpoint.every_steps=5", "--output", "s.h5", code=2)
    check("no good checkpoint of this run" in text, text)
    text = run(1, "--only", "moe", *options[:2], "--set", "checkpoint.every_minutes=0", "--output", "s.h5", code=1)
    check("rewind needs checkpoints" in text, text)
    print(f"{rewinds} rewinds, equal on 1, 2 and 4 ranks")


def test_update():
    """A learning rate that overflows the weights: the state stays what it was."""
    rate = ["--only", "soft", "--set", "train.learning_rate=1e60", "--set", "data.train=2"]
    text = run(2, *rate, "--output", "r.h5", code=2)
    check("the update would make weights/" in text and "learning rate" in text and ", rank" not in text, text)
    run(1, *rate, "--set", "train.on_fault=skip", "--output", "r1.h5")
    check(metric("r1.h5", "soft", "steps_skipped") == 12, "steps were made")
    check(metric("r1.h5", "soft", "rel_l2") == metric("r1.h5", "soft", "rel_l2_step0"), "the weights have changed")


def test_data():
    write_data(nan_at=3)
    text = run(2, "--only", "soft", code=1)
    check("/0003/data" in text and "[t 3, x 7, 0]" in text, text)


def write_table(size=3e38):
    random = numpy.random.default_rng(2)
    rows = random.normal(size=(40, 8))
    rows[BAD] = size
    with open("table.csv", "w") as file:
        file.write(",".join([*(f"x{i}" for i in range(8)), "class"]) + "\n")
        for i, row in enumerate(rows):
            file.write(",".join(f"{value:.9g}" for value in row) + f",{i % 3}\n")


def facts_of(dump):
    with h5py.File(dump) as file:
        return dict(file.attrs)


RULES = ("backprop", "pipeline", "auglocal")


def failed_step(variant="backprop"):
    """The first step whose batch holds the bad row."""
    text = run(1, "--only", variant, "--output", "find.h5", code=2)
    return int(text.split(f"variant {variant}, seed 0, step ")[1].split(":")[0])


def test_training_stop():
    step = failed_step()
    for variant in (*RULES, "norm"):
        dumps = []
        for ranks in (1, 2, 4):
            name = f"{variant}{ranks}.h5"
            text = run(ranks, "--only", variant, "--output", name, code=2)
            dump = f"{name}.fault-{variant}-seed_0-step_{step}.h5"
            check(dump in text and f"variant {variant}, seed 0, step {step}: affine of layer block0 is " in text, text)
            check(text.count("rankine: error:") == 1 and not pathlib.Path(name).exists(), text)
            facts = facts_of(dump)
            for key, value in {"variant": variant, "step": step, "sample": BAD, "layer": "block0", "phase": "forward",
                               "tensor": "affine"}.items():
                check(facts[key] == value, f"{variant} on {ranks} ranks: {key} is {facts[key]}, not {value}")
            check(0 <= facts["rank"] < ranks and facts["message"] in text, str(facts))
            content = arrays(dump)
            check(BAD in content["batch/ids"] and content["batch/inputs"].size == 64, str(content.keys()))
            check(not numpy.isfinite(content["tensor"]).all(), "the tensor is finite")
            check(numpy.isfinite(content["weights/block0.weight"]).all(), "weights")
            dumps.append({key: value for key, value in content.items() if key.startswith(("batch", "weights", "tensor"))})
        for other in dumps[1:]:
            same(dumps[0], other, f"the dumps of {variant} on several ranks")
    print(f"row {BAD} in step {step} is named alike under four rules and networks, on 1, 2 and 4 ranks")


def test_training_skip():
    step = failed_step()
    for variant in (*RULES, "norm"):
        name = f"{variant}1.h5"
        text = run(1, "--only", variant, "--set", "train.on_fault=skip", "--set", "checkpoint.every_steps=1", "--set",
                   "checkpoint.keep_last=99", "--output", name)
        with h5py.File(name) as file:
            steps = file[f"runs/{variant}/seed_0/steps/step"][()]
            good = [i for i, loss in enumerate(file[f"runs/{variant}/seed_0/steps/loss"][()]) if math.isfinite(loss)]
        skipped = metric(name, variant, "steps_skipped")
        check(text.count("the step is left out") == skipped == 4 and len(steps) == 12, f"{variant}: {skipped} skipped\n{text}")
        check(math.isfinite(metric(name, variant, "test_loss")), text)
        # A step that is left out: the same as one that never was.
        states = {}
        for path in pathlib.Path(f"{name}.checkpoints").glob("checkpoint-*.h5"):
            content = arrays(path)
            states[json.loads(rankine("info", str(path), "--json"))["step"]] = {
                key: value for key, value in content.items()
                if key.startswith("state/state/weights") or "optimizer/" in key}
        changed = [key for key in states[step] if states[step][key].tobytes() != states[step + 1][key].tobytes()]
        check(len(states[step]) > 6 and not changed, f"{variant}: a step that was left out changed {changed}")
        check(len(good) == 8 and step not in good, f"{variant}: steps with a finite loss {good}")
        after = next(i for i in good if i > step)
        moved = [key for key in states[after]
                 if "weights" in key and states[after][key].tobytes() != states[after + 1][key].tobytes()]
        check(moved, f"{variant}: the good step {after} changed nothing")
        for ranks in (2, 3):
            run(ranks, "--only", variant, "--set", "train.on_fault=skip", "--output", f"{variant}{ranks}.h5")
            rankine("compare", name, f"{variant}{ranks}.h5")
        run(1, "--only", variant, "--set", "train.on_fault=skip", "--set", "train.faults.skip_limit=0", "--output", "r.h5", code=2)
    # The pipeline's gradient is that of backpropagation, and so is what is measured of the blocks.
    with h5py.File("backprop1.h5") as one, h5py.File("pipeline1.h5") as other:
        for name in ("activation_rms", "activation_gradient_rms", "dead_units", "gradient_norm"):
            left, right = (f[f"runs/{v}/seed_0/blocks/{name}"][()] for f, v in ((one, "backprop"), (other, "pipeline")))
            check(numpy.allclose(left, right, rtol=1e-6, atol=0, equal_nan=True), f"{name}: {left} and {right}")
    print("steps that were left out left no trace in weights, statistics and optimisers; equal on 1, 2 and 3 ranks")


def test_training_rewind():
    options = ["--set", "train.on_fault=rewind", "--set", "checkpoint.every_steps=2", "--set", "train.faults.rewind_limit=9"]
    step = failed_step()
    for variant in (*RULES, "norm"):
        for ranks in (1, 2, 3):
            text = run(ranks, "--only", variant, *options, "--output", f"{variant}{ranks}.h5")
            check(f"went back to step {step // 2 * 2};" in text and "the step is left out" in text, text)
            if ranks > 1:
                rankine("compare", f"{variant}1.h5", f"{variant}{ranks}.h5")
        name = f"{variant}1.h5"
        rewinds = metric(name, variant, "rewinds")
        with h5py.File(name) as file:
            rates = file[f"runs/{variant}/seed_0/steps/learning_rate"][()]
            steps = file[f"runs/{variant}/seed_0/steps/step"][()]
            measured = file[f"runs/{variant}/seed_0/blocks/step"][()]
            evaluated = file[f"runs/{variant}/seed_0/evaluations/step"][()]
        check(rewinds == 4 == metric(name, variant, "steps_skipped"), f"{variant}: {rewinds} rewinds")
        check(list(steps) == list(range(12)) and list(measured) == [0, 4, 8], f"{steps} {measured}")
        check(list(evaluated) == [5, 10, 12], str(evaluated))
        check(math.isclose(rates[-1], 0.01 * 0.5 ** 4), str(rates))
    text = run(1, "--only", "backprop", *options[:2], code=0 if step == 0 else 2)
    text = run(1, "--only", "backprop", *options[:2], "--set", "checkpoint.every_minutes=0", "--output", "s.h5", code=1)
    check("rewind needs checkpoints" in text, text)
    # What ranks have trained apart is together in every checkpoint, wherever the windows of steps end.
    for variant in RULES:
        skip = ["--only", variant, "--set", "train.on_fault=skip", "--set", "checkpoint.every_steps=2"]
        run(2, *skip, "--set", "train.steps=6", "--set", "train.evaluate_every=0", "--output", "part.h5")
        shutil.rmtree("part.h5.checkpoints/previous", ignore_errors=True)
        for done in pathlib.Path("part.h5.checkpoints").glob("finished-*"):
            done.unlink()
        newest = sorted(pathlib.Path("part.h5.checkpoints").glob("checkpoint-*.h5"))[-2]
        check(json.loads(rankine("info", str(newest), "--json"))["step"] == 4, str(newest))
        run(1, *skip, "--restart", str(newest), "--set", "train.evaluate_every=0", "--output", "part.h5")
        run(1, *skip, "--set", "train.evaluate_every=0", "--output", "whole.h5")
        rankine("compare", "whole.h5", "part.h5")
    print("four rewinds under each rule, equal on 1, 2 and 3 ranks")


def test_training_update():
    """A learning rate that overflows the weights: the state stays what it was."""
    write_table(size=1)
    rate = ["--set", "train.learning_rate=1e60", "--set", "train.optimizer.name=sgd"]
    for variant in RULES:
        text = run(2, "--only", variant, *rate, "--output", "r.h5", code=2)
        check("the update would make weights/block" in text and "learning rate of this step is 1e+60" in text, text)
        run(2, "--only", variant, *rate, "--set", "train.on_fault=skip", "--output", f"{variant}.h5")
        check(metric(f"{variant}.h5", variant, "steps_skipped") == 12, "steps were made")
        check(math.isfinite(metric(f"{variant}.h5", variant, "test_loss")), "the weights are not what they were")


def test_training_data():
    # Too large for single precision before the first operation.
    write_table(size=1e300)
    for variant in RULES:
        text = run(2, "--only", variant, "--output", "r.h5", code=2)
        check(f"the inputs of the batch is inf at sample {BAD}" in text, text)
    # The key of before is no key any more.
    text = run(1, "--only", "backprop", "--set", "train.on_not_finite=skip", code=1)
    check("on_not_finite" in text and "unknown key" in text, text)


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    (write_table if TEST.startswith("training") else write_data)()
    globals()[f"test_{TEST}"]()
