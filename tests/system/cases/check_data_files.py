"""Files of samples and of observations that others made: what does not fit the deck is refused before work starts.

See cases.py for the usage.
"""
import shutil

import h5py
import numpy as np

import cases

SPLITS = "train: 6, validation: 2, test: 4"
CELLS, FRAMES = 64, 11


def write_many(path, names, initial, extra=None):
    """A file with a sample of 4 cells and 2 frames for each name; `initial` gives its initial state."""
    with h5py.File(path, "w") as file:
        for name, value in zip(names, initial):
            sample = file.create_group(name)
            sample["data"] = np.full((2, 4, 1), value, np.float32)
            sample["grid/x"] = ((np.arange(4) + 0.5) / 4).astype(np.float32)
            sample["grid/t"] = np.array([0, 500], np.float32)


def check_use(check, base):
    """Changes of a good file, one at a time."""
    good = check.deck("generate.yaml", pde=f"{{name: diffusion_sorption, data_cells: {CELLS}}}",
                      data=f"{{{SPLITS}, frames: {FRAMES}, write: {base}/good.h5}}")
    check.says("samples are written", check.run("run", good, "--output", base / "out.h5"), 0)
    use = check.deck("use.yaml", pde=f"{{name: diffusion_sorption, data_cells: {CELLS}}}",
                     data=f"{{{SPLITS}, source: pdebench, path: {base}/good.h5}}")
    check.says("the file as it was written", check.run("check", use), 0, "in order")

    def changed(name, change):
        path = base / f"{name}.h5"
        shutil.copy(base / "good.h5", path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    def each(change):
        def all_samples(file):
            for sample in file.values():
                change(sample)
        return all_samples

    def grid(axis, function, dtype=np.float32):
        def change(sample):
            values = function(sample[f"grid/{axis}"][...].astype(float))
            del sample[f"grid/{axis}"]
            sample[f"grid/{axis}"] = values.astype(dtype)
        return each(change)

    def config(old, new):
        def change(sample):
            text = sample.attrs["config"]
            assert old in text, text
            sample.attrs["config"] = text.replace(old, new)
        return each(change)

    def pdebench_config(text):
        def change(file):
            for name, sample in file.items():
                del sample.attrs["config"]
                file.attrs[f"{name}/config"] = text
        return change

    def data(name, change):
        def one(file):
            values = file[name]["data"][...]
            del file[name]["data"]
            file[name]["data"] = change(values)
        return one

    def spoilt(value):
        def change(values):
            values[3, 7, 0] = value
            return values
        return change

    def move(name, other):
        return lambda file: file.move(name, other)

    sim = "name: 1d_diff-sorp\nwork_dir: ${hydra:runtime.cwd}\nsim:\n  D: %s\n  por: 0.29\n  sol: 1.0\n  t: %s\n  seed: '???'\n"
    refused = [
        ("x in other units", grid("x", lambda x: 100 * x), "grid/x runs from 0.78125 to 99.21875", "set pde.length to 100"),
        ("x shifted", grid("x", lambda x: x + 0.002), "grid/x runs from", "64 cell centres of [0, 1]"),
        ("x reversed", grid("x", lambda x: x[::-1]), "'/0000/grid/x' must increase; value 1"),
        ("nodes with both ends", grid("x", lambda x: np.linspace(0, 1, len(x))), "these are nodes with both ends"),
        ("left edges", grid("x", lambda x: x - x[0]), "left edges of the cells"),
        ("uneven cells", grid("x", lambda x: x + 0.003 * np.sin(2 * np.pi * (x - x[0]) / (x[-1] - x[0]))), "in place of"),
        ("times in other units", grid("t", lambda t: 1000 * t), "grid/t runs from 0 to 500000, pde.duration is 500"),
        ("a shorter time", grid("t", lambda t: t / 5), "grid/t runs from 0 to 100, pde.duration is 500"),
        ("no initial frame", grid("t", lambda t: t + 5), "the first frame must be the initial state"),
        ("times reversed", grid("t", lambda t: t[::-1]), "'/0000/grid/t' must increase; value 1"),
        ("equal times", grid("t", lambda t: np.where(t == 100, 50, t)), "must increase; value 2 is 50"),
        ("another D", config("diffusion: 0.0005", "diffusion: 0.0006"), "/0000@config says diffusion = 6e-04",
         "pde.diffusion is 5e-04", "set pde.diffusion to 6e-04"),
        ("another D of one sample alone", lambda file: file["0004"].attrs.__setitem__("D", 4e-4), "/0004@D says D = 4e-04"),
        ("another porosity", config("porosity: 0.29", "porosity: 0.3"), "porosity = 0.3", "pde.porosity is 0.29"),
        ("other cells of the walls", config("data_cells: 64", "data_cells: 128"), "data_cells = 128", "pde.data_cells is 64"),
        ("another D as PDEBench writes it", pdebench_config(sim % ("1E-3", 500)), "@0000/config says D = 0.001"),
        ("another duration in the configuration", pdebench_config(sim % ("5E-4", 2500)), "t = 2500", "pde.duration is 500"),
        ("another value at the wall", pdebench_config((sim % ("5E-4", 500)).replace("sol: 1.0", "sol: 2.0")), "sol = 2"),
        ("another D as JSON",
         each(lambda sample: sample.attrs.__setitem__("config", '{"D": 1e-3, "seed": 4}')), "says D = 0.001"),
        ("another D in a text that is no YAML", each(lambda sample: sample.attrs.__setitem__("config", "[sim]\nD = 1e-3\n: ]\n")),
         "says D = 0.001"),
        ("another equation", config("diffusion_sorption", "burgers"), "calls the equation 'burgers'"),
        ("another equation of PDEBench", pdebench_config("name: 1d_burgers\nsim:\n  nu: 0.1\n"), "calls the equation '1d_burgers'"),
        ("NaN", data("0005", spoilt(np.nan)), "'/0005/data' holds nan at [t 3, x 7, 0] (t = 150, x = 0.1171875)"),
        ("infinity", data("0002", spoilt(np.inf)), "'/0002/data' holds inf at [t 3, x 7, 0]"),
        ("values in other units", data("0001", lambda u: np.concatenate([u[:1], 1000 * u[1:]])), "'/0001/data' holds",
         "solutions stay between 0 and 1"),
        ("one sample is shorter", data("0003", lambda u: u[:-1]), "'/0003/data' has shape (10, 64, 1)", "all samples must be alike"),
        ("whole numbers", data("0003", lambda u: u.astype(np.int32)), "'/0003/data' is int32", "float32 or float64"),
        ("a sample on another grid", lambda file: file["0003/grid/x"].write_direct(np.linspace(0, 1, CELLS).astype(np.float32)),
         "'/0003/grid' differs"),
        ("a gap", move("0003", "0099"), "between the samples '0002' and '0004' number 3 is missing"),
        ("a number twice", lambda file: file.copy("0003", file, "3"), "'0003' and '3' have the same number"),
        ("another name", move("0003", "best"), "the group 'best' holds data, but its name is no number"),
    ]
    for name, change, *needed in refused:
        path = changed("changed", change)
        check.says(name, check.run("check", use, "--set", f"data.path={path}"), 1, "data.path",
                   str(path), *needed)
    accepted = [
        ("coordinates in float64", lambda file: (grid("x", lambda x: (np.arange(CELLS) + 0.5) / CELLS, np.float64)(file),
                                                 grid("t", lambda t: np.linspace(0, 500, FRAMES), np.float64)(file))),
        ("coordinates summed up in float32", grid("x", lambda x: np.cumsum(np.full(CELLS, np.float32(1 / CELLS)), dtype=np.float32)
                                                  - np.float32(0.5 / CELLS))),
        ("graded times", grid("t", lambda t: t**2 / 500)),
        ("values in float64", data("0003", lambda u: u.astype(np.float64))),
        ("names of other widths", lambda file: [file.move(f"{i:04}", str(i)) for i in range(12)]),
        ("names with a word", lambda file: [file.move(f"{i:04}", f"sample_{i}") for i in range(12)]),
        ("numbers that begin later", lambda file: [file.move(f"{i:04}", f"{i + 20:04}") for i in range(12)]),
        ("unknown names", config("seed:", "nu: 7\nbeta: 0.1\nseed:")),
        ("PDEBench's configuration", pdebench_config(sim % ("5E-4", 500))),
        ("other groups", lambda file: file.create_dataset("notes/text", data=np.arange(3))),
    ]
    for name, change in accepted:
        check.says(name, check.run("check", use, "--set", f"data.path={changed('changed', change)}"), 0, "in order")
    for value, needed in (("pde.length=2", "pde.length"), ("pde.duration=100", "grid/t runs from 0 to 500, pde.duration is 100"),
                          ("pde.diffusion=1e-3", "pde.diffusion is 0.001"), ("pde.exponent=0.9", "pde.exponent is 0.9"),
                          ("data.frames=21", "holds 11 frames, but data.frames is 21")):
        check.says(value, check.run("check", use, "--set", value), 1, "use.yaml:", needed)
        check.says(f"run with {value}", check.run("run", use, "--set", value, "--output", base / "no.h5", ranks=2), 1, needed)
        check.expect(f"no results with {value}", not (base / "no.h5").exists())

    # Times that float32 rounds are the method's own times all the same.
    short = "{name: diffusion_sorption, duration: 0.7, data_cells: 64}"
    write = check.deck("short.yaml", pde=short, data=f"{{{SPLITS}, frames: 21, write: {base}/short.h5}}",
                       formulation="{basis: 4, time: uniform}")
    check.says("a short duration", check.run("run", write, "--output", base / "short_out.h5"), 0)
    read = check.deck("short_use.yaml", pde=short, data=f"{{{SPLITS}, source: pdebench, path: {base}/short.h5}}",
                      formulation="{basis: 4, time: uniform}")
    check.says("a short duration is read", check.run("run", read, "--output", base / "short_use.h5"), 0)
    with h5py.File(base / "short_use.h5") as file:
        residual = file["runs/v/seed_0/per_sample/reference_residual"][...]
        check.expect("the residual of the file's solutions", np.isfinite(residual).all(), str(residual))


def check_order(check, base):
    """Samples are ordered by number, in files with names of one width and of several."""
    count = 10003
    initial = 0.01 + 0.1 * np.arange(count) / count
    splits = "{train: 10000, validation: 1, test: 2, frames: 2, source: pdebench, path: %s}"
    small = dict(pde="{name: diffusion_sorption, data_cells: 4, reference_rtol: 1e-2}", grid="{cells: 4, frames: 4, tiles: [1, 1]}",
                 model="{name: fno2d, widths: [4, 4], modes_t: 2, modes_x: 2, projection: 4}", formulation="{basis: 2}")
    write_many(base / "mixed.h5", [f"{i:04}" for i in range(count)], initial)
    deck = check.deck("order.yaml", data=splits % (base / "mixed.h5"), **small)
    if check.says("names of two widths", check.run("run", deck, "--output", base / "order.h5"), 0):
        with h5py.File(base / "order.h5") as file:
            found = file["runs/v/seed_0/per_sample/u0"][...]
        check.expect("test samples are the last", np.allclose(found, initial[-2:], rtol=1e-6),
                     f"{found}, not {initial[-2:]}")
    # What is written has names whose order as text is that of the numbers.
    deck = check.deck("many.yaml", data=f"{{train: 10000, validation: 1, test: 2, frames: 2, write: {base}/many.h5}}",
                      **{**small, "formulation": "{basis: 2, method: soft}"})
    check.says("10003 samples", check.run("run", deck, "--output", base / "many_out.h5"), 0)
    with h5py.File(base / "many.h5") as file:
        written = sorted(file)
        check.expect("names of one width", {len(name) for name in written} == {5}, str(written[:2] + written[-2:]))
        numbers = [int(name) for name in written]
        check.expect("names in order", numbers == list(range(count)))
        stated = [int(file[name].attrs["config"].split("sample: ")[1].split()[0]) for name in written[9998:10003]]
    check.expect("splits in order", stated == [9998, 9999, 1000000, 2000000, 2000001], str(stated))


def check_observations(check, base):
    """Observations against the domain, its units and the noise."""
    deck = check.deck("observed.yaml", pde=f"{{name: diffusion_sorption, duration: 0.1, data_cells: {CELLS}}}",
                      data=f"{{{SPLITS}, observations: {{source: file, path: {base}/seen.h5}}}}")

    def write(units=None, **columns):
        with h5py.File(base / "seen.h5", "w") as file:
            for name, values in {"t": [0.05, 0.02, 0.02], "x": [0.5, 0.7, 0.7], "value": [0.1, 0.2, 0.3], **columns}.items():
                file[name] = values
            for name, unit in (units or {}).items():
                file[name].attrs["units"] = unit

    for name, columns, *needed in [
        ("a time beyond the duration", {"t": [0.05, 0.02, 0.2]}, "entry 2 lies at t = 0.2"),
        ("a negative time", {"t": [0.05, -0.02, 0.02]}, "entry 1 lies at t = -0.02"),
        ("a place outside", {"x": [1.5, 0.7, 0.7]}, "entry 0", "x = 1.5"),
        ("a time that is no number", {"t": [0.05, np.nan, 0.02]}, "entry 1 lies at t = nan"),
        ("a value that is no number", {"value": [0.1, 0.2, np.nan]}, "'value' is nan at entry 2"),
        ("an infinite value", {"value": [0.1, np.inf, 0.2]}, "'value' is inf at entry 1"),
        ("negative noise", {"sigma": [0.1, 0.1, -0.1]}, "sigma is -0.1 at entry 2"),
        ("no noise", {"sigma": 0.0}, "sigma is 0 at entry 0"),
        ("noise that is no number", {"sigma": [0.1, np.nan, 0.1]}, "sigma is nan at entry 1"),
        ("another length", {"x": [0.5, 0.7]}, "'x' 2 entries"),
        ("another unit of time", {"units": {"t": "days"}}, "'t' is in days", "has the unit s"),
    ]:
        write(**columns)
        check.says(name, check.run("check", deck), 1, "observed.yaml:5", str(base / "seen.h5"), *needed)
    write(t=np.array([0.1, 0.0, 0.05], np.float32), units={"t": "s", "x": "m"})
    check.expect("float32 rounds up", float(np.float32(0.1)) > 0.1)
    check.says("the end of the duration in float32", check.run("check", deck), 0)


def main(check):
    base = check.folder
    check_use(check, base)
    check_order(check, base)
    check_observations(check, base)


cases.main(main)
