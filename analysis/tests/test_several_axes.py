"""Pictures and videos of fields of two and three space axes."""

import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from conftest import LENGTHS, write_box
from rankine_analysis import Results, plots
from rankine_analysis.__main__ import main


def maps_of(figure):
    """The panels with a mesh, row by row; colour bars have one too."""
    return [axes for axes in figure.axes if axes.collections and axes.get_label() != "<colorbar>"]


def test_fields_know_their_axes(any_box):
    with Results(any_box) as results:
        fields = results.runs[1].fields
        assert [axis.name for axis in fields.space] == list("xyz")[:len(fields.space)]
        assert fields.unknowns == ["u"] and fields.samples == 2
        for axis in fields.space:
            assert axis.label == f"{axis.name} {axis.name} [m]"
            assert axis.tile_edges[-1] == LENGTHS[axis.name] and len(axis.expert_edges) == 3
        whole, plane, line = (fields.sample("u_reference", 1, axes) for axes in (None, 2, 1))
        assert whole.shape == (5, *(axis.centres.size for axis in fields.space))
        assert np.array_equal(plane, whole if whole.ndim == 3 else whole[..., 3])
        assert np.array_equal(line, plane[..., 6])
        assert fields.middle(2) == ("" if whole.ndim == 3 else "z = 0.2917 m")
        assert results.others == []


def test_maps_have_x_to_the_right_and_y_upwards(any_box):
    with Results(any_box) as results:
        figure = plots.draw("fields", results)
        fields = results.runs[0].fields
        times = [0, 1, 2, 4]
        panels = maps_of(figure)
        assert len(panels) == 5 * len(times)  # reference, prediction and error of two variants
        assert [axes.get_title() for axes in panels[:4]] == [f"t = {fields.t[k]:.4g} s" for k in times]
        reference = fields.sample("u_reference", 0, 2)
        error = fields.sample("u", 0, 2) - reference
        for k, above, deviation in zip(times, panels[:4], panels[8:12]):
            for axes, values in ((above, reference), (deviation, error)):
                mesh = axes.collections[0]
                assert np.allclose(mesh.get_array().reshape(12, 16), values[k].T)  # rows lie along x
                corners = mesh.get_coordinates() if hasattr(mesh, "get_coordinates") else mesh._coordinates
                assert np.allclose(corners[0, :, 0], 2 * np.arange(17) / 16)
                assert np.allclose(corners[:, 0, 1], np.arange(13) / 12)
            assert axes.get_xlim() == (0, 2) and axes.get_ylim() == (0, 1)


def test_rows_share_their_colours_and_edges_are_drawn(box):
    with Results(box) as results:
        panels = maps_of(plots.draw("fields", results))
    limits = [panels[i].collections[0].get_clim() for i in range(20)]
    for row in range(5):
        assert len(set(limits[4 * row:4 * row + 4])) == 1
    assert limits[0] == limits[4] == limits[12]
    assert limits[8] == limits[16] == pytest.approx((-0.1, 0.1))
    # The reference has no tiles; pi-sc three edges of tiles an axis, pi-hc-moe one of experts more.
    assert [len(panels[4 * row].lines) for row in range(5)] == [0, 6, 6, 8, 8]
    vertical = [line.get_xdata()[0] for line in panels[4].lines[:3]]
    horizontal = [line.get_ydata()[0] for line in panels[4].lines[3:]]
    assert vertical == [0.5, 1, 1.5] and horizontal == [0.25, 0.5, 0.75]


def test_report_of_several_axes(box, tmp_path):
    assert main(["report", str(box), "-o", str(tmp_path / "out")]) == 0
    for name in ("fields", "profiles"):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert min(image.size) > 300


def test_an_array_y_of_somebodys_is_no_axis(h5py_file, tmp_path):
    shutil.copy(h5py_file, tmp_path / "mine.h5")
    with h5py.File(tmp_path / "mine.h5", "r+") as file:
        file["runs/pi-sc/seed_1/fields/y"] = np.arange(3.0)
    with Results(tmp_path / "mine.h5") as results:
        assert [len(run.fields.space) for run in results.runs] == [1] * 4


def test_numbers_that_are_not_finite_leave_the_colours_to_the_others(box):
    with h5py.File(box, "r+") as file:
        file["runs/pi-sc/seed_1/fields/u"][...] = np.nan
        file["runs/pi-hc-moe/seed_1/fields/u"][0, 0, 0, 0, 3] = np.inf
    with Results(box) as results:
        panels = maps_of(plots.draw("fields", results))
        low, high = panels[0].collections[0].get_clim()
        assert np.isfinite([low, high]).all() and low < high
        assert panels[8].collections[0].get_clim() == pytest.approx((-0.05, 0.05))


def test_a_video_has_a_frame_a_time(box, capsys):
    assert main(["video", str(box), "--sample", "1", "--rate", "20"]) == 0
    path = box.with_name("box_video.gif")
    assert capsys.readouterr().out == f"{path}: 5 frames\n"
    with Image.open(path) as image:
        assert image.n_frames == 5 and image.info["duration"] == 50 and min(image.size) > 300
        frames = []
        for k in range(5):
            image.seek(k)
            frames.append(np.asarray(image.convert("L"), float)[image.height // 4:])  # below the title
    assert all((np.abs(a - b) > 4).mean() > 0.05 for a, b in zip(frames, frames[1:]))


def test_of_many_times_a_video_shows_some(tmp_path, monkeypatch):
    from rankine_analysis import video
    monkeypatch.setattr(video, "MOST_FRAMES", 4)
    write_box(tmp_path / "long.h5", (6, 4), times=11)
    with Results(tmp_path / "long.h5") as results:
        assert video.write_video(results, tmp_path / "v.gif") == 4


@pytest.mark.parametrize("arguments, message", [
    (["--sample", "2"], "no fields of sample 2 in the file; choose of 0 to 1"),
    (["--sample", "-1"], "no fields of sample -1"),
    (["--unknown", "h"], "no field 'h' with its reference in the file; choose of u"),
    (["-o", "video.mp4"], "video.mp4: a video is a GIF; choose a name that ends in .gif"),
    (["-o", "nowhere/video.gif"], "nowhere/video.gif: cannot write the video: No such file or directory"),
])
def test_what_a_video_cannot_show_is_said(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_box("box.h5", (4, 3), times=2)
    assert main(["video", "box.h5", *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["box.h5"]


def test_files_without_such_fields_are_refused(h5py_file, tmp_path, capsys):
    def said(path):
        assert main(["video", str(path), "-o", str(tmp_path / "v.gif")]) == 1
        return capsys.readouterr().err

    assert "its fields have one space axis" in said(h5py_file)
    write_box(tmp_path / "steady.h5", (4, 3), times=1)
    assert "its fields have one time" in said(tmp_path / "steady.h5")
    with h5py.File(tmp_path / "steady.h5", "r+") as file:
        for run in file["runs"].values():
            del run["seed_1/fields"]
    assert "no field with its reference" in said(tmp_path / "steady.h5")
    assert not (tmp_path / "v.gif").exists()


def test_one_time_is_one_column(tmp_path):
    write_box(tmp_path / "steady.h5", (4, 3), times=1)
    with Results(tmp_path / "steady.h5") as results:
        assert len(maps_of(plots.draw("fields", results))) == 5
