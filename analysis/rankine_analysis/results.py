"""Reading results.h5. The layout is described in src/io/results.hpp.

People put data of their own into results, at any place. What does not fit the layout is left aside; Results.others
names it.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

import h5py
import numpy as np


class ResultsError(Exception):
    """The file is missing, damaged, or lacks what was asked for. The message is for people."""


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _attribute(item, name, default=""):
    return _text(item.attrs[name]) if name in item.attrs else default


def _group(parent, path) -> Optional[h5py.Group]:
    """The group at `path`, or None where there is none, something else, or a link to another place."""
    if not isinstance(parent.get(path, getlink=True), h5py.HardLink):
        return None
    found = parent.get(path)
    return found if isinstance(found, h5py.Group) else None


def _datasets(group: Optional[h5py.Group]) -> Dict[str, h5py.Dataset]:
    """Its datasets; links that lead nowhere, groups and types left out."""
    members = {} if group is None else {name: group.get(name) for name in group}
    return {name: item for name, item in members.items() if isinstance(item, h5py.Dataset)}


def _numeric(item: h5py.Dataset) -> bool:
    return item.dtype.kind in "biuf" and item.shape is not None


SEED = re.compile(r"seed_(0|-?[1-9]\d*)")
TOP = ("runs", "expectations", "timing", "provenance")
PARTS = ("steps", "evaluations", "summary", "per_sample", "fields", "weights")


def _is_table(run: h5py.Group, name: str) -> bool:
    """Whether it is one of the run's named tables; one without rows has its labels alone."""
    group = None if name in PARTS else _group(run, name)
    return group is not None and ("names" in group.attrs or "step" in _datasets(group))


@dataclass
class Table:
    """Metrics by step [step], or by step and entries of a dimension [step, entry]."""

    dimension: str  # "" where there is none
    labels: List[str]  # of the entries
    step: np.ndarray
    metrics: Dict[str, np.ndarray]


@dataclass
class Metric:
    value: float
    unit: str
    long_name: str


@dataclass
class Axis:
    """An axis of space: centres of cells, and the edges of tiles and of experts, both ends included."""

    name: str
    centres: np.ndarray
    label: str
    tile_edges: np.ndarray
    expert_edges: np.ndarray


@dataclass
class Fields:
    """Fields [sample, t, x], [sample, t, x, y] or [sample, t, x, y, z] on common coordinates. Values are read when
    asked for."""

    path: str
    names: List[str]
    t: np.ndarray
    t_label: str
    space: List[Axis]
    samples: int
    labels: Dict[str, str]
    _file: h5py.File = field(repr=False)

    @property
    def x(self) -> np.ndarray:
        return self.space[0].centres

    @property
    def x_label(self) -> str:
        return self.space[0].label

    @property
    def tile_edges(self) -> np.ndarray:
        """Along x."""
        return self.space[0].tile_edges

    @property
    def unknowns(self) -> List[str]:
        """Names of the fields that have a reference."""
        return [name for name in self.names if name + "_reference" in self.names]

    def sample(self, name: str, index: int, axes: Optional[int] = None) -> np.ndarray:
        """The field of one sample, shape [t, x, ...]; on the first `axes` axes of space, in the middle of the others."""
        middle = [axis.centres.size // 2 for axis in self.space[axes:]] if axes else []
        chosen = (index, *[slice(None)] * (1 + len(self.space) - len(middle)), *middle)
        return np.asarray(self._file[self.path][name][chosen], dtype=float)

    def middle(self, axes: int) -> str:
        """Where sample(.., axes) lies on the axes that it leaves out: "z = 0.5 m"."""
        return ", ".join(_position(axis.name, axis.centres[axis.centres.size // 2], axis.label)
                         for axis in self.space[axes:])

    def nearest(self, t: float) -> int:
        """The index of the time nearest to `t`."""
        return int(np.argmin(np.abs(self.t - t)))

    def time(self, index: int) -> str:
        """"t = 0.1 s"."""
        return _position("t", self.t[index], self.t_label)


def _position(name: str, value: float, label: str) -> str:
    unit = label.partition("[")[2].rstrip("]")
    return f"{name} = {value:.4g} {unit}".rstrip()


class Run:
    """One variant with one seed."""

    def __init__(self, file: h5py.File, variant: str, seed: int, path: str):
        self.variant, self.seed, self.path = variant, seed, path
        self._file = file

    def _series(self, group: str, first: str = "step", second: Optional[str] = None) -> Dict[str, np.ndarray]:
        """Numbers along the coordinate `first`, and along `second` where there is one, with these coordinates."""
        items = _datasets(_group(self._file, f"{self.path}/{group}"))
        if first not in items or items[first].ndim != 1 or not _numeric(items[first]):
            return {}
        shape = items[first].shape
        if second in items and items[second].ndim == 1:
            shape += items[second].shape
        elif second:
            shape += next((item.shape[1:] for item in items.values()
                           if _numeric(item) and item.ndim == 2 and item.shape[:1] == shape), (0,))
        return {name: item[()] for name, item in items.items()
                if name == first or (name == second and item.ndim == 1) or (_numeric(item) and item.shape == shape)}

    @property
    def steps(self) -> Dict[str, np.ndarray]:
        """One value a training step: step, loss, ..."""
        return self._series("steps")

    @property
    def evaluations(self) -> Dict[str, np.ndarray]:
        return self._series("evaluations")

    @property
    def tables(self) -> Dict[str, Table]:
        """The named tables that have rows."""
        run = _group(self._file, self.path)
        found = {}
        for name in (name for name in run if _is_table(run, name)):
            items = _datasets(_group(run, name))
            step = items.get("step")
            if step is None or step.ndim != 1 or not _numeric(step):
                continue
            wide = {key: item[()] for key, item in items.items()
                    if _numeric(item) and item.ndim == 2 and item.shape[0] == step.size}
            entries = next(iter(wide.values())).shape[1] if wide else 1
            metrics = {key: values for key, values in wide.items() if values.shape[1] == entries} if wide else \
                {key: item[()] for key, item in items.items()
                 if key != "step" and _numeric(item) and item.shape == step.shape}
            along = next((key for key, item in items.items() if key != "step" and item.shape == (entries,)), "") \
                if wide else ""
            labels = _attribute(run[name], "names").split()
            if len(labels) != entries:
                labels = [_text(label) for label in items[along][()]] if along else [str(i) for i in range(entries)]
            found[name] = Table(along, labels, step[()], metrics)
        return found

    @property
    def experts(self) -> Dict[str, np.ndarray]:
        """Statistics [step, expert], and the coordinates step and expert."""
        return self._series("experts", second="expert")

    @property
    def blocks(self) -> Dict[str, np.ndarray]:
        """Gradient health [measurement, block], the coordinate step, and the names of the blocks as `block`."""
        series = self._series("blocks", second="block")
        if "block" in series:
            series["block"] = np.array([_text(name) for name in series["block"]])
        return series

    @property
    def per_sample(self) -> Dict[str, np.ndarray]:
        return self._series("per_sample", first="sample_id")

    @property
    def summary(self) -> Dict[str, Metric]:
        return self._scalars(f"{self.path}/summary", 0)

    @property
    def timing(self) -> Dict[str, Metric]:
        """Scalars; of one-dimensional timings the median."""
        return self._scalars(f"timing/{self.variant}/seed_{self.seed}", 1)

    def _scalars(self, path: str, most_dimensions: int) -> Dict[str, Metric]:
        return {name: Metric(float(np.median(item[()])) if item.size else float("nan"),
                             _attribute(item, "units", "1"), _attribute(item, "long_name"))
                for name, item in _datasets(_group(self._file, path)).items()
                if _numeric(item) and item.ndim <= most_dimensions}

    def elapsed_seconds(self) -> Optional[np.ndarray]:
        """Training time after each step, or None where it was not stored."""
        count = len(self.steps.get("step", []))
        times = {name: item for name, item in
                 _datasets(_group(self._file, f"timing/{self.variant}/seed_{self.seed}")).items() if _numeric(item)}
        if count == 0:
            return None
        if "step_seconds" in times and times["step_seconds"].shape == (count,):
            return np.cumsum(times["step_seconds"][()])
        for name in ("seconds_per_step", "seconds_per_training_step"):
            if name in times and times[name].shape == ():
                return float(times[name][()]) * np.arange(1, count + 1)
        return None

    @property
    def fields(self) -> Optional[Fields]:
        path = f"{self.path}/fields"
        group = _group(self._file, path)
        items = {name: item for name, item in _datasets(group).items() if _numeric(item)}
        coordinates = {}
        for name in ("t", "x", "y", "z"):
            if name not in items or items[name].ndim != 1:
                break
            coordinates[name] = items[name]
        # An array y of somebody's beside fields [sample, t, x] is no axis of theirs.
        names = []
        while len(coordinates) >= 2 and not names:
            shape = tuple(item.size for item in coordinates.values())
            names = [name for name, item in items.items() if item.ndim > 1 and item.shape[1:] == shape]
            # Fields of one run have the same samples.
            ids = items.get("sample_id")
            samples = ids.size if ids is not None and ids.ndim == 1 else items[names[0]].shape[0] if names else 0
            names = [name for name in names if items[name].shape[0] == samples]
            if not names:
                coordinates.popitem()
        if not names:
            return None

        def label(name):
            item = coordinates[name]
            unit = _attribute(item, "units", "1")
            return f"{_attribute(item, 'long_name') or name} {name}" + ("" if unit in ("1", "") else f" [{unit}]")

        def edges(kind, name):
            return np.asarray(group.attrs.get(f"{kind}_edges_{name}", []), dtype=float)

        t, *space = coordinates
        return Fields(path, names, coordinates[t][()], label(t),
                      [Axis(name, coordinates[name][()], label(name), edges("tile", name), edges("expert", name))
                       for name in space],
                      samples, {name: _attribute(items[name], "long_name") or name for name in names}, self._file)


class Results:
    """An open results.h5. Use it as a context manager."""

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.exists():
            raise ResultsError(f"{path}: no such file; give the results.h5 that 'rankine run' has written")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise ResultsError(f"{path}: cannot be read as HDF5: {error}") from error
        if _attribute(self._file, "format") != "rankine-results":
            self._file.close()
            raise ResultsError(f"{path}: is an HDF5 file, but not one of Rankine's results "
                               "(attribute 'format' of '/')")
        version = _attribute(self._file, "format_version", "0")
        if version not in ("1", "[1]"):
            self._file.close()
            raise ResultsError(f"{path}: has format_version {version}; this package reads 1")
        self.title = _attribute(self._file, "title")
        self.missing = _attribute(self._file, "missing")  # runs that a failed job did not get to
        self.runs: List[Run] = []
        self.others: List[str] = []  # paths of what is not of the layout
        self._leave_aside("", self._file, TOP)
        for variant in _group(self._file, "runs") or ():
            seeds = _group(self._file, f"runs/{variant}")
            if seeds is None:
                self.others.append(f"/runs/{variant}")
                continue
            for name in seeds:
                path, seed = f"runs/{variant}/{name}", SEED.fullmatch(name)
                group = _group(self._file, path)
                if seed is None or group is None:
                    self.others.append("/" + path)
                    continue
                self.runs.append(Run(self._file, variant, int(seed.group(1)), path))
                tables = [part for part in group if _is_table(group, part)]
                self._leave_aside("/" + path, group, (*PARTS, *tables))

    def _leave_aside(self, path: str, group: h5py.Group, known) -> None:
        self.others += [f"{path}/{name}" for name in group if name not in known or _group(group, name) is None]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    @property
    def variants(self) -> List[str]:
        """In the order in which they were run."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    def of(self, variant: str) -> List[Run]:
        return [run for run in self.runs if run.variant == variant]

    @property
    def expectations(self) -> List[dict]:
        items = _datasets(_group(self._file, "expectations"))
        columns = [items.get(name) for name in ("expression", "verdict", "value_left", "value_right")]
        if any(column is None or column.ndim != 1 for column in columns):
            return []
        outcome = items.get("outcome")  # pass, fail, undecided or void; files of before have none
        names = ["pass" if v else "fail" for v in columns[1][()]] if outcome is None else [_text(o) for o in outcome[()]]
        return [{"expression": _text(e), "verdict": bool(v), "left": float(a), "right": float(b), "outcome": o}
                for e, v, a, b, o in zip(*(column[()] for column in columns), names)]

    @property
    def provenance(self) -> Dict[str, str]:
        found = {}
        group = _group(self._file, "provenance")
        if group is not None:
            group.visititems(
                lambda name, item: found.__setitem__(name, _text(item[()]))
                if isinstance(item, h5py.Dataset) and item.shape == () else None)
        return found
