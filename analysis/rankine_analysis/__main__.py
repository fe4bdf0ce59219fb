"""The command rankine-analysis."""

import argparse
import sys
from pathlib import Path

from . import tables
from .results import Results, ResultsError


def report(arguments) -> int:
    several = len(arguments.results) > 1
    for path in map(Path, arguments.results):
        folder = Path(arguments.output) if arguments.output else path.parent
        one_report(path, folder / f"{path.stem}_report" if several or not arguments.output else folder)
    return 0


def one_report(path: Path, folder: Path) -> None:
    from . import plots  # matplotlib takes a second: only where it is needed

    with Results(path) as results:
        if not results.runs:
            raise ResultsError(f"{path}: holds no runs")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(f"{folder}: cannot write the report: {error.strerror}; choose another folder with -o") \
                from error
        rows = tables.metric_table(results)
        verdicts = tables.verdict_lines(results)
        print(results.title)
        lacks = f"incomplete: the run failed before it had {results.missing}" if results.missing else ""
        if lacks:
            print(lacks)
        if rows:
            print(f"\n{tables.text_table(rows, results.variants)}")
        if verdicts:
            print("\n" + "\n".join(verdicts))

        markdown = [f"# {results.title}", ""] + ([lacks, ""] if lacks else [])
        if rows:
            markdown += [tables.markdown_table(rows, results.variants), "",
                         "Mean ± standard deviation over the seeds.", ""]
            (folder / "metrics.csv").write_text(tables.csv_table(rows), encoding="utf-8")
        if verdicts:
            markdown += ["## Expectations", ""] + [f"- {line}" for line in verdicts] + [""]
        written, left_out = [], []
        for name in plots.PLOTS:
            for file_name, figure in plots.draw_all(name, results).items():
                if figure is None:
                    left_out.append(f"{name}: {plots.MISSING[name]}")
                    continue
                plots.save(figure, folder / f"{file_name}.png")
                written.append(f"{file_name}.png")
                markdown += [f"![{file_name}]({file_name}.png)", ""]
        origin = results.provenance
        known = [key for key in ("softwareVersion", "git_revision", "ranks", "start_utc", "stop_utc") if origin.get(key)]
        if known:
            markdown += ["## Provenance", ""] + [f"- {key}: {origin[key]}" for key in known] + [""]
        (folder / "report.md").write_text("\n".join(markdown), encoding="utf-8")
        print(f"\n{folder}: report.md{', metrics.csv' if rows else ''}{''.join(', ' + name for name in written)}")
        for line in left_out:
            print(f"left out: {line}")
        if results.others:
            print(f"left aside, since it is not of Rankine's layout: {', '.join(results.others)}")


def compare(arguments) -> int:
    with Results(arguments.a) as a, Results(arguments.b) as b:
        print(tables.comparison(a, b))
    return 0


def video(arguments) -> int:
    from .video import write_video

    path = Path(arguments.results)
    output = Path(arguments.output) if arguments.output else path.with_name(f"{path.stem}_video.gif")
    if output.suffix.lower() != ".gif":
        raise ResultsError(f"{output}: a video is a GIF; choose a name that ends in .gif with -o")
    with Results(path) as results:
        frames = write_video(results, output, arguments.sample, arguments.unknown, arguments.rate)
    print(f"{output}: {frames} frames")
    return 0


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return value


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="rankine-analysis", description="Tables, plots and videos of Rankine's results.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("report", help="a page for each results.h5: its table, verdicts and plots")
    command.add_argument("results", nargs="+", help="what 'rankine run' has written")
    command.add_argument("-o", "--output", metavar="FOLDER",
                         help="of the page, or of several pages' folders <results>_report; default: beside the results")
    command.set_defaults(run=report)
    command = commands.add_parser("compare", help="metrics of two results.h5 side by side")
    command.add_argument("a")
    command.add_argument("b")
    command.set_defaults(run=compare)
    command = commands.add_parser("video", help="an animated GIF of fields of two or three space axes over time")
    command.add_argument("results", help="what 'rankine run' has written")
    command.add_argument("-o", "--output", metavar="FILE", help="default: <results>_video.gif beside the results")
    command.add_argument("--sample", type=int, default=0, metavar="N", help="of the stored test samples, from 0 on; default: 0")
    command.add_argument("--unknown", default="", metavar="NAME", help="default: the first")
    command.add_argument("--rate", type=positive, default=10, metavar="N", help="frames a second; default: 10")
    command.set_defaults(run=video)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except ResultsError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
