"""A results.h5 for the tests: from the C++ writer where it is built, else an equal one made with h5py."""

import os
import subprocess

import h5py
import numpy as np
import pytest


def write_with_h5py(path):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update({"format": "rankine-results", "format_version": 1, "title": "made up for tests"})
        t, x = np.linspace(0, 500, 11), (np.arange(16) + 0.5) / 16
        reference = np.exp(-x / (0.05 + np.sqrt(t / 500))[:, None])[None] * np.ones((2, 1, 1))
        for v, variant in enumerate(["pi-sc", "pi-hc-moe"]):
            for seed in (1, 2):
                run = file.create_group(f"runs/{variant}/seed_{seed}", track_order=True)
                run.attrs.update({"variant": variant, "seed": seed})
                step = np.arange(50)
                run["steps/step"], run["steps/loss"] = step, np.exp(-step / 20.0) * rng.uniform(0.9, 1.1, 50)
                run["evaluations/step"] = step[::10]
                run["evaluations/rel_l2_validation"] = 0.1 * np.exp(-step[::10] / 20.0)
                if v:
                    run["experts/step"] = step
                    run["experts/iterations"] = rng.integers(3, 9, (50, 4)).astype(float)
                    run["experts/status_converged"] = np.full((50, 4), 6.0)
                run["blocks/step"], run["blocks/block"] = step[::10], np.array([b"block0", b"block1", b"block2"])
                run["blocks/gradient_norm"] = rng.uniform(0.1, 1, (5, 3)) * [1, np.nan, 1]
                run["blocks/dead_units"] = np.zeros((5, 3))
                run["distance/step"], run["distance/euclidean"] = step[::5], np.log1p(step[::5])
                run["layers/step"], run["layers/layer"] = step[::25], np.arange(3)
                run["layers/angle"] = rng.uniform(0, 1, (2, 3))
                run["layers"].attrs["names"] = "first second third"
                run["summary/rel_l2"] = 0.005 / (1 + v) + 1e-4 * seed
                run["summary/rel_l2"].attrs.update({"units": "1", "long_name": "relative L2 error"})
                run["fields/u"], run["fields/u_reference"] = reference + 0.01, reference
                run["fields/t"], run["fields/x"] = t, x
                run["fields/t"].attrs.update({"units": "s", "long_name": "time"})
                run["fields/x"].attrs.update({"units": "m", "long_name": "position"})
                run["fields"].attrs["tile_edges_x"] = [0, 0.5, 1]
                file[f"timing/{variant}/seed_{seed}/step_seconds"] = np.full(50, 0.02)
                file[f"timing/{variant}/seed_{seed}/step_seconds"].attrs["units"] = "s"
                file[f"timing/{variant}/seed_{seed}/seconds_per_step"] = 0.02
        file["expectations/expression"] = np.array([b"mean(rel_l2[pi-hc-moe]) < mean(rel_l2[pi-sc])", b"b < a", b"c < a"])
        file["expectations/verdict"] = np.array([1, 0, 1], np.int8)
        file["expectations/outcome"] = np.array([b"pass", b"fail", b"undecided"])
        file["expectations/value_left"], file["expectations/value_right"] = [1.0, 2.0, 1.0], [2.0, 1.0, 1.1]
        file["provenance/softwareVersion"] = "0"


LENGTHS = {"x": 2.0, "y": 1.0, "z": 0.5}


def write_box(path, cells, times=5, samples=2):
    """Fields of two or three space axes: 10 sample + t + x + 3 y + 9 z, and in the second half of y an error."""
    axes = {name: LENGTHS[name] * (np.arange(n) + 0.5) / n for name, n in zip("xyz", cells)}
    t = np.linspace(0, 1, times)
    grid = np.meshgrid(10.0 * np.arange(samples), t, *axes.values(), indexing="ij")
    reference = sum(slope * part for slope, part in zip((1, 1, 1, 3, 9), grid))
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update({"format": "rankine-results", "format_version": 1, "title": "a box"})
        for variant, error in (("pi-sc", 0.1), ("pi-hc-moe", 0.05)):
            fields = file.create_group(f"runs/{variant}/seed_1/fields", track_order=True)
            fields["u"], fields["u_reference"] = reference + error * (grid[3] > 0.5), reference
            fields["sample_id"], fields["t"] = np.arange(samples), t
            fields["t"].attrs["units"] = "s"
            for name, centres in axes.items():
                fields[name] = centres
                fields[name].attrs["units"] = "m"
                fields.attrs[f"tile_edges_{name}"] = LENGTHS[name] * np.arange(5) / 4
                fields.attrs[f"expert_edges_{name}"] = LENGTHS[name] * np.arange(3 if variant == "pi-hc-moe" else 2) / \
                    (2 if variant == "pi-hc-moe" else 1)


@pytest.fixture(params=[(16, 12), (16, 12, 6)], ids=["2-D", "3-D"])
def any_box(request, tmp_path):
    write_box(tmp_path / "box.h5", request.param)
    return tmp_path / "box.h5"


@pytest.fixture
def box(tmp_path):
    write_box(tmp_path / "box.h5", (16, 12, 6))
    return tmp_path / "box.h5"


@pytest.fixture(scope="session")
def h5py_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("h5py") / "sample.h5"
    write_with_h5py(path)
    return path


@pytest.fixture(scope="session")
def results_file(tmp_path_factory, h5py_file):
    program = os.environ.get("RANKINE_SAMPLE_RESULTS")
    if not program:
        return h5py_file
    path = tmp_path_factory.mktemp("results") / "sample.h5"
    subprocess.run([program, "results", path], check=True)
    return path
