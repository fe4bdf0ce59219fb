"""Numbers that once became NaN, or passed for convergence: collapsed ranges, constant fields, infinite residuals.

See cases.py for the usage.
"""
import itertools

import h5py
import numpy as np

import cases

WALLS = "{left: {slope: 0}, right: {slope: 0}}"
FORMS = {"soft": "{method: soft}", "hard": "{basis: 4, experts: [1, 2]}",
         "target": "{preset: target, basis: 4, time: uniform, experts: [1, 2]}"}


def equation(check, name, parameters="{D: 0.1, k: 2}", initial="gaussian_random_field: {length_scale: 0.2, amplitude: 0.3}",
             walls=WALLS, formulation=FORMS["soft"], **sections):
    return check.deck(name, pde=f'{{name: equation, parameters: {parameters}, flux: "-D*d(u,x)", source: "-k*u", walls: {walls}, '
                                f"initial: {{{initial}}}, data_cells: 32}}",
                      grid="{cells: 16, frames: 10, tiles: [1, 2]}", formulation=formulation, variants=None, **sections)


def ranges(check):
    """minimum = maximum is a constant, with the bits of a number in its place."""
    plain = equation(check, "plain.yaml")
    check.says("numbers", check.run("run", plain, "--output", "plain.h5"), 0)
    for name, parameters in {
        "collapsed ranges": "{D: {minimum: 0.1, maximum: 0.1}, k: {minimum: 2, maximum: 2, logarithmic: true}}",
        "a collapsed range beside a number": "{D: {minimum: 0.1, maximum: 0.1, logarithmic: true}, k: 2}",
    }.items():
        deck = equation(check, "collapsed.yaml", parameters)
        if check.says(name, check.run("run", deck, "--output", "collapsed.h5"), 0, never=("nan", "inf")):
            check.says(f"{name}: the same as numbers", check.run("compare", "plain.h5", "collapsed.h5"), 0)
    deck = equation(check, "narrow.yaml", "{D: {minimum: 0.1, maximum: 0.10000000000000002, logarithmic: true}, "
                                          "k: {minimum: 2, maximum: 2.0000000000000004}}")
    check.says("ranges of one bit", check.run("run", deck), 0, never=("nan", "inf"))
    for minimum in ("0.1", "0"):
        deck = check.deck("burgers.yaml", pde=f"{{name: burgers, viscosity: 0.1, viscosity_minimum: {minimum}, amplitude: 0.3, data_cells: 64}}")
        check.says(f"Burgers from {minimum}", check.run("run", deck, "--output", f"burgers_{minimum}.h5"), 0, never=("nan", "inf"))
    check.says("Burgers: the same", check.run("compare", "burgers_0.h5", "burgers_0.1.h5"), 0)
    for minimum in ("0.2", "0.19999999999999998"):
        deck = check.deck("sorption.yaml", pde=f"{{name: diffusion_sorption, data_cells: 128, initial_minimum: {minimum}, initial_maximum: 0.2}}")
        check.says(f"diffusion-sorption from {minimum}", check.run("run", deck, timeout=60), 0, never=("nan", "inf"))
    check.says("diffusion-sorption upside down", check.run("check", deck, "--set", "pde.initial_maximum=0.1", timeout=60), 1,
               "sorption.yaml:3", "is above initial_maximum 0.1")
    for key, value, *needed in (
            ("a range without end", "{D: {minimum: -1e308, maximum: 1e308}, k: 2}", "wider than a double holds"),
            ("a ratio without end", "{D: {minimum: 1e-300, maximum: 1e300, logarithmic: true}, k: 2}", "wider than a double holds"),
            ("a range upside down", "{D: {minimum: 2, maximum: 1}, k: 2}", "is above maximum")):
        check.says(key, check.run("check", equation(check, "wide.yaml", value)), 1, "wide.yaml:3", *needed)


def constant_fields(check):
    """One sample, fields that are constant or 0: training starts from finite losses."""
    initials = ["constant: {minimum: 0, maximum: 0}", "constant: {minimum: 0.5, maximum: 0.5}", "constant: {minimum: -2, maximum: -2}",
                "expression: 0*x", "gaussian_random_field: {amplitude: 0, mean: 1}"]
    walls = [WALLS, "periodic", "{left: {value: 0}, right: {value: 0}}"]
    for number, (initial, wall) in enumerate(itertools.product(initials, walls)):
        form = list(FORMS)[number % len(FORMS)]
        deck = equation(check, "constant.yaml", initial=initial, walls=wall, formulation=FORMS[form],
                        data="{train: 1, validation: 1, test: 1, frames: 5}", train="{steps: 3, batch: 1}")
        what = f"{initial}, walls {wall}, {form}"
        if check.says(what, check.run("run", deck, "--output", "constant.h5"), 0):
            with h5py.File(check.folder / "constant.h5") as file:
                losses = file["runs/default/seed_0/steps/loss"][...]
            check.expect(f"{what}: losses", len(losses) == 3 and np.isfinite(losses).all(), str(losses))


def convergence(check):
    """What is not finite has not converged, and is not small against itself."""
    deck = check.deck(
        "diverging.yaml",
        pde='{name: equation, unknowns: [u, v], storage: {u: "u + 0.3*u*v", v: "v + 0.2*u^2"}, '
            'flux: {u: "-0.1*d(u,x) - 0.02*d(v,x)", v: "-0.05*d(v*u,x)"}, source: {u: "-u*v", v: "u*v - v"}, '
            "walls: {left: {u: {value: 1}, v: {slope: 0}}, right: {u: {slope: 0}, v: {value: 0.5}}}, "
            'initial: {u: {expression: "1 + 0.2*x"}, v: {expression: "0.5 + 0.1*cos(pi*x)"}}, data_cells: 64}',
        grid="{cells: 64, frames: 64, tiles: [1, 2]}", data="{train: 2, validation: 1, test: 2, frames: 65}",
        formulation="{preset: target, basis: 4, time: uniform, correct: {steps: 30, rtol: 1e-12}}",
        train="{steps: 2, batch: 1, learning_rate: 4e-3}", variants="{v: {formulation: {experts: [1, 2]}}}")
    for steps in (30, 1, 0):
        said = check.run("run", deck, "--set", f"formulation.correct.steps={steps}", "--output", "diverging.h5")
        if not check.says(f"{steps} corrections", said, 0):
            continue
        with h5py.File(check.folder / "diverging.h5") as file:
            of = {name: values[...] for name, values in file["runs/v/seed_0/per_sample"].items() if isinstance(values, h5py.Dataset)}
        check.expect("the case diverges", not np.isfinite(of["correction_residual"]).any(), str(of["correction_residual"]))
        check.expect(f"{steps} corrections have not converged", (of["correction_converged"] == 0).all(), str(of["correction_converged"]))
    # Where the corrections work they say so.
    good = check.deck("good.yaml", formulation="{basis: 4, correct: {steps: 20, rtol: 1e-8}}", train="{steps: 2, batch: 2}")
    if check.says("corrections that converge", check.run("run", good, "--output", "good.h5"), 0):
        with h5py.File(check.folder / "good.h5") as file:
            converged = file["runs/v/seed_0/per_sample/correction_converged"][...]
        check.expect("they have converged", (converged == 1).all(), str(converged))


def main(check):
    ranges(check)
    constant_fields(check)
    convergence(check)


cases.main(main)
