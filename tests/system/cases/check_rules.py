"""What the program says of learning rules where they do not fit: reasons with a place, and no work done. That every rule trains
every network or is refused is in tests/contract.

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


def main(check):
    pde_training(check)
    training(check)


cases.main(main)
