"""Tables of metrics by variant, and the comparison of two result files."""

import csv
import io
from typing import Dict, List

import numpy as np

from .results import Results

STATISTICS = ("mean", "std", "median", "min", "max", "count")


def metric_table(results: Results) -> List[dict]:
    """One row a metric and variant: statistics over the seeds. Timings come after the metrics."""
    rows = []
    for kind in ("summary", "timing"):
        collected: Dict[str, Dict[str, list]] = {}
        labels = {}
        for run in results.runs:
            for name, metric in getattr(run, kind).items():
                collected.setdefault(name, {}).setdefault(run.variant, []).append(metric.value)
                labels.setdefault(name, (metric.unit, metric.long_name))
        for name, by_variant in collected.items():
            for variant in results.variants:
                values = np.asarray(by_variant.get(variant, []), dtype=float)
                if values.size == 0:
                    continue
                rows.append({
                    "kind": kind, "metric": name, "variant": variant, "unit": labels[name][0],
                    "long_name": labels[name][1],
                    "mean": values.mean(), "std": values.std(ddof=1) if values.size > 1 and np.isfinite(values).all() else float("nan"),
                    "median": np.median(values), "min": values.min(), "max": values.max(), "count": values.size,
                })
    return rows


def number(value: float) -> str:
    return "-" if not np.isfinite(value) else f"{value:.4g}"


def with_spread(row: dict) -> str:
    return number(row["mean"]) if row["count"] == 1 else f"{number(row['mean'])} ± {number(row['std'])}"


def _grid(rows: List[dict], variants: List[str]):
    names = list(dict.fromkeys((row["kind"], row["metric"]) for row in rows))
    by_key = {(row["kind"], row["metric"], row["variant"]): row for row in rows}
    lines = []
    for kind, name in names:
        present = [by_key[kind, name, v] for v in variants if (kind, name, v) in by_key]
        unit = present[0]["unit"]
        title = name if unit in ("1", "") else f"{name} [{unit}]"
        lines.append([title] + [with_spread(by_key[kind, name, v]) if (kind, name, v) in by_key else "-"
                                for v in variants])
    return [["metric"] + variants] + lines


def text_table(rows: List[dict], variants: List[str]) -> str:
    cells = _grid(rows, variants)
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]).rstrip()
                     for line in cells)


def markdown_table(rows: List[dict], variants: List[str]) -> str:
    cells = _grid(rows, variants)
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    lines.insert(1, "|---|" + "---:|" * len(variants))
    return "\n".join(lines)


def csv_table(rows: List[dict]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, ["kind", "metric", "variant", "unit", *STATISTICS, "long_name"],
                            lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def verdict_lines(results: Results) -> List[str]:
    lines = []
    for e in results.expectations:
        values = f"  ({number(e['left'])} against {number(e['right'])})" if np.isfinite(e["left"]) else ""
        lines.append(f"{e['outcome']}: {e['expression']}{values}")
    return lines


def comparison(a: Results, b: Results) -> str:
    """Metrics of two files side by side, with the ratio of the means."""
    first = {(r["metric"], r["variant"]): r for r in metric_table(a)}
    second = {(r["metric"], r["variant"]): r for r in metric_table(b)}
    cells = [["metric", "variant", "A", "B", "B / A"]]
    for key in list(first) + [k for k in second if k not in first]:
        left, right = first.get(key), second.get(key)
        ratio = right["mean"] / left["mean"] if left and right and left["mean"] else float("nan")
        cells.append([key[0], key[1], with_spread(left) if left else "-", with_spread(right) if right else "-",
                      number(ratio)])
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    lines = [f"A: {a.path}", f"B: {b.path}", ""]
    lines += ["  ".join([line[0].ljust(widths[0]), line[1].ljust(widths[1])]
                        + [c.rjust(w) for c, w in zip(line[2:], widths[2:])]).rstrip() for line in cells]
    return "\n".join(lines)
