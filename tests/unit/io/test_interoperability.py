"""Files that Rankine writes, read by h5py, xarray, NumPy, XML and HDF5's own tools, and the way back."""

import json
import os
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ElementTree
import zipfile

import h5py
import numpy as np
import pytest

PROGRAM = os.environ.get("RANKINE_SAMPLE_RESULTS", "")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="RANKINE_SAMPLE_RESULTS does not name the program")
RUN = "pi-hc-moe/seed_2"


def program(*arguments, check=True):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "sample.h5"
    program("results", path)
    return path


def test_xarray_opens_every_group_with_its_coordinates(results):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    base = "runs/" + RUN
    with xarray.open_dataset(results, engine="h5netcdf", group=base + "/fields") as fields:
        assert fields["u"].dims == ("sample_id", "t", "x")
        assert fields["u"].attrs["units"] == "1"
        assert fields["t"].attrs["units"] == "s" and fields["x"].attrs["long_name"] == "position"
        assert float(fields["u_reference"].sel(x=0.5, method="nearest")[0, -1]) > 0
        assert fields.attrs["tile_edges_x"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    with xarray.open_dataset(results, engine="h5netcdf", group=base + "/experts") as experts:
        assert experts["iterations"].dims == ("step", "expert")
    with xarray.open_dataset(results, engine="h5netcdf", group=base + "/steps") as steps:
        assert steps["loss"].dims == ("step",) and steps["step"].values[-1] == 199
    with xarray.open_dataset(results, engine="h5netcdf", group=base + "/summary") as summary:
        assert summary["rel_l2"].ndim == 0
    with xarray.open_dataset(results, engine="h5netcdf", group="expectations", phony_dims="sort") as verdicts:
        assert verdicts["verdict"].values.tolist() == [1, 0]


def test_no_object_has_a_time_stamp(results):
    with h5py.File(results) as file:
        found = []
        file.visititems(lambda name, item: found.append(h5py.h5o.get_info(item.id).mtime)
                        if hasattr(h5py.h5o.get_info(item.id), "mtime") else None)
        assert not any(found)


def test_info_json_has_the_documented_names(results):
    info = json.loads(program("json", results).stdout)
    assert list(info) == ["file", "format_version", "title", "missing", "variants", "runs", "expectations", "provenance",
                          "others"]
    assert info["variants"]["pi-hc"]["rel_l2"]["count"] == 3
    run = info["runs"][0]
    assert run["variant"] == "pi-sc" and run["seed"] == 1 and run["steps"] == 200
    assert set(run["metrics"]["rel_l2"]) == {"value", "unit", "long_name"}
    assert run["timing"]["seconds_per_step"]["unit"] == "s"
    assert [e["verdict"] for e in info["expectations"]] == [True, False]
    assert [e["outcome"] for e in info["expectations"]] == ["pass", "fail"]
    assert info["provenance"]["versions"]["hdf5"] == "1.10"


def test_xdmf_refers_to_data_that_exist(results):
    root = ElementTree.parse(results.with_suffix(".xdmf")).getroot()
    collections = root.findall("./Domain/Grid")
    assert [c.get("Name") for c in collections][:2] == ["pi-sc/seed_1", "pi-sc/seed_2"]
    assert all(c.get("CollectionType") == "Temporal" for c in collections)
    with h5py.File(results) as file:
        for item in root.iter("DataItem"):
            if item.get("Format") == "HDF":
                name, path = item.text.split(":")
                assert name == results.name
                assert " ".join(map(str, file[path].shape)) == item.get("Dimensions")
                assert file[path].dtype.itemsize == int(item.get("Precision"))
    grid = collections[0].findall("Grid")[1]
    assert [a.get("Name") for a in grid.findall("Attribute")] == ["u", "u_reference"]
    slab = grid.find("Attribute/DataItem/DataItem[@Format='XML']").text.split()
    assert list(map(int, slab)) == [1, 0, 0, 1, 1, 1, 1, 41, 64]


def data_of(item, root, folder):
    """The values of a DataItem by the rules of XDMF: written out, in HDF5, a part of that, or a reference."""
    if item.get("Reference") == "XML":
        assert item.text.startswith("/Xdmf/")
        return data_of(root.find("." + item.text.removeprefix("/Xdmf")), root, folder)
    shape = tuple(map(int, item.get("Dimensions").split()))
    if item.get("ItemType") == "HyperSlab":
        start, stride, count = np.array(item[0].text.split(), int).reshape(3, -1)
        whole = data_of(item[1], root, folder)
        return whole[tuple(slice(a, a + s * n, s) for a, s, n in zip(start, stride, count))].reshape(shape)
    if item.get("Format") == "HDF":
        name, path = item.text.split(":")
        with h5py.File(folder / name) as file:
            assert file[path].shape == shape and file[path].dtype.itemsize == int(item.get("Precision"))
            return file[path][()]
    return np.array(item.text.split(), float).reshape(shape)


def value_at(sample, t, points):
    """What the program puts into its box."""
    return 100 * sample + 10 * t + points @ [1, 3, 9][:points.shape[-1]]


@pytest.fixture(params=[(4, 6), (5, 4, 3)], ids=["2-D", "3-D"])
def box(request, tmp_path):
    program("box", tmp_path / "box.h5", *request.param)
    return tmp_path / "box.xdmf", request.param


def test_points_and_values_of_several_space_axes_belong_together(box):
    path, cells = box
    root = ElementTree.parse(path).getroot()
    collections = root.findall("./Domain/Grid")
    assert [c.get("Name") for c in collections] == [f"v/seed_{seed} sample {i}" for seed in (1, 2) for i in (0, 1)]
    for index, collection in enumerate(collections):
        grids = collection.findall("Grid")
        assert [float(g.find("Time").get("Value")) for g in grids] == [0, 0.1, 0.4]
        for grid in grids:
            assert grid.find("Topology").get("Dimensions") == " ".join(map(str, cells))
            points = data_of(grid.find("Geometry/DataItem"), root, path.parent)
            centres = [length * (np.arange(n) + 0.5) / n for length, n in zip((1, 2, 0.5), cells)]
            assert np.array_equal(points, np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1))
            for name in ("u", "u_reference"):
                values = data_of(grid.find(f"Attribute[@Name='{name}']/DataItem"), root, path.parent)
                expected = value_at(index % 2, float(grid.find("Time").get("Value")), points)
                assert np.allclose(values, expected, rtol=1e-6 if name == "u" else 1e-13)


def test_vtk_has_x_along_x(box):
    reader_of = pytest.importorskip("vtkmodules.vtkIOXdmf2")
    from vtkmodules.util.numpy_support import vtk_to_numpy

    path, cells = box
    reader = reader_of.vtkXdmfReader()
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    for t in (0, 0.1, 0.4):
        reader.UpdateTimeStep(t)
        blocks = reader.GetOutputDataObject(0)
        assert blocks.GetNumberOfBlocks() == 4
        for number in range(4):
            grid = blocks.GetBlock(number)
            assert grid.GetClassName() == "vtkStructuredGrid" and grid.GetNumberOfPoints() == np.prod(cells)
            points = vtk_to_numpy(grid.GetPoints().GetData())
            assert len(np.unique(points[:, 0])) == cells[0] and len(np.unique(points[:, 1])) == cells[1]
            values = vtk_to_numpy(grid.GetPointData().GetArray("u_reference"))
            assert np.allclose(values, value_at(number % 2, t, points[:, :len(cells)]), rtol=1e-13)


def test_h5diff_finds_two_writes_equal(results, tmp_path):
    if not shutil.which("h5diff"):
        pytest.skip("h5diff is not installed")
    again = tmp_path / "again.h5"
    program("results", again)
    subprocess.run(["h5diff", "-v0", results, again], check=True)


def reference_weights(results):
    with h5py.File(results) as file:
        group = file[f"runs/{RUN}/weights"]
        return {name: group[name][()] for name in group}


def test_numpy_reads_our_npz(results, tmp_path):
    program("convert", results, tmp_path / "w.npz", RUN)
    with np.load(tmp_path / "w.npz") as loaded:
        expected = reference_weights(results)
        assert sorted(loaded.files) == sorted(expected)
        for name, values in expected.items():
            assert loaded[name].dtype == values.dtype and np.array_equal(loaded[name], values)
    assert zipfile.ZipFile(tmp_path / "w.npz").testzip() is None


def test_we_read_numpys_npz(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {
        "fortran": np.asfortranarray(rng.normal(size=(2, 3, 4))),
        "scalar": np.float64(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "integers": rng.integers(-9, 9, size=(5,)),
        "flags": np.array([True, False]),
        "name.with.dots": rng.normal(size=(3, 1)).astype(np.float32),
    }
    np.savez(tmp_path / "in.npz", **arrays)
    program("convert", tmp_path / "in.npz", tmp_path / "out.h5")
    program("convert", tmp_path / "out.h5", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as loaded:
        for name, values in arrays.items():
            assert loaded[name].dtype == values.dtype and np.array_equal(loaded[name], values), name


def test_a_compressed_npz_is_refused_with_a_remedy(tmp_path):
    np.savez_compressed(tmp_path / "in.npz", a=np.zeros(100))
    done = program("convert", tmp_path / "in.npz", tmp_path / "out.npz", check=False)
    assert done.returncode == 1 and "numpy.savez" in done.stderr
    assert not (tmp_path / "out.npz").exists()


def read_safetensors(path):
    """By the format's definition, independent of the code under test."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    kinds = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "BOOL": "?", "I8": "i1"}
    arrays, expected_begin = {}, 0
    for name, entry in header.items():
        if name == "__metadata__":
            assert all(isinstance(v, str) for v in entry.values())
            continue
        begin, end = entry["data_offsets"]
        assert begin == expected_begin
        expected_begin = end
        raw = data[8 + length + begin:8 + length + end]
        arrays[name] = np.frombuffer(raw, kinds[entry["dtype"]]).reshape(entry["shape"])
    assert 8 + length + expected_begin == len(data)
    return arrays


def test_safetensors_hold_the_weights(results, tmp_path):
    program("convert", results, tmp_path / "w.safetensors", RUN)
    arrays = read_safetensors(tmp_path / "w.safetensors")
    for name, values in reference_weights(results).items():
        assert arrays[name].dtype == values.dtype and np.array_equal(arrays[name], values)
    program("convert", tmp_path / "w.safetensors", tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as loaded:
        for name, values in reference_weights(results).items():
            assert np.array_equal(loaded[name], values)


def test_pdebench_layout(tmp_path):
    program("pdebench", tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5") as file:
        assert list(file) == ["0000"]
        assert file["0000/data"].dtype == np.float32 and file["0000/data"].shape == (3, 2, 1)
        assert file["0000/grid/x"][:].tolist() == [0.25, 0.75]
        assert file["0000"].attrs["config"] == "seed: 1\n"
