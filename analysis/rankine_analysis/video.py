"""Videos of fields of two and three space axes."""

import numpy as np
from matplotlib.animation import PillowWriter

from . import plots
from .results import Results, ResultsError

MOST_FRAMES = 120


def write_video(results: Results, path, sample: int = 0, unknown: str = "", frames_per_second: float = 10) -> int:
    """An animated GIF over time of maps over x and y: reference, predictions and errors, a column a variant. Returns the
    number of frames; of more than MOST_FRAMES times it shows as many, evenly spread."""
    known = plots.unknowns(results)
    if not known:
        raise ResultsError(f"{results.path}: {plots.MISSING['fields']}; run the deck with train.save_fields: 1 or more")
    unknown = unknown or known[0]
    if unknown not in known:
        raise ResultsError(f"{results.path}: no field '{unknown}' with its reference in the file; choose of {', '.join(known)}")
    runs = plots.first_with_fields(results, unknown)
    first, samples = runs[0].fields, min(run.fields.samples for run in runs)
    if len(first.space) == 1:
        raise ResultsError(f"{results.path}: its fields have one space axis, and a video shows two or three; "
                           "'rankine-analysis report' draws all their times in one picture")
    if first.t.size == 1:
        raise ResultsError(f"{results.path}: its fields have one time, so that nothing moves; 'rankine-analysis report' draws it")
    if not 0 <= sample < samples:
        raise ResultsError(f"{results.path}: no fields of sample {sample} in the file; choose of 0 to {samples - 1}")

    shown = [plots.planes(run, unknown, sample) for run in runs]
    limits = plots.map_limits(shown)
    with plots.plt.rc_context(plots.STYLE):
        figure, axes = plots.map_grid(first, 2, len(runs) + 1)
        maps = [(axes[0, 0], first, shown[0][1], "reference")]
        for column, (run, (u, reference)) in enumerate(zip(runs, shown), 1):
            maps += [(axes[0, column], run.fields, u, "prediction"), (axes[1, column], run.fields, u - reference, "error")]
            axes[0, column].set_title(run.variant)
            axes[1, column].set_title("error")
            axes[1, column].set_xlabel(run.fields.x_label)
        meshes = [plots.draw_map(axis, fields, values[0], kind, limits) for axis, fields, values, kind in maps]
        axes[0, 0].set_title("reference")
        axes[1, 0].axis("off")
        for axis in (axes[0, 0], axes[1, 1]):
            axis.set_ylabel(first.space[1].label)
            axis.tick_params(labelleft=True, labelbottom=True)
        axes[0, 0].set_xlabel(first.x_label)
        plots.colour_bar(figure, meshes[0], axes[0, :], first.labels[unknown])
        plots.colour_bar(figure, meshes[-1], axes[1, :])

        writer = PillowWriter(fps=frames_per_second)
        frames = np.unique(np.linspace(0, first.t.size - 1, min(first.t.size, MOST_FRAMES)).round().astype(int))
        try:
            with writer.saving(figure, str(path), dpi=80):
                for k in frames:
                    for mesh, (_, fields, values, _) in zip(meshes, maps):
                        # The variants of a sweep may have times of their own.
                        mesh.set_array(values[fields.nearest(first.t[k])].T.ravel())
                    figure.suptitle(f"{plots.place(results, runs, sample)}\n{first.time(k)}", fontsize=13)
                    writer.grab_frame()
        except OSError as failure:
            raise ResultsError(f"{path}: cannot write the video: {failure.strerror or failure}; choose another file with -o") \
                from failure
        finally:
            plots.plt.close(figure)
    return frames.size
