"""Mechanisms of deck.yaml together: what the results must say of each other; the same bits on 1, 2 and 3 ranks, and from the
checkpoint before any step; one message for each mistake.

usage: check_combined.py RANKINE DECK MPIEXEC ... RANKS ...
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np


def main() -> int:
    rankine, deck, *launcher = sys.argv[1:]
    failures = []

    def run(ranks, *arguments):
        words = [str(ranks) if word == "RANKS" else word for word in launcher]
        return subprocess.run([*words, rankine, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def expect(what, condition, output=""):
        if not condition:
            failures.append(f"{what}\n{output}")

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        straight = run(2, "run", deck, "--output", "straight.h5")
        expect("the deck runs", straight.returncode == 0, straight.stdout)
        if failures:
            print(failures[0])
            return 1
        with h5py.File("straight.h5") as file:
            def values(variant, seed=0):
                """Steps, evaluations, weights and metrics of a run, but for times."""
                found = {}
                file[f"runs/{variant}/seed_{seed}"].visititems(
                    lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) and not any(
                        word in name for word in ("seconds", "per_second", "memory", "arena", "timing", "multiply_adds")) else None)
                return found

            def weights(variant):
                return values(variant)["weights/block1.weight"]

            plain = values("plain")
            off = values("off")
            expect("what is switched off is not there", plain.keys() == off.keys() and all(
                np.array_equal(plain[name], off[name], equal_nan=plain[name].dtype.kind == "f") for name in plain))
            losses = {variant: values(variant)["steps/loss"] for variant in ("plain", "teacher", "averaged", "taught", "own_teacher")}
            expect("an average does not change training",
                   np.array_equal(losses["plain"], losses["averaged"]) and np.array_equal(losses["plain"], losses["teacher"]))
            expect("and is what is judged", not np.array_equal(weights("plain"), weights("averaged")))
            expect("a teacher changes it",
                   not np.array_equal(losses["plain"], losses["taught"])
                   and not np.array_equal(losses["taught"][1:], losses["own_teacher"][1:]))
            zero = weights("spikes") == 0
            expect("the average of a pruned network has its zeros", abs(zero.mean() - 0.7) < 2e-3)
            expect("the mixture's weights are bounded",
                   np.isfinite(values("experts")["steps/loss"]).all())

        def same(name):
            compared = run(1, "compare", "straight.h5", name)
            expect(f"{name} has the same bits", compared.returncode == 0, compared.stdout)

        for ranks in (1, 3):
            done = run(ranks, "run", deck, "--output", f"ranks_{ranks}.h5")
            expect(f"{ranks} ranks", done.returncode == 0, done.stdout)
            same(f"ranks_{ranks}.h5")

        # Every checkpoint of the two combinations, taken up on another number of ranks.
        kept = ["--only", "teacher", "--only", "spikes", "--only", "experts", "--set", "run.seeds=[0]"]
        each = ["--set", "checkpoint.every_steps=1", "--set", "checkpoint.keep_last=100"]
        done = run(2, "run", deck, *kept, *each, "--output", "each.h5")
        expect("a checkpoint before each step", done.returncode == 0, done.stdout)
        checkpoints = sorted(pathlib.Path("each.h5.checkpoints").glob("checkpoint-*.h5"))
        expect("there is one for each step of three runs", len(checkpoints) >= 15, str(checkpoints))
        for number, checkpoint in enumerate(checkpoints):
            rest = run(1 + 2 * (number % 2), "run", deck, *kept, *each, "--output", "rest.h5", "--restart", str(checkpoint))
            expect(f"a restart from {checkpoint.name}", rest.returncode == 0, rest.stdout)
            compared = run(1, "compare", "each.h5", "rest.h5")
            expect(f"{checkpoint.name} leads to the same bits", compared.returncode == 0, compared.stdout)

        mistakes = {
            "variants.spikes.train.rule={name: pipeline}": "use a rule whose ranks share the batch",
            "variants.averaged.train.rule=pipeline": "no rank has the whole network between steps",
            "variants.taught.train.rule=pipeline": "no rank has the whole network between steps",
            "variants.taught.train.distill.from=average": "give train.average",
            "variants.taught.train.distill.from=teacher": "VARIANT@SNAPSHOT, such as teacher@end",
            "variants.taught.train.distill.from=plain@average": "it leaves: end",
            "variants.taught.train.distill.model={blocks: [flatten, {name: dense, units: 3}]}": "the teacher gives outputs [3]",
            "variants.taught.train.distill.model={blocks: [flatten, {name: dense, units: 10}]}": "a teacher's are train.distill.model",
            "variants.own_teacher.train.distill.model={blocks: [flatten, {name: dense, units: 10}]}": "leave it out",
            "variants.taught.train.distill.wait=3": "unknown key 'wait'",
            "variants.taught.train.distill.temperature=0": "temperature",
        }
        for assignment, text in mistakes.items():
            answer = run(1, "check", deck, "--set", assignment)
            expect(f"{assignment} is refused with '{text}'", answer.returncode == 1 and text in answer.stdout, answer.stdout)
    print("\n".join(failures) or "the mechanisms combine")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
