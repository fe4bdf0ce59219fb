"""Plots. Each function returns a figure, or None where the file lacks what it shows."""

import re
from typing import List, Optional

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter  # noqa: E402

from .results import Results, Run  # noqa: E402

# Okabe and Ito: told apart with every common kind of colour blindness. Line styles and markers repeat the message.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]
LINES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]

STYLE = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "legend.fontsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
}

# What to look for among the evaluations and the metrics, best first.
ERRORS = ("rel_l2_validation", "rel_l2_test", "rel_l2", "error", "validation_accuracy", "validation_loss",
          "test_accuracy", "test_loss")

# Gradient health of the blocks, what is drawn of it, and whether on a logarithmic axis.
HEALTH = {
    "activation_rms": ("activations, root mean square", True),
    "activation_gradient_rms": ("gradient of activations, root mean square", True),
    "gradient_norm": ("gradient of parameters, norm", True),
    "update_ratio": ("update / weights", True),
    "dead_units": ("dead units, share", False),
}

# Timings that are drawn beside the errors.
TIMES = {
    "seconds_per_step": "time per training step",
    "seconds_per_training_step": "time per training step",
    "seconds_per_sample": "inference, time per sample",
}


def _style(index: int) -> dict:
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": LINES[index % len(LINES)]}


def _error_name(names) -> Optional[str]:
    known = [name for name in ERRORS if name in names]
    return known[0] if known else next((name for name in names if name.startswith("rel_l2")), None)


def _label(name: str) -> str:
    return "relative L2" if name.startswith("rel_l2") else name.replace("_", " ").removeprefix("validation ")


def _edges_of(centres: np.ndarray) -> np.ndarray:
    """Borders of the cells around points that may be spaced unevenly."""
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[centres[0] - (middle[0] - centres[0])], middle,
                           [centres[-1] + (centres[-1] - middle[-1])]])


def _log_if_positive(axes, arrays) -> None:
    values = np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.array([])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0:
        axes.set_yscale("log")
        if values.max() / values.min() > 30:
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_locator(LogLocator(subs=np.arange(2, 10)))


def unknowns(results: Results) -> List[str]:
    """Names of the unknowns whose fields and references were stored."""
    for variant in results.variants:
        for run in results.of(variant):
            if run.fields and run.fields.unknowns:
                return run.fields.unknowns
    return []


def first_with_fields(results: Results, unknown: str) -> List[Run]:
    chosen = []
    for variant in results.variants:
        run = next((r for r in results.of(variant) if r.fields and unknown in r.fields.unknowns), None)
        # Columns of pictures of one kind.
        if run and (not chosen or len(run.fields.space) == len(chosen[0].fields.space)):
            chosen.append(run)
    return chosen


def _scales(pairs):
    """Range of predictions and references, and the limit of the errors between them."""
    values = [a[np.isfinite(a)] for pair in pairs for a in pair]
    # One scale for all errors, so that variants compare; cut where one variant would hide all others.
    # Of each variant the 99.5th percentile: one value beside the wall at t = 0 must not bleach all others.
    errors = [e[np.isfinite(e)] for e in (np.abs(u - reference) for u, reference in pairs)]
    limits = [np.percentile(e, 99.5) for e in errors if e.size] or [0.0]
    return (min((a.min() for a in values if a.size), default=0.0), max((a.max() for a in values if a.size), default=1.0),
            min(max(limits), 5 * float(np.median(limits))) or 1.0)


def map_limits(pairs) -> dict:
    low, high, limit = _scales(pairs)
    return {"reference": (low, high), "prediction": (low, high), "error": (-limit, limit)}


def _relative(error: np.ndarray, reference: np.ndarray) -> str:
    return f"relative L2 {100 * np.linalg.norm(error) / max(np.linalg.norm(reference), 1e-300):.2g} %"


def _times(fields) -> List[int]:
    """Indices of a few times, the early ones closer together."""
    return sorted({fields.nearest(f * fields.t[-1]) for f in (0.05, 0.2, 0.5, 1.0)})


def _edge_words(runs) -> str:
    axes = [axis for run in runs for axis in run.fields.space[:2]]
    return "".join([", tile edges dashed" if any(axis.tile_edges.size > 2 for axis in axes) else "",
                    ", expert edges solid" if any(axis.expert_edges.size > 2 for axis in axes) else ""])


def draw_map(axes, fields, values: np.ndarray, kind: str, limits):
    """Values [x, y] with x to the right and y upwards; over a prediction or an error the edges of tiles and experts.
    `limits` of the colours by kind."""
    x, y = (_edges_of(axis.centres) for axis in fields.space[:2])
    low, high = limits[kind]
    axes.grid(False)
    mesh = axes.pcolormesh(x, y, values.T, vmin=low, vmax=high, cmap="RdBu_r" if kind == "error" else "viridis",
                           rasterized=True)
    colour = "black" if kind == "error" else "white"
    for axis, line in zip(fields.space, (axes.axvline, axes.axhline) if kind != "reference" else ()):
        for edge in axis.tile_edges[1:-1]:
            line(edge, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.8)
        for edge in axis.expert_edges[1:-1]:
            line(edge, color=colour, linewidth=1.4, alpha=0.8)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    if 0.25 <= _height(fields) <= 4:
        axes.set_aspect("equal")
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return mesh


def _height(fields) -> float:
    """Of the x, y plane for a width of one."""
    x, y = (_edges_of(axis.centres) for axis in fields.space[:2])
    return (y[-1] - y[0]) / (x[-1] - x[0])


def plot_fields(results: Results, sample: int = 0, unknown: str = "u"):
    """Reference, prediction and error of one test sample; a column a variant."""
    runs = first_with_fields(results, unknown)
    if not runs:
        return None
    sample = min(sample, min(run.fields.samples for run in runs) - 1)
    if len(runs[0].fields.space) > 1:
        return _plot_maps(results, runs, sample, unknown)
    shown = [(run, run.fields.sample(unknown, sample), run.fields.sample(unknown + "_reference", sample))
             for run in runs]
    low, high, limit = _scales([(u, reference) for _, u, reference in shown])
    figure, rows = plt.subplots(2, len(shown) + 1, figsize=(2.9 * (len(shown) + 1) + 1.2, 6.2), sharex=True, sharey=True,
                                squeeze=False)
    for column, (run, u, reference) in enumerate([(None, None, shown[0][2])] + shown):
        fields = (run or runs[0]).fields
        x, t = _edges_of(fields.x), _edges_of(fields.t)
        t[0], t[-1] = fields.t[0], fields.t[-1]
        above, below = rows[0, column], rows[1, column]
        above.grid(False)
        below.grid(False)
        solution = above.pcolormesh(x, t, reference if run is None else u, vmin=low, vmax=high, cmap="viridis",
                                    rasterized=True)
        above.xaxis.set_major_locator(MaxNLocator(3))
        if run is None:
            above.set_title("reference")
            above.tick_params(labelbottom=True)
            above.set_xlabel(fields.x_label)
            below.axis("off")
            continue
        above.set_title(run.variant)
        error = u - reference
        deviation = below.pcolormesh(x, t, error, vmin=-limit, vmax=limit, cmap="RdBu_r", rasterized=True)
        below.set_title(f"error, {_relative(error, reference)}", fontsize=11)
        below.set_xlabel(fields.x_label)
        for edge in fields.tile_edges[1:-1]:
            for axes, colour in ((above, "white"), (below, "black")):
                axes.axvline(edge, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.8)
        for axes in (above, below):
            axes.set_xlim(x[0], x[-1])
            axes.set_ylim(t[0], t[-1])
            axes.xaxis.set_major_locator(MaxNLocator(3))
    rows[0, 0].set_ylabel(runs[0].fields.t_label)
    rows[1, 1].set_ylabel(runs[0].fields.t_label)
    rows[1, 1].tick_params(labelleft=True)
    colour_bar(figure, solution, rows[0, :], runs[0].fields.labels[unknown])
    colour_bar(figure, deviation, rows[1, :])
    tiles = ", tile edges dashed" if any(run.fields.tile_edges.size > 2 for run in runs) else ""
    figure.suptitle(f"{results.title}\ntest sample {sample}, seed {runs[0].seed}{tiles}", fontsize=14)
    return figure


def colour_bar(figure, mesh, row, label: str = "") -> None:
    """Of a row of axes; without a label: of errors."""
    figure.colorbar(mesh, ax=row.tolist(), label=label or "prediction - reference", aspect=18, pad=0.01,
                    extend="neither" if label else "both")


def map_grid(fields, rows: int, columns: int):
    height = 2.7 * min(max(_height(fields), 0.4), 2.0) + 0.4
    return plt.subplots(rows, columns, figsize=(2.9 * columns + 1.6, height * rows + 1.0), sharex=True, sharey=True,
                        squeeze=False)


def planes(run: Run, unknown: str, sample: int):
    """Prediction and reference [t, x, y], of three axes in the middle of the last."""
    return run.fields.sample(unknown, sample, 2), run.fields.sample(unknown + "_reference", sample, 2)


def place(results: Results, runs: List[Run], sample: int) -> str:
    middle = runs[0].fields.middle(2)
    return (f"{results.title}\ntest sample {sample}, seed {runs[0].seed}{', ' + middle if middle else ''}"
            f"{_edge_words(runs)}")


def _plot_maps(results: Results, runs: List[Run], sample: int, unknown: str):
    """Maps over x and y, a column a time: the reference, then prediction and error of each variant."""
    first = runs[0].fields
    times = _times(first)
    rows = [("reference", "reference", first, planes(runs[0], unknown, sample)[1][times], None)]
    pairs = []
    for run in runs:
        # The variants of a sweep may have times of their own.
        near = [run.fields.nearest(first.t[k]) for k in times]
        u, reference = (values[near] for values in planes(run, unknown, sample))
        pairs.append((u, reference))
        rows += [(run.variant, "prediction", run.fields, u, None),
                 (f"{run.variant}: error", "error", run.fields, u - reference, reference)]
    limits = map_limits(pairs)
    figure, axes = map_grid(first, len(rows), len(times))
    for line, (name, kind, fields, values, reference) in zip(axes, rows):
        for k, axis in enumerate(line):
            mesh = draw_map(axis, fields, values[k], kind, limits)
            if kind == "error":
                axis.set_title(_relative(values[k], reference[k]), fontsize=11)
        line[0].set_ylabel(f"{name}\n{fields.space[1].label}")
        colour_bar(figure, mesh, line, "" if kind == "error" else fields.labels[unknown])
    for k, axis in zip(times, axes[0]):
        axis.set_title(first.time(k))
    for axis in axes[-1]:
        axis.set_xlabel(first.x_label)
    figure.suptitle(place(results, runs, sample), fontsize=14)
    return figure


def plot_profiles(results: Results, sample: int = 0, unknown: str = "u"):
    """Solution against x at a few times, in the middle of the other axes, all variants over the reference."""
    runs = first_with_fields(results, unknown)
    if not runs:
        return None
    fields = runs[0].fields
    sample = min(sample, min(run.fields.samples for run in runs) - 1)
    times = _times(fields)
    figure, axes = plt.subplots(1, len(times), figsize=(3.4 * len(times), 3.8), sharey=True, squeeze=False)
    for axis, k in zip(axes[0], times):
        axis.plot(fields.x, fields.sample(unknown + "_reference", sample, 1)[k], color="black", linewidth=3, alpha=0.35,
                  label="reference")
        for i, run in enumerate(runs):
            if k < run.fields.t.size:
                axis.plot(run.fields.x, run.fields.sample(unknown, sample, 1)[k], linewidth=1.6, label=run.variant,
                          **_style(i))
        for edge in fields.tile_edges[1:-1]:
            axis.axvline(edge, color="grey", linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
        axis.set_title(fields.time(k))
        axis.set_xlabel("\n".join(filter(None, [fields.x_label, fields.middle(1)])))
    axes[0, 0].set_ylabel(fields.labels[unknown])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center" if _has_outside() else "lower center",
                  ncol=len(runs) + 1, frameon=False, **({} if _has_outside() else {"bbox_to_anchor": (0.5, -0.1)}))
    return figure


def _has_outside() -> bool:
    return tuple(int(part) for part in matplotlib.__version__.split(".")[:2]) >= (3, 7)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Median over a window that grows with the length: single steps are noisy."""
    half = len(values) // 100
    if half < 1:
        return values
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Over the same window, but a rare event stays to be seen."""
    half = len(values) // 100
    padded = np.pad(values, half, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1).mean(axis=-1)


def _spread(axis, curves, style, label, marker=None) -> list:
    """Draws the mean of (x, y) curves, with the band between the smallest and the largest."""
    length = min(len(y) for _, y in curves)
    x = np.mean([c[0][:length] for c in curves], axis=0)
    y = np.array([c[1][:length] for c in curves], dtype=float)
    # Errors and losses are ratios: the geometric mean is the middle of the band on a logarithmic axis.
    middle = np.exp(np.log(y).mean(axis=0)) if (y > 0).all() else y.mean(axis=0)
    axis.plot(x, middle, label=label, linewidth=1.8, marker=marker, markersize=5, **style)
    if len(curves) > 1:
        axis.fill_between(x, y.min(axis=0), y.max(axis=0), color=style["color"], alpha=0.2, linewidth=0)
    return [y]


def plot_training(results: Results):
    """Loss and validation error, against steps and against seconds of training."""
    with_time = any(run.elapsed_seconds() is not None for run in results.runs)
    names = {name for run in results.runs for name in run.evaluations}
    error = _error_name(names)
    has_loss = any("loss" in run.steps for run in results.runs)
    panels = ([("loss", "training loss")] if has_loss else []) + ([(error, f"validation: {_label(error)}")] if error else [])
    if not panels:
        return None
    columns = 2 if with_time else 1
    figure, axes = plt.subplots(len(panels), columns, figsize=(5.6 * columns, 3.6 * len(panels) + 0.6), squeeze=False,
                                sharex="col")
    for row, (name, label) in enumerate(panels):
        drawn = [[] for _ in range(columns)]
        for i, variant in enumerate(results.variants):
            against_steps, against_time = [], []
            for run in results.of(variant):
                series = run.steps if name == "loss" else run.evaluations
                if name not in series or not np.isfinite(series[name]).any():
                    continue
                good = np.isfinite(series[name])
                step, values = series["step"][good], series[name][good]
                values = _smooth(values) if name == "loss" else values
                against_steps.append((step, values))
                elapsed = run.elapsed_seconds()
                if elapsed is not None:
                    # A loss belongs to the step that gave it, an evaluation to the number of steps before it.
                    done = np.searchsorted(run.steps["step"], step, side="right" if name == "loss" else "left")
                    against_time.append((np.concatenate([[0.0], elapsed])[done], values))
            marker = MARKERS[i % len(MARKERS)] if name != "loss" else None
            for column, curves in enumerate([against_steps, against_time][:columns]):
                if curves:
                    drawn[column] += _spread(axes[row, column], curves, _style(i), variant, marker)
        for column in range(columns):
            if not name.endswith("accuracy"):
                _log_if_positive(axes[row, column], drawn[column])
            axes[row, column].set_xlabel(["training step", "training time [s]"][column])
        axes[row, 0].set_ylabel(label)
    axes[0, 0].legend(frameon=False)
    seeds = max(len(results.of(v)) for v in results.variants)
    band = f": mean and range over {seeds} seeds" if seeds > 1 else ""
    figure.suptitle(f"{results.title}\ntraining{band}", fontsize=14)
    return figure


def plot_errors(results: Results):
    """Final error and time of each variant, a dot a seed."""
    names = {name for run in results.runs for name in run.summary}
    tested = {name for name in names if not name.startswith("validation_")}
    error = _error_name(tested)
    panels = []
    if error:
        panels.append((lambda run: run.summary.get(error), "summary", error))
    for name in TIMES:
        if any(name in run.timing for run in results.runs):
            panels.append((lambda run, name=name: run.timing.get(name), "timing", name))
    if not panels:
        return None
    variants = results.variants
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 0.6 * len(variants) + 2.4), squeeze=False,
                                sharey=True)
    for axis, (get, _, name) in zip(axes[0], panels):
        percent = name == error and not name.endswith("loss")
        found = [metric for run in results.runs if (metric := get(run)) is not None and np.isfinite(metric.value)]
        if not found:
            axis.axis("off")
            continue
        unit = "%" if percent else found[0].unit
        _bars(axis, variants, lambda variant: [metric.value * (100 if percent else 1)
                                               for metric in map(get, results.of(variant)) if metric is not None])
        axis.set_xlabel((TIMES.get(name) or ("relative L2 error on the test samples" if name.startswith("rel_l2")
                                             else name.replace("_", " ")))
                        + ("" if unit in ("1", "") else f" [{unit}]"))
    axes[0, 0].set_yticks(range(len(variants)))
    axes[0, 0].set_yticklabels(variants)
    axes[0, 0].invert_yaxis()
    figure.suptitle("final error and cost (bar: mean, circles: seeds)", fontsize=14)
    return figure


def _bars(axis, variants, values_of) -> None:
    """A bar for the mean of each variant, a circle for each seed."""
    everything = []
    for i, variant in enumerate(variants):
        values = np.array(values_of(variant), dtype=float)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        everything.append(values)
        axis.barh(i, values.mean(), color=PALETTE[i % len(PALETTE)], alpha=0.75, height=0.62)
        axis.plot(values, np.full(values.size, i), linestyle="", marker="o", markersize=6, markerfacecolor="white",
                  markeredgecolor="black", zorder=3)
        axis.annotate(f"{values.mean():.4g}", (values.max(), i), xytext=(9, 0), textcoords="offset points", va="center")
    every = np.concatenate(everything)
    if every.min() > 0 and every.max() > 20 * every.min():  # a bar beside a twenty times longer one is not seen
        axis.set_xscale("log")
        axis.set_xlim(every.min() / 2, every.max() * 4)
    elif every.min() >= 0:
        axis.set_xlim(0, max(every.max(), 1e-300) * 1.3)
    axis.grid(axis="y", visible=False)


def plot_expected(results: Results):
    """Every number that an expectation of the deck speaks of: a bar a variant, a circle a seed."""
    text = " ".join(e["expression"] for e in results.expectations)
    panels = []
    for name in dict.fromkeys(re.findall(r"\w+", text)):
        for kind in ("summary", "timing"):
            found = [getattr(run, kind)[name] for run in results.runs if name in getattr(run, kind)]
            if any(np.isfinite(metric.value) for metric in found):
                panels.append((kind, name, found[0].unit))
    if not panels:
        return None
    variants, columns = results.variants, min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, (0.5 * len(variants) + 1.4) * rows + 0.6),
                                squeeze=False, sharey=True)
    for axis in axes.flat[len(panels):]:
        axis.axis("off")
    for axis, (kind, name, unit) in zip(axes.flat, panels):
        _bars(axis, variants,
              lambda variant: [getattr(run, kind)[name].value for run in results.of(variant) if name in getattr(run, kind)])
        axis.set_xlabel(name.replace("_", " ") + ("" if unit in ("1", "") else f" [{unit}]"))
    axes[0, 0].set_yticks(range(len(variants)))
    axes[0, 0].set_yticklabels(variants)
    axes[0, 0].invert_yaxis()
    figure.suptitle("what the deck's expectations speak of (bar: mean, circles: seeds)", fontsize=14)
    return figure


def plot_blocks(results: Results):
    """Gradient health: each block's last measurement, and the range of all of them."""
    runs = [run for run in results.runs if run.blocks]
    shown = [name for name in HEALTH
             if any(name in run.blocks and np.isfinite(run.blocks[name]).any() for run in runs)]
    if not shown:
        return None
    names = max((run.blocks["block"] for run in runs), key=len)
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(max(4.4, 0.42 * len(names) + 1.6) * columns, 3.8 * rows + 0.6),
                                squeeze=False)
    for axis in axes.flat[len(shown):]:
        axis.axis("off")
    for axis, name in zip(axes.flat, shown):
        label, logarithmic = HEALTH[name]
        for i, variant in enumerate(results.variants):
            found = [run.blocks[name] for run in results.of(variant) if name in run.blocks]
            # Rows are measurements; a block without parameters has no gradient, a skipped one no number.
            every = [values for values in np.concatenate(found) if np.isfinite(values).any()] if found else []
            if not every:
                continue
            with np.errstate(invalid="ignore"):
                last = np.array([values[-1] for values in found])
            where = np.arange(last.shape[1])
            seen = np.isfinite(last).all(axis=0)
            if logarithmic:
                seen &= (last > 0).all(axis=0)
            axis.plot(where[seen], last.mean(axis=0)[seen], label=variant, marker=MARKERS[i % len(MARKERS)], markersize=5,
                      **_style(i))
            bounds = np.ma.masked_invalid(np.array(every))
            low, high = bounds.min(axis=0), bounds.max(axis=0)
            axis.fill_between(where[seen], low[seen], high[seen], color=PALETTE[i % len(PALETTE)], alpha=0.12,
                              linewidth=0)
        if logarithmic:
            axis.set_yscale("log")
        else:
            axis.set_ylim(-0.03, 1.03)
        axis.set_title(label)
        axis.set_xticks(range(len(names)))
        axis.set_xticklabels(names, rotation=60, ha="right", fontsize=9)
    axes[0, 0].legend(frameon=False, fontsize=9)
    figure.suptitle("gradient health of the blocks (line: last measurement, band: all of them)", fontsize=14)
    return figure


def plot_experts(results: Results):
    """Iterations of each expert's solve, and how the solves ended, against steps."""
    runs = [run for variant in results.variants for run in results.of(variant)[:1]
            if any(name == "iterations" or name.startswith("status_") for name in run.experts)]
    if not runs:
        return None
    figure, axes = plt.subplots(2, len(runs), figsize=(4.6 * len(runs) + 0.8, 6.4), squeeze=False, sharex="col",
                                sharey="row")
    statuses = list(dict.fromkeys(name for run in runs for name, values in run.experts.items()
                                  if name.startswith("status_") and np.nansum(values) > 0))
    for column, run in enumerate(runs):
        experts = run.experts
        step = experts["step"]
        above, below = axes[0, column], axes[1, column]
        if "iterations" in experts:
            for expert in range(experts["iterations"].shape[1]):
                above.plot(step, _smooth(experts["iterations"][:, expert]), label=f"expert {expert}", linewidth=1.4,
                           **_style(expert))
            above.legend(frameon=False, ncol=2, fontsize=10)
        above.yaxis.set_major_locator(MaxNLocator(integer=True))
        above.set_title(f"{run.variant}, seed {run.seed}")
        counts = np.array([np.nansum(experts[name], axis=1) if name in experts else np.zeros(len(step))
                           for name in statuses]).reshape(len(statuses), len(step))
        total = counts.sum(axis=0)
        if statuses and total.max() > 0:
            shares = np.array([_running_mean(100 * c / np.maximum(total, 1)) for c in counts])
            below.stackplot(step, shares, labels=[name[len("status_"):].replace("_", " ") for name in statuses],
                            colors=[PALETTE[(2, 0, 4, 1, 3, 5, 6, 7)[i % 8]] for i in range(len(statuses))], alpha=0.75)
            below.set_ylim(0, 100)
            below.margins(x=0)
        below.set_xlabel("training step")
    axes[0, 0].set_ylabel("iterations of the solve")
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylabel("how solves ended [% of solves]")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    if handles:
        axes[1, 0].legend(handles, labels, loc="lower left", framealpha=0.9, fontsize=10)
    figure.suptitle("expert solves", fontsize=14)
    return figure


# Tables with plots of their own.
OWN_PLOTS = ("blocks", "experts")


def plot_tables(results: Results):
    """Every other table: by the entries of its dimension at the first and the last step, or else by step."""
    shown = list(dict.fromkeys((name, metric) for run in results.runs for name, table in run.tables.items()
                               for metric in table.metrics if name not in OWN_PLOTS))
    if not shown:
        return None
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.8 * rows + 0.6), squeeze=False)
    for axis in axes.flat[len(shown):]:
        axis.axis("off")
    for axis, (name, metric) in zip(axes.flat, shown):
        for i, variant in enumerate(results.variants):
            found = [run.tables[name] for run in results.of(variant)
                     if name in run.tables and metric in run.tables[name].metrics]
            if not found:
                continue
            first = found[0]
            if not first.dimension:
                for k, table in enumerate(found):
                    axis.plot(table.step, table.metrics[metric], label=variant if k == 0 else None, linewidth=1.4,
                              marker=MARKERS[i % len(MARKERS)], markersize=3, **_style(i))
                axis.set_xlabel("training step")
                if first.step.max(initial=0) >= 100:
                    axis.set_xscale("symlog", linthresh=1)
                continue
            where = np.arange(len(first.labels))
            same = [table.metrics[metric] for table in found if table.labels == first.labels and len(table.step)]
            for row, alpha in ((0, 0.4), (-1, 1.0)) if len(first.step) > 1 else ((-1, 1.0),):
                axis.plot(where, np.mean([values[row] for values in same], axis=0), alpha=alpha,
                          label=f"{variant}, step {first.step[row]}", marker=MARKERS[i % len(MARKERS)], markersize=5,
                          **_style(i))
            axis.set_xlabel(first.dimension)
            axis.set_xticks(where[:: max(1, len(where) // 24)])
            axis.set_xticklabels(first.labels[:: max(1, len(where) // 24)], rotation=60, ha="right", fontsize=9)
        values = np.concatenate([line.get_ydata() for line in axis.get_lines()] or [np.zeros(1)])
        values = values[np.isfinite(values)]
        if values.size and values.min() > 0 and values.max() > 100 * values.min():
            axis.set_yscale("log")
        axis.set_title(f"{name}: {metric.replace('_', ' ')}")
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle("tables (means over the seeds where there is a dimension)", fontsize=14)
    return figure


PLOTS = {
    "fields": plot_fields,
    "profiles": plot_profiles,
    "training": plot_training,
    "errors": plot_errors,
    "expected": plot_expected,
    "blocks": plot_blocks,
    "experts": plot_experts,
    "tables": plot_tables,
}
MISSING = {
    "fields": "no field with its reference ('u' and 'u_reference') in the file",
    "profiles": "no field with its reference ('u' and 'u_reference') in the file",
    "training": "no losses and no evaluations in the file",
    "errors": "no errors and no times in the file",
    "expected": "no expectation of the deck speaks of a number in the file",
    "blocks": "no gradient health of blocks in the file (train.health.every: 0, or another experiment)",
    "experts": "no statistics of expert solves in the file",
    "tables": "no tables beside those of blocks and experts in the file",
}


def draw(name: str, results: Results):
    """The plot; of the first unknown, if it shows one."""
    return next(iter(draw_all(name, results).values()))


def draw_all(name: str, results: Results):
    """The plots of that name by file name: one for each unknown where it shows one. None where data lack."""
    names = unknowns(results) if name in ("fields", "profiles") else []
    with plt.rc_context(STYLE):
        if not names:
            return {name: PLOTS[name](results)}
        return {name if len(names) == 1 else f"{name}_{unknown}": PLOTS[name](results, unknown=unknown)
                for unknown in names}


def save(figure, path) -> None:
    # In the figure's own style: saving lays it out. No date inside, so that equal plots are equal files.
    with plt.rc_context(STYLE):
        figure.savefig(path, bbox_inches="tight", metadata={"Software": "rankine-analysis"})
    plt.close(figure)
