"""Reading results.h5. The layout is described in src/io/results.hpp."""

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


@dataclass
class Metric:
    value: float
    unit: str
    long_name: str


@dataclass
class Fields:
    """Fields [sample, t, x] on common coordinates. Values are read when asked for."""

    path: str
    names: List[str]
    t: np.ndarray
    x: np.ndarray
    t_label: str
    x_label: str
    tile_edges: np.ndarray
    samples: int
    labels: Dict[str, str]
    _file: h5py.File = field(repr=False)

    @property
    def unknowns(self) -> List[str]:
        """Names of the fields that have a reference."""
        return [name for name in self.names if name + "_reference" in self.names]

    def sample(self, name: str, index: int) -> np.ndarray:
        """The field of one sample, shape [t, x]."""
        return np.asarray(self._file[self.path][name][index], dtype=float)


class Run:
    """One variant with one seed."""

    def __init__(self, file: h5py.File, variant: str, seed: int, path: str):
        self.variant, self.seed, self.path = variant, seed, path
        self._file = file

    def _series(self, group: str) -> Dict[str, np.ndarray]:
        if f"{self.path}/{group}" not in self._file:
            return {}
        return {name: item[()] for name, item in self._file[f"{self.path}/{group}"].items()
                if isinstance(item, h5py.Dataset)}

    @property
    def steps(self) -> Dict[str, np.ndarray]:
        """One value a training step: step, loss, ..."""
        return self._series("steps")

    @property
    def evaluations(self) -> Dict[str, np.ndarray]:
        return self._series("evaluations")

    @property
    def experts(self) -> Dict[str, np.ndarray]:
        """Statistics [step, expert], and the coordinates step and expert."""
        return self._series("experts")

    @property
    def blocks(self) -> Dict[str, np.ndarray]:
        """Gradient health [measurement, block], the coordinate step, and the names of the blocks as `block`."""
        series = self._series("blocks")
        if "block" in series:
            series["block"] = np.array([_text(name) for name in series["block"]])
        return series

    @property
    def per_sample(self) -> Dict[str, np.ndarray]:
        return self._series("per_sample")

    @property
    def summary(self) -> Dict[str, Metric]:
        return self._scalars(f"{self.path}/summary")

    @property
    def timing(self) -> Dict[str, Metric]:
        """Scalars; of one-dimensional timings the median."""
        return self._scalars(f"timing/{self.variant}/seed_{self.seed}")

    def _scalars(self, path: str) -> Dict[str, Metric]:
        if path not in self._file:
            return {}
        return {name: Metric(float(np.median(item[()])) if item.size else float("nan"),
                             _attribute(item, "units", "1"), _attribute(item, "long_name"))
                for name, item in self._file[path].items() if isinstance(item, h5py.Dataset)}

    def elapsed_seconds(self) -> Optional[np.ndarray]:
        """Training time after each step, or None where it was not stored."""
        count = len(self.steps.get("step", []))
        path = f"timing/{self.variant}/seed_{self.seed}"
        if count == 0 or path not in self._file:
            return None
        group = self._file[path]
        if "step_seconds" in group and group["step_seconds"].shape == (count,):
            return np.cumsum(group["step_seconds"][()])
        for name in ("seconds_per_step", "seconds_per_training_step"):
            if name in group:
                return float(group[name][()]) * np.arange(1, count + 1)
        return None

    @property
    def fields(self) -> Optional[Fields]:
        path = f"{self.path}/fields"
        if path not in self._file:
            return None
        group = self._file[path]
        if "t" not in group or "x" not in group:
            return None
        t, x = group["t"], group["x"]
        names = [name for name, item in group.items()
                 if isinstance(item, h5py.Dataset) and item.ndim == 3 and item.shape[1:] == (t.size, x.size)]
        if not names:
            return None

        def axis(item, name):
            unit = _attribute(item, "units", "1")
            label = _attribute(item, "long_name") or name
            return f"{label} {name}" + ("" if unit in ("1", "") else f" [{unit}]")

        edges = np.asarray(group.attrs.get("tile_edges_x", []), dtype=float)
        return Fields(path, names, t[()], x[()], axis(t, "t"), axis(x, "x"), edges, group[names[0]].shape[0],
                      {name: _attribute(group[name], "long_name") or name for name in names}, self._file)


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
        version = int(self._file.attrs.get("format_version", 0))
        if version != 1:
            self._file.close()
            raise ResultsError(f"{path}: has format_version {version}; this package reads 1")
        self.title = _attribute(self._file, "title")
        self.runs: List[Run] = []
        for variant, seeds in self._file.get("runs", {}).items():
            for name, group in seeds.items():
                seed = int(group.attrs.get("seed", name.rsplit("_", 1)[-1]))
                self.runs.append(Run(self._file, variant, seed, f"runs/{variant}/{name}"))

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
        if "expectations/expression" not in self._file:
            return []
        group = self._file["expectations"]
        return [{"expression": _text(e), "verdict": bool(v), "left": float(a), "right": float(b)}
                for e, v, a, b in zip(group["expression"][()], group["verdict"][()], group["value_left"][()],
                                      group["value_right"][()])]

    @property
    def provenance(self) -> Dict[str, str]:
        found = {}
        if "provenance" in self._file:
            self._file["provenance"].visititems(
                lambda name, item: found.__setitem__(name, _text(item[()]))
                if isinstance(item, h5py.Dataset) and item.shape == () else None)
        return found
