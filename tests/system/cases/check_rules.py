"""What the program says of learning rules, constraints, windows and ansatzes where they do not fit: reasons with a place, and no
work done. That every rule trains every network or is refused is in tests/contract.

See cases.py for the usage.
"""
import cases


def pde_training(check):
    for rule in ("sltt", "seco", "auglocal", "pipeline"):
        reason = f"{rule}: what is trained is no list of blocks"
        deck = check.deck(variants=None, train=f"{{steps: 2, batch: 2, rule: {rule}}}")
        check.says(rule, check.run("check", deck), 1, "deck.yaml:8", reason, "allowed with experiment: pde_training: backprop, lbfgs")
        check.says(f"{rule} in a run", check.run("run", deck, ranks=2), 1, reason)
        deck = check.deck(variants=f"{{a: {{}}, b: {{train: {{rule: {rule}}}}}}}")
        check.says(f"{rule} in a variant", check.run("run", deck), 1, "deck.yaml:9", reason, "variant 'b'")
        check.expect(f"{rule}: no work was done", not (check.folder / "out.h5").exists())
    deck = check.deck(variants=None, run="{experiment: pde_training, ranks: 1, seeds: [0, 1], output: out.h5}",
                      train="{steps: 2, batch: 2, rule: {name: lbfgs, iterations: 3}}")
    check.says("lbfgs: its own row", check.run("run", deck), 0, "evaluations_per_step")
    (check.folder / "out.h5").unlink()
    # What a rule makes no use of.
    for key in ("learning_rate: 1e-3", "optimizer: sgd", "schedule: constant", "clip: 1"):
        deck = check.deck(train=f"{{steps: 2, batch: 2, rule: lbfgs, {key}}}")
        check.says(f"lbfgs with {key}", check.run("check", deck), 1, "this learning rule makes no use of it")
    check.says("no rule", check.run("check", check.deck(train="{steps: 2, batch: 2, rule: slt}")), 1, "did you mean 'sltt'")


def training(check):
    (check.folder / "texts").mkdir()
    (check.folder / "texts" / "a").write_text("It was a dark and stormy night. " * 200)
    (check.folder / "t.csv").write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(40)))
    text = "name: text, path: texts, length: 32"

    def deck(data, blocks, rule):
        return check.deck(run="{experiment: training, ranks: 1, seeds: [0], output: out.h5}", pde=None, grid=None,
                          data="{" + data + "}", model="{blocks: [" + blocks + "]}", formulation=None, variants=None,
                          train=f"{{steps: 2, epochs: 0, batch: 4, shards: 2, rule: {rule}}}")

    check.says("seco on vectors", check.run("check", deck("name: table, path: t.csv", "{name: dense, units: 2}", "seco")), 1,
               "deck.yaml:", "seco: needs sequences of tokens or [T, ...], but an example is a vector of 2 numbers")
    for block in ("{name: skip, blocks: [{name: graph_conv, units: 8}]}",
                  "{name: chain, blocks: [{name: relu}, {name: skip, blocks: [{name: graph_attention, units: 8}]}]}"):
        blocks = "{name: embedding, vocabulary: 256, units: 8}, " + block + ", {name: dense, units: 256}"
        check.says(block, check.run("check", deck(text, blocks, "backprop")), 1, "deck.yaml:4",
                   "block1 works on the nodes of a graph, and this data set gives none")


def constraints(check):
    waves = ("{name: equation, discretisation: fourier, length: [1, 1], duration: 0.1, data_cells: 16, flux: '[u, 0] - 0.01*grad(u)', "
             "walls: periodic, initial: {fourier: {modes: 3}}}")
    plane = {"pde": waves, "grid": "{cells: 16, frames: 4, tiles: [1, 2, 2]}",
             "model": "{name: fno, widths: [4], modes: [2, 3, 3], projection: 4}", "variants": None}
    local = "{preset: local, time: uniform, implicit_steps: 0, experts: [1, 2, 2]}"

    def refused(what, *reasons, **sections):
        check.says(what, check.run("check", check.deck(**{"variants": None, **sections})), 1, "deck.yaml:", *reasons)

    refused("a halo wider than a tile", "halo: 17 is wider than the neighbouring expert, which has 16 cells along x",
            formulation="{preset: local, experts: [1, 2], halo: 17}")
    refused("experts along t", "let the list begin with 1", grid="{cells: 32, frames: 20, tiles: [2, 2]}",
            formulation="{preset: local, experts: [2, 2]}")
    refused("local about a frozen state", "use march.state: prediction", formulation="{preset: local, march: {state: frozen}}")
    for method in ("tiles", "distributed"):
        refused(f"{method} of residuals", "serves constraint: target", formulation=f"{{march: {{method: {method}}}}}")
        refused(f"{method} with tiles along t", "let the list begin with 1", grid="{cells: 32, frames: 20, tiles: [2, 2]}",
                formulation=f"{{preset: target, march: {{method: {method}}}}}")
    refused("windows of unequal steps", "implicit_steps: 0", grid="{cells: 32, frames: 20, windows: 2}", formulation="{preset: target}")
    refused("waves and residuals", "use target or local", **plane, formulation="{time: uniform}")
    refused("waves and a direct march", "which marches by its own steps", **plane,
            formulation="{preset: target, march: {method: petsc}}")
    refused("waves and odd cells", "use even numbers", **{**plane, "grid": "{cells: 15, frames: 4}"}, formulation="{preset: target}")
    refused("waves and odd tiles", "5 cells each, 7 with their halos", pde=waves, model=plane["model"],
            grid="{cells: 20, frames: 4, tiles: [1, 4, 4]}", formulation="{preset: local, experts: [1, 4, 4], halo: 1}")
    refused("carried by finite volumes", "ansatz: carried", ansatz="{name: carried}", formulation="{preset: local}")
    refused("carried basis fields", "carried gives one field", **plane, ansatz="{name: carried}", formulation="{preset: target}")
    refused("a coarse grid that tiles do not divide", "cells", **plane, ansatz="{name: carried, cells: 7}", formulation=local)
    refused("a start that is no snapshot", "names no variant", start="first", formulation="{preset: local}")
    deck = check.deck(**{**plane, "pde": waves.replace("[u, 0] - 0.01", "[5*u^2, 0] - 0.2").replace("data_cells: 16", "data_cells: 16, reference_rtol: 1e-3")}, formulation=local)
    check.says("a substep beyond the limit", check.run("run", deck), 1, "formulation.march.substeps", "substeps")
    check.expect("substeps: no work was done", not (check.folder / "out.h5").exists())


def main(check):
    constraints(check)
    pde_training(check)
    training(check)


cases.main(main)
