"""Inputs: found in the working folder or beside the deck; on a restart their content counts, not their place."""
import shutil

import cases
from check_outputs import CSV, OBSERVED, POINTS, TABLE


def check(t):
    home, work = t.folder / "home", t.folder / "work"
    for folder in (home / "sub", work):
        folder.mkdir(parents=True)
    t.deck("home/table.yaml", **TABLE)
    table = home / "t.csv"
    table.write_text(CSV)

    # --- 26
    deck = "../home/table.yaml"
    t.says("beside the deck", t.run("run", deck, cwd=work), 0, "wrote o.h5")
    t.expect("outputs are relative to the working folder", (work / "o.h5").is_file() and not (home / "o.h5").exists())
    info = t.run("info", "o.h5", "--json", cwd=work).stdout
    t.expect("provenance has the place", f"path: {table}" in info, info)
    t.says("check finds it", t.run("check", deck, cwd=work), 0)
    shutil.copy(table, work / "t.csv")
    t.says("twice the same", t.run("run", deck, cwd=work), 0)
    (work / "t.csv").write_text(CSV.replace("3", "4"))
    for command in ("check", "run"):
        t.says(f"{command}: two that differ", t.run(command, deck, cwd=work), 1, "table.yaml:", "'data.path'",
               str(work / "t.csv"), str(table), "absolute path")
    t.says("an absolute path", t.run("run", deck, "--set", f"data.path={work}/t.csv", cwd=work), 0)
    (work / "t.csv").unlink()
    (work / "t.csv").symlink_to("../home/t.csv")
    t.says("a link to the same", t.run("run", deck, cwd=work), 0)
    (work / "t.csv").unlink()
    table.rename(work / "t.csv")
    t.says("in the working folder only", t.run("run", deck, cwd=work), 0)
    (work / "t.csv").rename(table)
    table.rename(home / "sub" / "t.csv")
    t.says("in neither", t.run("run", deck, cwd=work), 1, "t.csv is missing", f"looked for {work}/t.csv and {home}/t.csv")
    t.says("in neither, beside the deck", t.run("run", "table.yaml", cwd=home), 1, f"looked for {home}/t.csv")
    t.says("below the deck", t.run("run", deck, "--set", "data.path=sub/t.csv", cwd=work), 0)
    (home / "sub" / "t.csv").rename(table)
    # Other kinds of inputs.
    t.deck("home/deck.yaml")
    samples = "data={train: 4, validation: 1, test: 2, source: pdebench, path: s.h5}"
    t.says("samples", t.run("run", "deck.yaml", "--set", "data.write=s.h5", cwd=home), 0)
    t.says("samples beside the deck", t.run("run", "../home/deck.yaml", "--set", samples, cwd=work), 0)
    t.says("no samples", t.run("run", "../home/deck.yaml", "--set", samples.replace("s.h5", "n.h5"), cwd=work), 1,
           f"{work}/n.h5 and {home}/n.h5")
    for seeds, name in (("[0]", "p.h5"), ("[0, 1]", "p_{seed}.h5")):
        both = [*OBSERVED, "--set", f"run.seeds={seeds}", "--set"]
        t.says("points", t.run("run", "deck.yaml", *both, POINTS % name, cwd=home), 0)
        t.says(f"{name} beside the deck", t.run("run", "../home/deck.yaml", *both,
                                                "data.observations={source: file, path: '%s'}" % name, cwd=work), 0)
        t.says(f"no {name}", t.run("run", "../home/deck.yaml", *both, "data.observations={source: file, path: 'no_%s'}" % name,
                                   cwd=work), 1, f"no_{name} and {home}/no_{name}")
        t.says("weights", t.run("convert", "out.h5", "w.npz", "--group", "v/seed_0", cwd=home), 0)
    t.says("weights beside the deck", t.run("run", "../home/deck.yaml", "--set", "train.weights=w.npz", *OBSERVED[:0],
                                            "--set", "variants.v.formulation={experts: [1, 2], residual: storage}",
                                            cwd=work), 0)
    t.says("no weights", t.run("run", "../home/deck.yaml", "--set", "train.weights=n.npz", cwd=work), 1,
           f"{work}/n.npz and {home}/n.npz")
    (home / "texts").mkdir()
    for number in range(3):
        (home / "texts" / f"{number}.txt").write_text(f"{number}: to be or not to be. " * 40)
    t.deck("home/text.yaml", **{**TABLE, "data": "{name: text, path: texts, length: 8, validation: 0.1, test: 0.1}",
                                "model": "{blocks: [{name: embedding, vocabulary: 256, units: 8}, {name: dense, units: 256}]}"})
    t.says("a folder beside the deck", t.run("check", "../home/text.yaml", cwd=work), 0)
    # All in one folder: texts, deck, results, checkpoints. Rankine's files are none of the texts.
    shutil.copy(home / "text.yaml", home / "texts" / "deck.yaml")
    here = ["run", "deck.yaml", "--set", "data.path=.", "--set", "checkpoint.directory=.", "--set", "checkpoint.every_steps=1",
            "--set", "train.schedule.name=constant"]
    for turn in range(2):
        t.says(f"a folder for all, {turn}", t.run(*here, cwd=home / "texts"), 0, never=["going on from"])
    t.says("goes on there", t.run(*here, "--set", "train.steps=4", "--restart", "auto", cwd=home / "texts"), 0, "going on from")
    (home / "texts" / "3.txt").write_text("another text, of which nobody knew " * 40)
    t.says("another text", t.run(*here, "--set", "train.steps=6", "--restart", "auto", cwd=home / "texts"), 1,
           "data.path (content of 3.txt)")
    t.says("it is no output", t.run(*here, "--output", "1.txt", cwd=home / "texts"), 1, "--output", "data.path")
    said = t.run("check", "../home/text.yaml", "--set", "data.path=nothing", cwd=work)
    t.says("a folder in neither", said, 1, "is not a folder", f"{work}/nothing and {home}/nothing")

    # --- 27: stopped, moved, restarted
    def restarts(what, deck, keep, change, code, *needed):
        """A run of `deck` that is stopped, then `change`d and restarted."""
        for path in home.glob("r.h5*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        base = ["run", deck, "--output", "r.h5", "--set", "checkpoint.every_steps=2", "--set", "train.steps=6", *keep]
        t.says(f"{what}: first", t.run(*base, "--set", "train.schedule.name=constant", "--set", "train.steps=4", cwd=home), 0)
        more = change() or []
        t.says(what, t.run(*base, "--set", "train.schedule.name=constant", *more, "--restart", "auto", cwd=home), code, *needed)

    def moved(source, target, change=False):
        def move():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            if change:
                target.write_bytes(target.read_bytes().replace(b"3", b"5"))
            return ["--set", f"data.path={target}"]
        return move

    def edited():
        table.write_text(CSV.replace("3", "5"))

    restarts("a table that was moved", "table.yaml", [], moved(table, home / "data" / "t.csv"), 0, "going on from")
    shutil.move(home / "data" / "t.csv", table)
    restarts("moved and renamed", "table.yaml", [], moved(table, home / "data" / "u.csv"), 0, "going on from")
    shutil.move(home / "data" / "u.csv", table)
    restarts("moved and changed", "table.yaml", [], moved(table, home / "data" / "t.csv", True), 1, "data.path (content of t.csv)")
    (home / "data" / "t.csv").unlink()
    table.write_text(CSV)
    restarts("changed", "table.yaml", [], edited, 1, "data.path (content of t.csv)")
    table.write_text(CSV)
    restarts("from another folder", "table.yaml", [],
             lambda: (shutil.copy(table, home / "copy.csv"), ["--set", "data.path=copy.csv"])[1], 0, "going on from")
    restarts("samples that were moved", "deck.yaml", ["--set", samples],
             lambda: moved(home / "s.h5", home / "data" / "v.h5")(), 0, "going on from")
    shutil.move(home / "data" / "v.h5", home / "s.h5")
    points = "data.observations={source: file, path: '%s'}"

    def moved_points():
        (home / "p.h5").rename(home / "q.h5")
        return ["--set", points % "q.h5"]

    restarts("points that were moved", "deck.yaml", [*OBSERVED, "--set", points % "p.h5"], moved_points, 0, "going on from")
    restarts("other points", "deck.yaml", [*OBSERVED, "--set", points % "q.h5"],
             lambda: ["--set", points % "p_1.h5"], 1, "data.observations.path (content of")


if __name__ == "__main__":
    cases.main(check)
