"""Every learning rule with every experiment: it trains, or `check` says why not. And blocks that nothing can feed.

See cases.py for the usage.
"""
import cases

BLOCK_RULES = {"sltt": "sltt: what is trained is no list of blocks", "seco": "seco: what is trained is no list of blocks",
               "auglocal": "auglocal: what is trained is no list of blocks",
               "pipeline": "pipeline: what is trained is no list of blocks"}
FORMS = {"soft": "{method: soft}", "hard": "{basis: 4, experts: [1, 2]}",
         "target": "{preset: target, basis: 4, time: uniform, experts: [1, 2]}"}


def pde_training(check):
    for rule, reason in BLOCK_RULES.items():
        for form, formulation in FORMS.items():
            deck = check.deck(formulation=formulation, variants=None,
                              train=f"{{steps: 2, batch: 2, rule: {rule if form != 'hard' else '{name: ' + rule + '}'}}}")
            check.says(f"{rule} with {form}", check.run("check", deck), 1, "deck.yaml:8", reason,
                       "allowed with experiment: pde_training: backprop, lbfgs")
        check.says(f"{rule} in a run", check.run("run", deck, ranks=2), 1, reason)
        deck = check.deck(variants=f"{{a: {{}}, b: {{train: {{rule: {rule}}}}}}}")
        check.says(f"{rule} in a variant", check.run("run", deck), 1, "deck.yaml:9", reason, "variant 'b'")
        check.expect(f"{rule}: no work was done", not (check.folder / "out.h5").exists())
    for form, formulation in FORMS.items():
        for train in ("rule: backprop, learning_rate: 4e-3", "rule: {name: lbfgs, iterations: 3}"):
            deck = check.deck(formulation=formulation, variants=None, run="{experiment: pde_training, ranks: 1, seeds: [0, 1], output: out.h5}",
                              train=f"{{steps: 2, batch: 2, {train}}}")
            said = check.run("run", deck)
            check.says(f"{train} with {form}", said, 0, "done in")
            if "lbfgs" in train:
                check.says(f"{train} with {form}: its own row", said, 0, "evaluations_per_step")
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
    table, text = "name: table, path: t.csv", "name: text, path: texts, length: 32"
    tokens = "{name: embedding, vocabulary: 256, units: 8}, %s{name: dense, units: 256}"
    networks = {
        "layers": (table, "{name: dense, units: 8}, {name: relu}, {name: dense, units: 8}, {name: relu}, {name: dense, units: 2}"),
        "one layer": (table, "{name: dense, units: 2}"),
        "tokens": (text, tokens % "{name: transformer, heads: 2}, "),
        "recurrent": (text, tokens % "{name: gru, units: 8}, "),
        "spikes": (table, "{name: dense, units: 8}, {name: lif}, {name: dense, units: 2}"),
        "spike trains": ("name: latency_spikes", "{name: dense, units: 8}, {name: lif}, {name: dense, units: 10}"),
    }
    rules = ["backprop", "pipeline", "{name: lbfgs, iterations: 2}", "{name: auglocal, depth: 1}", "{name: seco, chunk: 8}",
             "{name: sltt, time_steps: 4}", "{name: sltt, time_steps: 20, coding: sequence}"]
    trained = 0

    def deck(data, blocks, rule):
        return check.deck(run="{experiment: training, ranks: 1, seeds: [0], output: out.h5}", pde=None, grid=None,
                          data="{" + data + "}", model="{blocks: [" + blocks + "]}", formulation=None, variants=None,
                          train=f"{{steps: 2, epochs: 0, batch: 4, shards: 2, rule: {rule}}}")

    for network, (data, blocks) in networks.items():
        for rule in rules:
            path = deck(data, blocks, rule)
            checked = check.run("check", path)
            what = f"{rule} with {network}"
            if checked.returncode == 1:  # with one message that has a place
                check.says(what, checked, 1, "deck.yaml:", "rankine: error:")
                check.says(f"{what} in a run", check.run("run", path), 1)
                continue
            check.says(what, checked, 0, "in order")
            if check.says(f"{what} in a run", check.run("run", path), 0):
                trained += 1
    check.expect("most train", trained >= 22, str(trained))
    check.says("seco on vectors", check.run("check", deck(table, networks["one layer"][1], "seco")), 1, "deck.yaml:",
               "seco: needs sequences of tokens or [T, ...], but an example is a vector of 2 numbers")
    for block in ("{name: graph_conv, units: 8}", "{name: graph_attention, units: 8}", "{name: skip, blocks: [{name: graph_conv, units: 8}]}",
                  "{name: chain, blocks: [{name: relu}, {name: skip, blocks: [{name: graph_attention, units: 8}]}]}"):
        for rule in ("backprop", "pipeline", "seco"):
            check.says(f"{block} with {rule}", check.run("check", deck(text, tokens % f"{block}, ", rule)), 1, "deck.yaml:4",
                       "block1 works on the nodes of a graph, and no data set gives one")


def others(check):
    """Experiments without a learning rule."""
    for name in ("monte_carlo.yaml", "catalogue/local/vprsnn.yaml"):
        path = check.source / "inputs" / name
        check.says(name, check.run("check", path), 0)
        check.says(f"{name} with a rule", check.run("check", path, "--set", "train.rule=sltt"), 1, "train")


def main(check):
    pde_training(check)
    training(check)
    others(check)


cases.main(main)
