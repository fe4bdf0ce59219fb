"""Runs a deck whose data make single training steps fail, under each policy and on several ranks.

usage: check_faults.py TEST RANKINE DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]

TEST is stop, skip, rewind, update, or data.
"""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy

TEST, RANKINE, DECK, *LAUNCHER = sys.argv[1:]
PLACE = LAUNCHER.index("RANKS")
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
    launcher = [] if ranks == 1 else LAUNCHER[:PLACE] + [str(ranks)] + LAUNCHER[PLACE + 1:]
    done = subprocess.run([*launcher, RANKINE, "run", DECK, *arguments], capture_output=True, text=True, timeout=200)
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


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    write_data()
    globals()[f"test_{TEST}"]()
