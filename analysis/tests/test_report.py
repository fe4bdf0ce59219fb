"""The command and the functions behind it."""

import csv
import shutil
import struct

import h5py
import numpy as np
import pytest

from rankine_analysis import Results, ResultsError, plots, tables
from rankine_analysis.__main__ import main

PLOTS = ["fields", "profiles", "training", "errors", "expected", "blocks", "experts", "tables"]


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_report_writes_table_and_plots(results_file, tmp_path, capsys):
    assert main(["report", str(results_file), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "pi-hc-moe" in printed and "rel_l2" in printed and "fail: " in printed
    assert len([line for line in printed.splitlines() if line.startswith(("pass: ", "fail: "))]) == 2
    with Results(results_file) as results:
        assert all(f"{e['outcome']}: {e['expression']}" in printed for e in results.expectations)
        whole = any(run.blocks for run in results.runs)
    for name in PLOTS:
        if name in ("blocks", "expected", "tables") and not whole:
            continue  # the sample of the C++ writer has none of them
        width, height = png_size(tmp_path / "out" / f"{name}.png")
        assert width >= 600 and height >= 300, name
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| metric | pi-sc |" in text and "![fields](fields.png)" in text
    with open(tmp_path / "out" / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "rel_l2" and row["variant"] == "pi-sc"]
    with Results(results_file) as results:
        values = [run.summary["rel_l2"].value for run in results.of("pi-sc")]
    assert float(rows[0]["mean"]) == pytest.approx(np.mean(values), rel=1e-15)
    assert float(rows[0]["std"]) == pytest.approx(np.std(values, ddof=1), rel=1e-12)


def test_default_folder_stands_beside_the_results(h5py_file, tmp_path):
    copy = tmp_path / "run.h5"
    shutil.copy(h5py_file, copy)
    assert main(["report", str(copy)]) == 0
    assert (tmp_path / "run_report" / "report.md").exists()


def test_several_results_give_a_page_each(h5py_file, tmp_path):
    copies = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for copy in copies:
        shutil.copy(h5py_file, copy)
    assert main(["report", *map(str, copies), "-o", str(tmp_path / "pages")]) == 0
    for name in ("a", "b"):
        page = (tmp_path / "pages" / f"{name}_report" / "report.md").read_text()
        assert "![expected](expected.png)" in page and "![blocks](blocks.png)" in page


def test_expected_bars_are_those_of_the_expectations(h5py_file):
    with Results(h5py_file) as results:
        figure = plots.draw("expected", results)
        axes = [axis for axis in figure.axes if axis.axison]
        assert [axis.get_xlabel() for axis in axes] == ["rel l2"]
        widths = [bar.get_width() for bar in axes[0].patches]
        means = [np.mean([run.summary["rel_l2"].value for run in results.of(v)]) for v in results.variants]
        assert widths == pytest.approx(means)


def test_tables_are_read_with_their_dimensions(h5py_file):
    with Results(h5py_file) as results:
        tables = results.runs[0].tables
        assert list(tables) == ["blocks", "distance", "layers"]
        layers, distance = tables["layers"], tables["distance"]
        assert layers.dimension == "layer" and layers.labels == ["first", "second", "third"]
        assert layers.metrics["angle"].shape == (2, 3)
        assert distance.dimension == "" and distance.metrics["euclidean"] == pytest.approx(np.log1p(distance.step))
        assert tables["blocks"].labels == ["block0", "block1", "block2"]
        titles = [axis.get_title() for axis in plots.draw("tables", results).axes if axis.axison]
        assert titles == ["distance: euclidean", "layers: angle"]
        assert results.others == []


def test_equal_results_give_equal_plots(results_file, tmp_path):
    with Results(results_file) as results:
        for name in ("a.png", "b.png"):
            plots.save(plots.draw("errors", results), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_elapsed_time_is_the_sum_of_the_steps(results_file):
    with Results(results_file) as results:
        run = results.runs[0]
        elapsed = run.elapsed_seconds()
        assert len(elapsed) == len(run.steps["step"]) and (np.diff(elapsed) > 0).all()


@pytest.mark.parametrize("removed, left_out", [
    ("fields", ["fields", "profiles"]),
    ("experts", ["experts"]),
    ("steps", []),
])
def test_missing_pieces_are_named_and_the_rest_is_drawn(h5py_file, tmp_path, capsys, removed, left_out):
    copy = tmp_path / "part.h5"
    shutil.copy(h5py_file, copy)
    with h5py.File(copy, "r+") as file:
        for variant in file["runs"].values():
            for run in variant.values():
                if removed in run:
                    del run[removed]
    assert main(["report", str(copy), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for name in PLOTS:
        assert (tmp_path / "out" / f"{name}.png").exists() == (name not in left_out)
        assert (f"left out: {name}: no " in printed) == (name in left_out)


def test_unknowns_have_plots_of_their_own(h5py_file, tmp_path):
    copy = tmp_path / "two.h5"
    shutil.copy(h5py_file, copy)
    with h5py.File(copy, "r+") as file:
        for variant in file["runs"].values():
            for run in variant.values():
                for name in ("u", "u_reference"):
                    run["fields"].move(name, name.replace("u", "a", 1))
                    run[f"fields/{name.replace('u', 'b', 1)}"] = run[f"fields/{name.replace('u', 'a', 1)}"][()]
    assert main(["report", str(copy), "-o", str(tmp_path / "out")]) == 0
    for name in ("fields_a", "fields_b", "profiles_a", "profiles_b", "training"):
        assert (tmp_path / "out" / f"{name}.png").exists()
    assert not (tmp_path / "out" / "fields.png").exists()


def test_infinite_and_missing_numbers_are_no_obstacle(results_file, tmp_path):
    copy = tmp_path / "nan.h5"
    shutil.copy(results_file, copy)
    with h5py.File(copy, "r+") as file:
        run = file["runs/pi-sc/seed_1"]
        run["steps/loss"][10:] = np.nan
        run["summary/rel_l2"][()] = np.inf
        run["evaluations/rel_l2_validation"][:] = np.nan
    assert main(["report", str(copy), "-o", str(tmp_path / "out")]) == 0


def test_data_of_others_are_left_aside_and_named(results_file, tmp_path, capsys):
    copy = tmp_path / "mine.h5"
    shutil.copy(results_file, copy)
    assert main(["report", str(copy), "-o", str(tmp_path / "plain")]) == 0
    plain = capsys.readouterr().out
    run = "runs/pi-sc/seed_1"
    top = ["", "runs", "runs/pi-sc", run]
    with h5py.File(copy, "r+") as file:
        parts = [f"{run}/{name}" for name in file[run]]
        for place in [*top, *parts, "timing", "timing/pi-sc", "timing/pi-sc/seed_1", "expectations", "provenance"]:
            file[f"{place}/mine"] = np.array([b"a", b"b", b"c"])
            file[f"{place}/seed_x"] = np.zeros((5, 7))
            file[f"{place}/seed_3_old/values"] = np.arange(4)
            file[f"{place}/compound"] = np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])
            file[f"{place}/dangling"] = h5py.SoftLink("/nowhere")
            file[f"{place}/circle"] = h5py.SoftLink("/")
            file[f"{place}/nothing"] = h5py.Empty("f8")
    assert main(["report", str(copy), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert printed.replace(str(tmp_path / "out"), str(tmp_path / "plain")).startswith(plain)
    aside = printed.split("left aside, since it is not of Rankine's layout: ")[1].split(", ")
    assert {f"{'/' if place else ''}{place}/mine" for place in top} <= {name.strip() for name in aside}
    with Results(copy) as results, Results(results_file) as before:
        assert [(r.variant, r.seed) for r in results.runs] == [(r.variant, r.seed) for r in before.runs]


def test_compare_shows_the_ratio(results_file, tmp_path, capsys):
    other = tmp_path / "other.h5"
    shutil.copy(results_file, other)
    with h5py.File(other, "r+") as file:
        for run in file["runs/pi-sc"].values():
            run["summary/rel_l2"][()] *= 2
    assert main(["compare", str(results_file), str(other)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("rel_l2 "))
    assert line.split()[1] == "pi-sc" and line.split()[-1] == "2"


def test_bad_files_are_one_line_and_exit_code_1(tmp_path, capsys):
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["a"] = 1
    for name, message in [("none.h5", "no such file"), ("text.h5", "cannot be read as HDF5"),
                          ("foreign.h5", "not one of Rankine's results")]:
        assert main(["report", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and name in error
    with pytest.raises(ResultsError):
        Results(tmp_path / "none.h5")


def test_a_newer_format_is_refused(results_file, tmp_path, capsys):
    copy = tmp_path / "new.h5"
    shutil.copy(results_file, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["format_version"] = 2
    assert main(["report", str(copy)]) == 1
    assert "format_version 2" in capsys.readouterr().err


def test_one_seed_has_no_spread():
    assert tables.with_spread({"mean": 0.25, "std": float("nan"), "count": 1}) == "0.25"
