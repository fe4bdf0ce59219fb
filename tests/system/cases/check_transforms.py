"""Transforms, ghosts and groups in a training run: the same bits on 1, 2 and 3 ranks and after a stop, and off-switches that
give the plain run's bits.

See cases.py for the usage.
"""
import signal
import subprocess
import time

import cases

ALL = ("[{name: past_outputs}, {name: shift, reach: 1}, {name: cutout, size: 3}, {name: noise, deviation: 0.1},"
       " {name: cutmix}, {name: mixup, probability: 0.5}]")
OFF = ("[{name: past_outputs, share: 0}, {name: shift, reach: 0}, {name: cutout, size: 0}, {name: noise, deviation: 0},"
       " {name: cutmix, probability: 0}, {name: mixup, probability: 0}]")


def deck(check, name, transforms="[]", rule="backprop", ghosts=6, groups="[]", steps=24,
         batch=12, shards=3):
    return check.deck(
        name, run="{experiment: training, ranks: 1, seeds: [0], output: out.h5}", pde=None, grid=None, formulation=None,
        variants=None, data=f"{{name: fashion_mnist, pool: 2, train: 64, validation: 16, test: 16, transforms: {transforms}}}",
        model="{blocks: [{name: conv2d, channels: 4}, {name: batch_norm, ghosts: %d}, {name: relu, repeat: 2},"
              " {name: flatten}, {name: dense, units: 10}]}" % ghosts,
        train=f"{{steps: {steps}, batch: {batch}, shards: {shards}, evaluate_training: true, rule: {rule}, optimizer: {{name: adam, groups: {groups}}},"
              " schedule: {name: steps, at: [25%, 20]}}")


def main(check):
    def results(name, *more, ranks=1, **what):
        path = check.folder / f"{name}.h5"
        said = check.run("run", deck(check, f"{name}.yaml", **what), "--output", path, *more, ranks=ranks)
        check.says(name, said, 0, "done in")
        return path

    one = results("one", transforms=ALL)
    for ranks in (2, 3):
        cases.same(check, f"{ranks} ranks", one, results(f"on_{ranks}", transforms=ALL, ranks=ranks))
    arguments = [deck(check, "stopped.yaml", transforms=ALL), "--output", "stopped.h5", "--set", "checkpoint.every_steps=1"]
    process = subprocess.Popen(check.command("run", *arguments), cwd=check.folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(check.folder.glob("stopped*/**/*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.wait()
    check.says("the rest", check.run("run", *arguments, "--restart", "auto", ranks=2), 0, "done in")
    cases.same(check, "after a stop", one, check.folder / "stopped.h5")

    plain = results("plain", ghosts=1)
    cases.same(check, "all switched off", plain, results("off", transforms=OFF, ghosts=1, groups='[{on: "*", rate: 1}]'))
    check.expect("they do something", check.run("compare", plain, one).returncode != 0)
    ghosts = results("ghosts")
    check.expect("ghosts do something", check.run("compare", plain, ghosts).returncode != 0)
    cases.same(check, "ghosts on 3 ranks", ghosts, results("ghosts_3", ranks=3))
    cases.same(check, "the batch that is all", results("whole", batch=64, shards=2, ghosts=4),
               results("all", batch=0, shards=2, ghosts=4))
    results("pipeline", rule="pipeline", transforms="[{name: cutmix}]")

    for what, message in (({"ghosts": 4}, "block1: ghosts: 4 must be a multiple of train.shards, 3"),
                          ({"transforms": ALL, "rule": "pipeline"}, "past_outputs: this learning rule does not see"),
                          ({"groups": '[{on: "conv*"}]'}, "groups: 'conv*' fits no parameter")):
        check.says(message, check.run("check", deck(check, "bad.yaml", **what)), 1, "bad.yaml:", message)
    pde = check.deck(train="{steps: 2, batch: 2, optimizer: {name: adam, groups: [{on: conv*}]}}")
    check.says("groups of a PDE's network", check.run("check", pde), 1, "deck.yaml:", "groups: 'conv*' fits no parameter")
    for what, message in (("backprop, penalties: [{name: l1, on: 'x*', weight: 1}]", "on: 'x*' fits no parameter that is trained"),
                          ("pipeline, penalties: [{name: l2, weight: 1}]", "penalties: this learning rule does not form"),
                          ("backprop, loss: [{name: entropy, weight: 0}]", "needs a term with a weight above 0")):
        bad = deck(check, "bad.yaml", rule=what)
        check.says(message, check.run("check", bad), 1, "bad.yaml:", message)


cases.main(main)
