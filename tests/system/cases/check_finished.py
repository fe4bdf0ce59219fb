"""Metrics that cannot be computed are NaN and named, and those that the deck alone decides are known before training."""
import math
import os
import subprocess
import sys

import cases
from cases import clean, metrics, same

# These references cannot pass their own check, which is not what is looked at here.
ANY = "reference_check: {time_error: 1e9, space_error: 1e9, flux_gap: 1e9}"

# Case 01: fronts thinner than a cell.
FRONTS = dict(
    pde="{name: burgers, viscosity: 1e-4}",
    grid="{cells: 64, frames: 40, tiles: [1, 1]}",
    data="{train: 4, validation: 1, test: 2, " + ANY + "}",
    formulation="{method: soft}", train="{steps: 0, batch: 1}", variants=None)

# A melting front: the storage (enthalpy) has kinks where the latent heat begins and ends.
STEFAN = dict(
    pde="{name: equation, parameters: {latent: 4, width: 0.001},"
        " storage: 'u + latent*max(0, min(1, (u + width)/(2*width)))', flux: '-d(u,x)',"
        " walls: {left: {value: 1}, right: {slope: 0}}, initial: {constant: {minimum: -0.8, maximum: -0.2}},"
        " duration: 0.5, data_cells: 64}",
    grid="{cells: 32, frames: 16, tiles: [1, 1]}", data="{train: 4, validation: 1, test: 2, " + ANY + "}",
    formulation="{method: soft}", train="{steps: 0, batch: 1}", variants=None)

# Growth towards a pole behind the end: one large step of the trapezoidal rule has no solution.
GROWTH = dict(
    pde="{name: equation, flux: '-1e-3*d(u,x)', source: u^2, walls: {left: {slope: 0}, right: {slope: 0}},"
        " initial: {constant: {minimum: 0.2, maximum: 0.5}}, duration: 1.9, data_cells: 64}",
    grid="{cells: 32, frames: 4, tiles: [1, 2]}",
    data="{train: 4, validation: 1, test: 4, frames: 5}",
    model="{name: fno2d, widths: [8, 8], modes_t: 2, modes_x: 4, projection: 8}",
    formulation="{method: soft, time: uniform}", train="{steps: 2, batch: 2}", variants="{a: {}, b: {}}")

# A source that is not defined where an untrained network is.
ROOT = dict(
    pde="{name: equation, flux: '-0.05*d(u,x)', source: sqrt(u), walls: {left: {slope: 0}, right: {slope: 0}},"
        " initial: {constant: {minimum: 0.2, maximum: 0.5}}, data_cells: 64}",
    grid="{cells: 32, frames: 16, tiles: [1, 2]}",
    formulation="{method: soft, time: uniform}", train="{steps: 0, batch: 2}", variants=None)

def exact_solutions(check):
    for name, deck in (("case 01", FRONTS), ("a melting front", STEFAN)):
        clean(check)
        done = check.run("run", check.deck(**deck))
        if check.says(name, done, 0, never=("cannot be computed",)):
            value = metrics(check)[0]["default", 0]["rel_l2_discrete"]
            check.expect(name, value is not None and math.isfinite(value), f"rel_l2_discrete is {value}")


def missing_metrics(check):
    clean(check)
    deck = check.deck(**GROWTH)
    warning = "a seed 0: rel_l2_discrete of 3 samples, the first of them 2000000, cannot be computed and is NaN: " \
              "the exact discrete solution is lost in frame 2"
    done = check.run("run", deck)
    check.says("a metric is missing", done, 0, warning, "wrote out.h5")
    check.expect("it is known before training", done.stdout.find(warning) < done.stdout.find("a seed 0: step 1/2"))
    values, _ = metrics(check)
    check.expect("it alone is NaN", values["a", 0]["rel_l2_discrete"] is None and values["a", 0]["rel_l2"] > 0, values)
    check.says("info shows it", check.run("info", "out.h5"), 0, "rel_l2_discrete")
    same(check, "NaN is NaN", "out.h5", "out.h5")
    first = check.run("run", deck, "--task", "1/2")
    second = check.run("run", deck, "--task", "2/2")
    check.expect("tasks", first.returncode == second.returncode == 0, first.stdout + second.stdout)
    merged = check.run("compare", "--merge", "out.task_1_of_2.h5", "out.task_2_of_2.h5", "--output", "merged.h5")
    check.says("NaN is merged", merged, 0)
    same(check, "the merged table", "out.h5", "merged.h5")
    report = subprocess.run([sys.executable, "-m", "rankine_analysis", "report", "out.h5"], cwd=check.folder,
                            capture_output=True, text=True,
                            env={**os.environ, "PYTHONPATH": str(check.source / "analysis")})
    check.expect("a report of NaN", report.returncode == 0 and "Traceback" not in report.stderr, report.stderr)
    # What the deck expects of it cannot hold, which is known before training.
    for ranks in (1, 2):
        clean(check)
        refused = check.run("run", check.deck(**GROWTH, expect="['max(rel_l2_discrete[b]) <= 1']"), ranks=ranks)
        check.says("an expectation reads it", refused, 2, "variant b, seed 0: the deck expects "
                   "'max(rel_l2_discrete[b]) <= 1', but rel_l2_discrete of sample 2000000 cannot be computed",
                   "a seed 0: done in", never=("b seed 0: step",))
        check.expect("one error", refused.stderr.count("rankine: error:") == 1, refused.stderr)
    clean(check)
    check.says("another expectation", check.run("run", check.deck(**GROWTH, expect="['max(rel_l2[a]) <= 1e-9']")), 4,
               warning)
    clean(check)
    never = {**GROWTH, "pde": GROWTH["pde"].replace("minimum: 0.2", "minimum: 0.45")}
    check.says("no sample has one", check.run("run", check.deck(**never, expect="['max(seconds_classical[a]) <= 1']")), 2,
               "but seconds_classical cannot be computed, which is known before training: no sample has an exact",
               never=("sample -1", "a seed 0: step"))
    check.says("not of what is left out",
               check.run("run", check.deck(**GROWTH, expect="['max(rel_l2_discrete[b]) <= rel_l2[a]']".replace(
                   "rel_l2[a]", "max(rel_l2[a])")), "--only", "b"), 0, "not checked")
    # After training: the prediction cannot be corrected, and its error is known.
    clean(check)
    done = check.run("run", check.deck(**ROOT, expect="['max(rel_l2_corrected) <= 1']"))
    check.says("after training", done, 4, "default seed 0: rel_l2_corrected, pde_residual", "cannot be computed and are NaN",
               "wrote out.h5", "fail       max(rel_l2_corrected) <= 1")
    values, info = metrics(check)
    values = values["default", 0]
    check.expect("the others are there", values["rel_l2"] > 0 and values["rel_l2_discrete"] > 0
                 and values["rel_l2_corrected"] is None, values)
    check.expect("the verdict", [e["verdict"] for e in info["expectations"]] == [False])


def run(check):
    exact_solutions(check)
    missing_metrics(check)


if __name__ == "__main__":
    cases.main(run)
