"""Mechanisms of deck.yaml and constraint.yaml together: what the results must say of each other; the same bits on 1, 2 and 3 ranks, and from the
checkpoint before any step; one message for each mistake.

usage: check_combined.py RANKINE DECK CONSTRAINT MPIEXEC ... RANKS ...
"""
import os
import pathlib
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import Program  # noqa: E402


def main() -> int:
    rankine, deck, constraint, *launcher = sys.argv[1:]
    program = Program(rankine, launcher)
    run, expect, failures = program.run, program.expect, program.failures

    def values(file, variant, seed=0):
        """Steps, evaluations, weights and metrics of a run, but for times and costs."""
        found = {}
        left_out = ("second", "memory", "arena", "timing", "multiply_adds")
        with h5py.File(file) as opened:
            opened[f"runs/{variant}/seed_{seed}"].visititems(
                lambda name, item: found.update({name: item[()]})
                if isinstance(item, h5py.Dataset) and not any(word in name for word in left_out) else None)
        return found

    def off_is_plain(file, plain="plain", off="off"):
        plain, off = values(file, plain), values(file, off)
        return plain.keys() == off.keys() and len(plain) > 5 and all(
            np.array_equal(plain[name], off[name], equal_nan=plain[name].dtype.kind == "f") for name in plain)

    def losses(file, variant):
        return values(file, variant)["steps/loss"]

    def same_from_all_checkpoints(deck, kept, least):
        """Every checkpoint, taken up on one rank or three."""
        each = [*kept, "--set", "checkpoint.every_steps=1", "--set", "checkpoint.keep_last=100"]
        done = run(2, "run", deck, *each, "--output", "each.h5")
        expect("a checkpoint before each step", done.returncode == 0, done.stdout)
        checkpoints = sorted(pathlib.Path("each.h5.checkpoints").glob("checkpoint-*.h5"))
        expect("there is one for each step", len(checkpoints) >= least, str(checkpoints))
        for number, checkpoint in enumerate(checkpoints):
            rest = run(1 + 2 * (number % 2), "run", deck, *each, "--output", "rest.h5", "--restart", str(checkpoint))
            expect(f"a restart from {checkpoint.name}", rest.returncode == 0, rest.stdout)
            same("each.h5", "rest.h5")

    def same(one, other):
        compared = run(1, "compare", one, other)
        expect(f"{one} and {other} have the same bits", compared.returncode == 0, compared.stdout)

    def runs(deck, name):
        """On 2 ranks, then on 1 and 3."""
        for ranks in (2, 1, 3):
            done = run(ranks, "run", deck, "--output", f"{name}_{ranks}.h5")
            expect(f"{name} runs on {ranks} ranks", done.returncode == 0, done.stdout)
            if failures:
                return False
            same(f"{name}_2.h5", f"{name}_{ranks}.h5")
        return True

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if not (runs(deck, "deck") and runs(constraint, "constraint")):
            print(failures[0])
            return 1
        file = "deck_2.h5"
        for name in (file, "constraint_2.h5"):
            expect(f"what is switched off is not there: {name}", off_is_plain(name))
            expect(f"an average does not change training: {name}",
                   np.array_equal(losses(name, "plain"), losses(name, "averaged")))
            plain, averaged = values(name, "plain"), values(name, "averaged")
            expect(f"and is what is judged: {name}", all(
                not np.array_equal(plain[part], averaged[part]) for part in plain if part.endswith(".weight")))
        expect("a critic of weight 0 is not there", off_is_plain(file, "numbers", "no_critic"))
        critic = values(file, "judged")["steps/critic_loss"]
        expect("a critic's loss is that of each step", np.isfinite(critic).all() and np.unique(critic).size == 6)
        expect("a teacher changes training",
               not np.array_equal(losses(file, "plain"), losses(file, "taught"))
               and not np.array_equal(losses(file, "taught")[1:], losses(file, "own_teacher")[1:]))
        zero = values(file, "spikes")["weights/block1.weight"] == 0
        expect("the average of a pruned network has its zeros", abs(zero.mean() - 0.7) < 2e-3)
        bounded = values("constraint_2.h5", "all")
        expect("weights and their average stay within bounds", all(
            np.abs(value).max() <= 0.5 for name, value in bounded.items() if name.startswith("weights/")))

        same_from_all_checkpoints(deck, ["--only", "teacher", "--only", "spikes", "--only", "experts", "--only", "judged"], 20)
        same_from_all_checkpoints(constraint, ["--only", "all"], 3)

        # A critic whose step fails leaves the network as it was.
        kept = ["--only", "judged", "--set", "train.on_fault=skip"]
        wild = ["--set", "variants.judged.train.critic.learning_rate=1e300", "--set", "variants.judged.train.critic.after_step=[]"]
        none = run(1, "run", deck, *kept, "--set", "train.steps=0", "--set", "train.epochs=0", "--output", "none.h5")
        fault = run(2, "run", deck, *kept, *wild, "--output", "fault.h5")
        expect("both run", none.returncode == 0 and fault.returncode == 0, none.stdout + fault.stdout)
        expect("the critic's weights are named", "the update would make" in fault.stdout and "weights/critic0." in fault.stdout, fault.stdout)
        none, fault = values("none.h5", "judged"), values("fault.h5", "judged")
        expect("a critic's failed step leaves the network as it was", fault["summary/steps_skipped"] == 6 and all(
            np.array_equal(none[part], fault[part]) for part in none if part.startswith("weights/")))

        stop = run(1, "run", deck, "--only", "judged", "--set", "variants.judged.train.critic={learning_rate: 1e37, clip: 0}",
                   *wild[2:], "--output", "stop.h5")
        expect("a fault in the critic names its layer", stop.returncode == 2 and " of layer critic" in stop.stdout, stop.stdout)

        mistakes = {
            "variants.judged.train.rule=pipeline": "no rank has the whole network between steps",
            "variants.no_critic.train.rule=pipeline": "does not form the loss of the whole network",
            "variants.no_critic.train.critic.weight=-1": "weight",
            "variants.no_critic.train.critic.objective=squares": "logistic, least_squares, hinge, wasserstein",
            "variants.no_critic.train.critic.model={blocks: [relu]}": "has parameters; add dense",
            "variants.no_critic.train.critic.model={precision: double, blocks: [{name: dense, units: 1}]}": "they must be the same",
            "variants.plain.train.critic={weight: 1, model: {blocks: [{name: dense, units: 1}]}}": "targets of this data set are classes",
            "variants.spikes.train.rule={name: pipeline}": "use a rule whose ranks share the batch",
            "variants.averaged.train.rule=pipeline": "no rank has the whole network between steps",
            "variants.taught.train.rule=pipeline": "whose batches a teacher does not see",
            "variants.taught.train.distill.from=average": "give train.average",
            "variants.taught.train.distill.from=teacher": "VARIANT@SNAPSHOT, such as teacher@end",
            "variants.taught.train.distill.from=plain@average": "it leaves: end",
            "variants.taught.train.distill.model={blocks: [flatten, {name: dense, units: 3}]}": "the teacher gives outputs [3]",
            "variants.taught.train.distill.model={blocks: [flatten, {name: dense, units: 10}]}": "a teacher's are train.distill.model",
            "variants.own_teacher.train.distill.model={blocks: [flatten, {name: dense, units: 10}]}": "leave it out",
            "variants.taught.train.distill.wait=3": "unknown key 'wait'",
            "variants.taught.train.distill.temperature=0": "temperature",
            "variants.fitted.train.distill.temperature=2": "which no softmax makes",
        }
        for assignment, text in mistakes.items():
            answer = run(1, "check", deck, "--set", assignment)
            expect(f"{assignment} is refused with '{text}'", answer.returncode == 1 and text in answer.stdout, answer.stdout)
    print("\n".join(failures) or "the mechanisms combine")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
