#!/usr/bin/env python3
"""Runs decks of the catalogue from scratch and notes what they measured in the catalogue's STATUS.md.

usage: run_catalogue.py RANKINE [--launcher "mpirun -n 2"] [--inputs inputs] [--work FOLDER]
                        [--status FILE] [--again] [NAME | FAMILY | all ...]

NAME is a deck such as local/auglocal, FAMILY a folder such as local; default: all decks with an `about.id`. A deck that was cut off goes on
from its newest checkpoint. A deck whose results of this revision are complete is not run again, unless --again says
so. Nothing enters the table that was not measured here.

A deck passes if all its expectations pass. One that fails makes it fail, else one that is void makes it void, else one that
is undecided makes it undecided (inputs/README.md says when).

Exit code: 0 every deck asked for passed, 4 one did not, 1 bad arguments, else that of the first deck that broke.
"""
import argparse
import datetime
import math
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import time

import h5py

HEAD = """# What the catalogue's decks measured

Written by the target `catalogue` (tests/catalogue/run_catalogue.py), one line a deck, from runs that trained from scratch.
`undecided`: the two sides of an expectation are less than one standard error over the seeds apart, or a test shows neither the
claim nor its opposite. `void`: a condition without which the run says nothing is not met. Neither is a pass.

| id | deck | name | claim | bar | measured | verdict | minutes | date | revision | machine |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def machine() -> str:
    model = platform.machine()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{len(os.sched_getaffinity(0))} cores, {model}"


def scalar(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def about(deck: pathlib.Path, rankine: str) -> dict:
    """`about:` of the deck, as the program resolves it."""
    listed = subprocess.run([rankine, "run", str(deck), "--dry-run"], capture_output=True, text=True)
    if listed.returncode != 0:
        raise SystemExit(f"{deck}: {listed.stdout}{listed.stderr}")
    found, inside = {}, False
    for line in listed.stdout.splitlines():
        if re.match(r"\S", line):
            inside = line.startswith("about:")
        elif inside and (match := re.match(r"  (\w+): (.*)$", line)):
            found[match[1]] = match[2].strip().strip("'\"")
    return found


def verdict(results: pathlib.Path):
    """Bars, what was measured, and the verdict."""
    with h5py.File(results, "r") as file:
        group = file["expectations"]
        bars = [scalar(text) for text in group["expression"][()]]
        outcomes = [scalar(text) for text in group["outcome"][()]] if bars else []
        rows = zip(outcomes, group["verdict"][()], group["value_left"][()], group["value_right"][()],
                   group["standard_error"][()])
        measured = []
        for outcome, holds, left, right, error in rows:
            value = "holds" if holds else "false"
            if not math.isnan(left):
                value = f"{left:.4g} against {right:.4g}"
                if not math.isnan(error):
                    value += f" (s.e. {error:.2g})"
            measured.append(value if outcome == ("pass" if holds else "fail") else f"{value}, {outcome}")
        worst = next((v for v in ("fail", "void", "undecided") if v in outcomes), "pass")
        revision = scalar(file["provenance/git_revision"][()])
        if bool(file["provenance/git_dirty"][()]) if "provenance/git_dirty" in file else False:
            revision += "+"
    return bars, measured, worst if bars else "no bar", revision


def complete(results: pathlib.Path, revision: str) -> bool:
    try:
        with h5py.File(results, "r") as file:
            # What a failed run leaves is marked with complete = 0.
            return "complete" not in file.attrs and scalar(file["provenance/git_revision"][()]) == revision
    except (OSError, KeyError):
        return False


def read_status(path: pathlib.Path) -> dict:
    rows = {}
    if path.exists():
        for line in path.read_text().splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if len(cells) == 11 and re.match(r"\d", cells[0]):
                rows[cells[1]] = line
    return rows


def write_status(path: pathlib.Path, rows: dict) -> None:
    fresh = path.with_suffix(".tmp")
    fresh.write_text(HEAD + "".join(rows[name] + "\n" for name in sorted(rows)))
    os.replace(fresh, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rankine")
    parser.add_argument("what", nargs="*", default=["all"])
    parser.add_argument("--launcher", default="", help="such as 'mpirun -n 2'")
    parser.add_argument("--inputs", type=pathlib.Path, default=pathlib.Path("inputs"))
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("results/catalogue"))
    parser.add_argument("--status", type=pathlib.Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="smoke sizes; needs --status, as it is no measurement")
    arguments = parser.parse_intermixed_args()
    if arguments.smoke and not arguments.status:
        parser.error("--smoke is no measurement: name another --status file than the catalogue's own")
    status = arguments.status or arguments.inputs / "catalogue" / "STATUS.md"

    decks = {str(path.relative_to(arguments.inputs).with_suffix("")).removeprefix("catalogue/"): path
             for path in sorted(arguments.inputs.rglob("*.yaml"))
             if re.search(r"^about:(\n .*)*\n  id:", path.read_text(), re.MULTILINE)}
    chosen = [name for name in decks
              if any(what in ("all", name, name.split("/")[0], name.split("/")[-1]) for what in arguments.what)]
    unknown = [what for what in arguments.what
               if what != "all" and not any(what in (n, n.split("/")[0], n.split("/")[-1]) for n in decks)]
    if unknown or not chosen:
        print(f"run_catalogue: no deck or family {', '.join(unknown)}; there are: {', '.join(decks)}", file=sys.stderr)
        return 1

    version = subprocess.run([arguments.rankine, "--version"], capture_output=True, text=True, check=True).stdout
    built = re.search(r"\(([0-9a-f]+)", version)
    worst = 0
    for name in chosen:
        results = arguments.work / f"{name}.h5"
        results.parent.mkdir(parents=True, exist_ok=True)
        described = about(decks[name], arguments.rankine)
        minutes = None
        if arguments.again or not (built and complete(results, built[1])):
            command = [*shlex.split(arguments.launcher), arguments.rankine, "run", str(decks[name]), "--output",
                       str(results), "--restart", "never" if arguments.again else "auto"]
            if arguments.smoke:
                command.append("--smoke")
            print(f"== {name}", flush=True)
            began = time.monotonic()
            code = subprocess.run(command).returncode
            minutes = (time.monotonic() - began) / 60
            if code not in (0, 4):
                print(f"run_catalogue: {name} ended with exit code {code}; its line in {status} is unchanged",
                      file=sys.stderr)
                worst = worst or code
                continue
        bars, measured, found, revision = verdict(results)
        rows = read_status(status)
        if minutes is None and name in rows:
            continue
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        cells = [described.get("id", "-"), name, described.get("name") or described.get("title", ""),
                 described.get("claim", ""), "<br>".join(f"`{bar}`" for bar in bars), "<br>".join(measured), found,
                 "-" if minutes is None else f"{minutes:.1f}", date, revision[:9], machine()]
        rows[name] = "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        write_status(status, rows)
        print(f"== {name}: {found}", flush=True)
        if found != "pass":
            worst = worst or 4
    return worst


if __name__ == "__main__":
    sys.exit(main())
