"""Phases, snapshots and pruning of deck.yaml: what the results must say of each other; the same bits on 1, 2 and 4 ranks, in
concurrent groups, in tasks that are merged, and after a stop at any step; one message for each mistake.

usage: check_phases.py RANKINE DECK MPIEXEC ... RANKS ...
"""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import Program  # noqa: E402


def main() -> int:
    rankine, deck, *launcher = sys.argv[1:]
    program = Program(rankine, launcher)
    run, expect, failures = program.run, program.expect, program.failures

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        straight = run(2, "run", deck, "--output", "straight.h5")
        expect("the deck runs", straight.returncode == 0, straight.stdout)
        if failures:
            print(failures[0])
            return 1
        with h5py.File("straight.h5") as file:
            def weights(variant, name):
                return file[f"runs/{variant}/seed_0/weights/{name}"][()]

            def density(variant):
                return float(file[f"runs/{variant}/seed_0/summary/density"][()])

            def loss(variant):
                return float(file[f"runs/{variant}/seed_0/summary/test_loss"][()])

            def losses(variant):
                return file[f"runs/{variant}/seed_0/steps/loss"][()]

            part = "block1.weight"
            expect("a ticket's density is 1/8", abs(density("ticket") - 1 / 8) < 2e-3)
            zero = weights("ticket", part) == 0
            expect("a ticket's weights are zero where they were removed", abs(zero.mean() - 7 / 8) < 2e-3)
            expect("a fresh start keeps the mask", np.array_equal(weights("fresh", part) == 0, zero))
            expect("a shuffled mask is another of the same size",
                   density("shuffled") == density("ticket") and not np.array_equal(weights("shuffled", part) == 0, zero))
            expect("round 2 has density 1/4", abs(density("rewound") - 1 / 4) < 2e-3)
            expect("a run without steps is judged as the snapshot is",
                   abs(density("judged") - 1 / 2) < 2e-3 and "steps" not in file["runs/judged/seed_0"])
            expect("a mean of two snapshots has the masks that were there", np.allclose(
                weights("mean", part), (weights("judged", part) != 0) * (weights("at_round2", part) + weights("at_early", part)) / 2,
                rtol=1e-6))
            parts = list(file["runs/scaled/seed_0/weights"])
            total = lambda variant: sum(np.abs(weights(variant, name).astype(float)).sum() for name in parts)
            expect("weights are scaled to another norm", np.isclose(total("scaled"), total("dense"), rtol=1e-6) and np.allclose(
                weights("scaled", part), weights("at_initial", part) * total("dense") / total("at_initial"), rtol=1e-6))
            expect("the other norm is another", losses("scaled_l2")[0] not in (losses("dense")[0], losses("as_dense")[0]))
            expect("the dense run again from its first weights gives its bits",
                   np.array_equal(losses("as_dense"), losses("dense"))
                   and np.array_equal(weights("as_dense", part), weights("dense", part)))
            expect("the first loss of a ticket is another than the dense one's", losses("ticket")[0] != losses("dense")[0])
            head, update = "block3.weight", "block3.weight.low_rank.out"
            expect("a low-rank run starts as the plain one does", losses("low_rank")[0] == losses("further")[0])
            expect("and goes another way", losses("low_rank")[2] != losses("further")[2])
            expect("a low-rank run leaves the matrix and trains the update",
                   np.array_equal(weights("low_rank_on", head), weights("dense", head))
                   and weights("low_rank", update).any()
                   and not np.array_equal(weights("low_rank_on", update), weights("low_rank", update)))
            expect("the head is left dense", (weights("ticket", "block3.weight") != 0).all())
            expect("gradual pruning ends at its density", abs(density("gradual") - 0.2) < 2e-3)
            expect("pruning before the first step", abs(density("snip") - 0.3) < 2e-3)
            expect("the dense run is dense", density("dense") == 1)

            moved, left = weights("moved", part), weights("again", part)
            expect("a transform orders units anew, masks with them",
                   not np.array_equal(moved, left) and np.array_equal(moved[np.lexsort(moved.T)], left[np.lexsort(left.T)])
                   and density("moved") == density("again") == density("moved_on"))
            expect("the network in another order is the same", abs(loss("moved") - loss("again")) < 1e-6)
            expect("what is trained on stays sparse", (weights("moved_on", part) == 0).sum() == (left == 0).sum())

            shape = weights("dense", "block1.weight").shape
            kept = round(0.3 * shape[0] * shape[1])
            in_rows = (weights("wanda", "block1.weight") != 0).sum(axis=1)
            expect("wanda in rows keeps as many of each output", in_rows.sum() == kept and np.ptp(in_rows) <= 1)
            # A unit has its inputs, a bias and 10 outputs; the wide network has a quarter of its first weights.
            summary = lambda variant, metric: float(file[f"runs/{variant}/seed_0/summary/{metric}"][()])
            nonzeros, work = kept + 20 + 20 * 10 + 10, kept + 20 * 10
            near = lambda target, count: min(range(1, 200), key=lambda units: abs(count(units) - target))
            for variant, units in {"narrow": near(nonzeros, lambda u: (shape[1] + 11) * u + 10),
                                   "triple": near(3 * work, lambda u: (shape[1] + 10) * u),
                                   "wide": near(work, lambda u: (shape[1] / 4 + 10) * u)}.items():
                expect(f"{variant} has {units} units", len(weights(variant, "block1.weight")) == units)
            expect("non-zeros are matched", summary("wanda", "nonzeros") == nonzeros
                   and np.isclose(summary("narrow", "match_difference"), summary("narrow", "nonzeros") / nonzeros - 1))
            for variant in ("dense", "snip", "triple", "wide"):
                products = (weights(variant, "block1.weight") != 0).sum() + (weights(variant, "block3.weight") != 0).sum()
                expect(f"multiply-adds of {variant}", summary(variant, "forward_multiply_adds") == products)

        def same(name):
            compared = run(1, "compare", "straight.h5", name)
            expect(f"{name} has the same bits", compared.returncode == 0, compared.stdout)

        for ranks in (1, 4):
            done = run(ranks, "run", deck, "--output", f"ranks_{ranks}.h5")
            expect(f"{ranks} ranks", done.returncode == 0, done.stdout)
            same(f"ranks_{ranks}.h5")
        done = run(2, "run", deck, "--output", "groups.h5", "--set", "run.concurrent=2")
        expect("concurrent groups", done.returncode == 0, done.stdout)
        same("groups.h5")
        for task in (1, 2):
            done = run(1, "run", deck, "--output", "tasks.h5", "--task", f"{task}/2")
            expect(f"task {task}", done.returncode == 0, done.stdout)
        merged = run(1, "compare", "--merge", "--output", "merged.h5", "tasks.task_1_of_2.h5", "tasks.task_2_of_2.h5")
        expect("tasks are merged", merged.returncode == 0, merged.stdout)
        same("merged.h5")

        # A stop after so many steps of the whole deck, then the rest.
        for after in (0.4, 1.0):
            words = ["1" if word == "RANKS" else word for word in launcher]
            name = f"stopped_{after}.h5"
            arguments = ["run", deck, "--output", name, "--set", "checkpoint.every_steps=1"]
            process = subprocess.Popen([*words, rankine, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(after)
            process.send_signal(signal.SIGTERM)
            code = process.wait()
            rest = run(2, *arguments, "--restart", "auto")
            expect(f"a restart after {after} s (first exit code {code})", rest.returncode == 0, rest.stdout)
            same(name)

        # A stop when a run is done whose snapshots are needed: the restart takes them from its record.
        arguments = ["run", deck, "--output", "stopped_after.h5", "--set", "checkpoint.every_steps=1"]
        process = subprocess.Popen([rankine, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            if "ticket seed 1: done" in line:
                process.send_signal(signal.SIGTERM)
                break
        process.stdout.read()
        expect("a stop after the tickets", process.wait() == 75)
        rest = run(2, *arguments, "--restart", "auto")
        expect("the tickets were done before", "ticket seed 1: was done before" in rest.stdout, rest.stdout)
        same("stopped_after.h5")

        mistakes = {
            "variants.ticket.start=densest@end": "there is no variant 'densest'",
            "variants.dense.start=ticket@end": "move 'ticket' up",
            "variants.ticket.start=dense@first": "it leaves: initial, early, end",
            "variants.ticket.start=dense": "VARIANT@SNAPSHOT",
            "variants.ticket.model.precision=double": "does not fit 'ticket'",
            "variants.snip.sparsity.schedule.at=9": "rescale is for pruning before the first step",
            "variants.gradual.sparsity.schedule.to=50": "prunes before step 50, but training has 6 steps",
            "variants.snip.sparsity.criterion=movement": "nothing has moved by then",
            "variants.ticket.train.steps=5": "train.phases say how long training takes",
            "variants.judged.start=low_rank@end": "parameters that `model.parametrise` does not add here",
            "variants.low_rank_on.model.parametrise=[{on: [block3.weight], as: low_rank, rank: 2}]": "does not fit 'low_rank_on'",
            "variants.low_rank.model.parametrise=[{as: low_rank, rank: 30}]": "choose at most 20",
            "variants.low_rank.train.rule=pipeline": "deals the blocks to ranks",
            "variants.fresh.train.rule=pipeline": "keeps optimisers of its own",
            "variants.moved.train.phases[0].transform=compact": "gives another network, which training cannot go on with",
            "variants.moved.model.parametrise=[{on: [block1.weight], as: low_rank, rank: 3}]": "expressions is not transformed",
            "variants.moved.train.phases[0].reset_optimizer=false": "belongs to units in another order",
            "variants.mean.train.phases[0].mean_of=[dense@first]": "it leaves: initial, early, end",
            "variants.mean.train.phases[0].mean_of=[first]": "no earlier phase saves 'first'",
            "variants.mean.train.phases[0].weights=dense@end": "give one of weights, mean_of and reinitialise",
            "variants.low_rank.after=[compact]": "whose weights are expressions is not transformed",
            "variants.gradual.sparsity.refine=dsnot": "each needs its own density",
            "variants.narrow.match.within=0.01": "more than within: 0.01",
            "variants.narrow.match.by=[blocks[1].size]": "'blocks[1].size' names no whole number",
            "variants.narrow.match.parameters=dense": "give the variant of one count",
            "variants.narrow.match.nonzeros=wide": "move it up",
            "variants.narrow.match.nonzeros=sparse": "there is no variant 'sparse'",
            "variants.narrow.match.nonzeros=ticket": "not known before training",
            "variants.triple.match.forward_multiply_adds=gradual": "not known before training",
        }
        for assignment, text in mistakes.items():
            answer = run(1, "check", deck, "--set", assignment)
            expect(f"{assignment} is refused with '{text}'", answer.returncode == 1 and text in answer.stdout, answer.stdout)
        alone = run(1, "check", deck, "--only", "ticket")
        expect("--only without the parent is refused", alone.returncode == 1 and "--only dense" in alone.stdout, alone.stdout)
    print("\n".join(failures) or "phases, snapshots and pruning are what the deck says")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
