"""Data of their own that people put into a results file, at any place, are left aside and named, and break nothing."""
import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy

import cases

ROOT = "runs/v/seed_0"
COMPOUND = numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])


def text(file, path):
    file[path] = "some text"


def texts(file, path):
    file[path] = numpy.array([b"one", b"two", b"three"])


def group(file, path):
    file.require_group(path)["values"] = numpy.arange(3)


def numbers(file, path):
    file[path] = numpy.arange(7.0)


def table(file, path):
    file[path] = numpy.arange(6.0).reshape(2, 3)


def cube(file, path):
    file[path] = numpy.zeros((5, 20, 32))


def compound(file, path):
    file[path] = COMPOUND


def empty(file, path):
    file[path] = h5py.Empty("f8")


def complex_number(file, path):
    file[path] = 1 + 2j


def unsigned(file, path):
    file[path] = numpy.array([2**63], dtype="u8")


def flag(file, path):
    file[path] = True


def ragged(file, path):
    file.create_dataset(path, (2,), dtype=h5py.vlen_dtype("f8"))


def dangling(file, path):
    file[path] = h5py.SoftLink("/nowhere")


def circle(file, path):
    file[path] = h5py.SoftLink("/")


def outside(file, path):
    file[path] = h5py.ExternalLink("no_such_file.h5", "/x")


def named_type(file, path):
    file[path] = numpy.dtype("f8")


KINDS = [text, texts, group, numbers, table, cube, compound, empty, complex_number, unsigned, flag, ragged, dangling,
         circle, outside, named_type]
PLACES = ["", "runs", "runs/v", ROOT, *(f"{ROOT}/{part}" for part in
          ("steps", "evaluations", "experts", "summary", "per_sample", "fields", "weights")),
          "timing", "timing/v", "timing/v/seed_0", "expectations", "provenance"]
NAMES = ["mine", "seed_x", "seed_", "seed_01", "seed_1.5", "seed_0_old", "step_seconds2"]


def prepared(t):
    """The checks of one changed file, and of a report on it."""
    t.deck(train="{steps: 4, batch: 2, learning_rate: 4e-3, evaluate_every: 2, save_fields: 1}",
           formulation="{basis: 4}", variants="{v: {formulation: {experts: [1, 2]}}}", expect="['mean(rel_l2[v]) < 1e9']")
    t.says("a run", t.run("run", "deck.yaml", "--output", "plain.h5"), 0)
    analysis = {**os.environ, "PYTHONPATH": str(t.source.resolve() / "analysis"), "MPLBACKEND": "Agg"}

    def report(name):
        return subprocess.run([sys.executable, "-m", "rankine_analysis", "report", name, "-o", "report"], cwd=t.folder,
                              env=analysis, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)

    plain = json.loads(t.run("info", "plain.h5", "--json").stdout)
    table = report("plain.h5")
    t.says("a plain report", table, 0, never=["left aside"])
    t.says("plain weights", t.run("convert", "plain.h5", "plain.npz"), 0)

    def holds(what, change, named=(), draws=False):
        """All commands work on a file that `change` has worked on."""
        shutil.copy(t.folder / "plain.h5", t.folder / "mine.h5")
        with h5py.File(t.folder / "mine.h5", "r+") as file:
            change(file)
        shown = t.run("info", "mine.h5")
        t.says(f"info, {what}", shown, 0, *named)
        process = t.run("info", "mine.h5", "--json")
        if t.says(f"info --json, {what}", process, 0):
            info = json.loads(process.stdout)
            # A number beside the metrics, or the times, counts as one.
            for name, metric in plain["variants"]["v"].items():
                t.expect(f"{name}, {what}", info["variants"]["v"].get(name) == metric)
            t.expect(f"runs, {what}", [(r["variant"], r["seed"], r["steps"]) for r in info["runs"]] == [("v", 0, 4)] and
                     set(info["variants"]) == {"v"} and info["expectations"] == plain["expectations"], process.stdout)
        t.says(f"compare with itself, {what}", t.run("compare", "mine.h5", "mine.h5"), 0)
        t.expect(f"compare with the plain one, {what}", t.run("compare", "mine.h5", "plain.h5").returncode in (0, 4))
        t.says(f"merge, {what}", t.run("compare", "--merge", "mine.h5", "--output", "merged.h5"), 0)
        t.says(f"convert, {what}", t.run("convert", "mine.h5", "mine.npz"), 0)
        if draws:
            page = report("mine.h5")
            t.says(f"report, {what}", page, 0, *named, never=["Traceback"])

    return holds, report


def check(t):
    """All kinds together at every place. One report is drawn, of all places together, because it takes longer than all commands."""
    holds, _ = prepared(t)
    everywhere, named_anywhere = [], []
    for place in PLACES:
        in_weights = place.endswith("weights")
        kinds = [kind for kind in KINDS if not in_weights or kind in (text, texts, group, compound, dangling, circle, unsigned)]

        def all_kinds(file, place=place, kinds=kinds):
            for number, kind in enumerate(kinds):
                kind(file, f"{place}/{NAMES[number % len(NAMES)]}{'' if number < len(NAMES) else number}")

        named = [f"{place}/mine"] if place in ("runs", "runs/v", ROOT) else ["/mine"] if not place else []
        holds(f"everything in /{place}", all_kinds, named)
        everywhere.append(all_kinds)
        named_anywhere += named
    holds("everything everywhere", lambda file: [change(file) for change in everywhere], named_anywhere, draws=True)


def check_kinds(t):
    """Every kind alone, attributes, and data in the place of what the layout has."""
    holds, report = prepared(t)
    for kind in KINDS:
        def alone(file, kind=kind):
            for place in ("", "runs", "runs/v", ROOT):
                kind(file, f"{place}/mine")
        holds(f"{kind.__name__} alone", alone, ["/mine", "/runs/mine", "/runs/v/mine", f"/{ROOT}/mine"])

    def attributes(file):
        for place in ("/", "runs", "runs/v", ROOT, f"{ROOT}/summary", f"{ROOT}/summary/rel_l2", f"{ROOT}/steps/loss"):
            file[place].attrs["flag"] = True
            file[place].attrs["list"] = ["a", "b"]
            file[place].attrs["numbers"] = numpy.arange(4)
            file[place].attrs["complex"] = 1 + 2j
            file[place].attrs["compound"] = COMPOUND[0]
            file[place].attrs["nothing"] = h5py.Empty("f4")
        del file[ROOT].attrs["seed"]
        file[f"{ROOT}/summary/rel_l2"].attrs["long_name"] = 7

    holds("attributes", attributes, draws=True)

    def replaced(file):
        """Something else in the place of what the layout has."""
        for part in ("steps", "evaluations", "experts", "per_sample", "fields"):
            del file[f"{ROOT}/{part}"]
            file[f"{ROOT}/{part}"] = numpy.arange(4.0)
        del file["provenance/hosts"]
        file["provenance/hosts/deeper"] = 1

    shutil.copy(t.folder / "plain.h5", t.folder / "mine.h5")
    with h5py.File(t.folder / "mine.h5", "r+") as file:
        replaced(file)
    t.says("info of replaced groups", t.run("info", "mine.h5"), 0, f"/{ROOT}/steps")
    t.says("report of replaced groups", report("mine.h5"), 0, f"/{ROOT}/steps", never=["Traceback"])
    t.says("merge of replaced groups", t.run("compare", "--merge", "mine.h5", "--output", "merged.h5"), 0)
    for part in ("runs", "runs/v", ROOT, "timing", "expectations", f"{ROOT}/summary"):
        shutil.copy(t.folder / "plain.h5", t.folder / "mine.h5")
        with h5py.File(t.folder / "mine.h5", "r+") as file:
            del file[part]
            file[part] = numpy.arange(4.0)
        for process in (t.run("info", "mine.h5"), t.run("compare", "mine.h5", "plain.h5"), report("mine.h5"),
                        t.run("convert", "mine.h5", "mine.npz"), t.run("compare", "--merge", "mine.h5")):
            t.expect(f"{part} is a dataset: {process.args[1:3]}", process.returncode in (0, 1, 4) and
                     "Traceback" not in process.stderr, f"{process.returncode} {process.stderr}")


if __name__ == "__main__":
    cases.main(check)
