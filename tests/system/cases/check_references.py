"""References that check themselves: the size of unknowns, switching times, poles, shocks, waves, step limits; against SciPy.

usage: check_references.py RANKINE SOURCE_DIR MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import math

import h5py
import numpy
from scipy.integrate import solve_ivp

from cases import main

SLOPES = "walls: {left: {slope: 0}, right: {slope: 0}}"
SOFT = {"formulation": "{method: soft, basis: 4}", "variants": None}
WAVES = {"formulation": "{preset: target, method: soft, march: {substeps: 8}}"}
CELLS = 32
CENTRES = (numpy.arange(128) + 0.5) / 128


def equation(*lines, cells=CELLS):
    return "{name: equation, data_cells: " + str(cells) + ", " + ", ".join(lines) + "}"


def deck(cases, name, pde, cells=CELLS, **more):
    """A deck that trains nothing and stores one reference on all of its cells."""
    sections = {"pde": pde, "grid": f"{{cells: {cells}, frames: 20, tiles: [1, 2]}}",
                "data": "{train: 1, validation: 1, test: 1, frames: 11}",
                "train": "{steps: 0, batch: 1, save_fields: 1}",
                "run": f"{{experiment: pde_training, ranks: 1, seeds: [0], output: {name}.h5}}", **SOFT, **more}
    return cases.deck(f"{name}.yaml", **sections)


def read(cases, name, field="u_reference"):
    with h5py.File(cases.folder / f"{name}.h5") as file:
        run = file["runs/default/seed_0"]
        return run["fields"][field][0], {key: run["summary"][key][()] for key in run["summary"]}


def reference(cases, name, pde, **more):
    """Reference of the test sample [frame][cell] and the table's rows; None where the run failed."""
    done = cases.run("run", deck(cases, name, pde, **more))
    return read(cases, name) if cases.says(name, done, 0) else (None, None)


def relative(a, b):
    return numpy.linalg.norm(a - b) / numpy.linalg.norm(b)


def scipy_solution(rate, start, stops=(), duration=1.0):
    """u at 11 frames; the integration starts anew at each of `stops`."""
    frames = numpy.linspace(0, duration, 11)
    out, state = [start], start
    edges = [0.0, *stops, duration]
    for a, b in zip(edges, edges[1:]):
        inside = frames[(frames > a) & (frames <= b)]
        # f belongs to the open interval.
        f = lambda t, u: rate(min(max(t, a + 1e-12), b - 1e-12), u)
        solved = solve_ivp(f, (a, b), state, method="LSODA", rtol=1e-11, atol=1e-13 * (abs(start).max() or 1),
                           t_eval=sorted({*inside, b}), max_step=(b - a) / 10)
        out += [solved.y[:, list(solved.t).index(t)] for t in inside]
        state = solved.y[:, -1]
    return numpy.array(out)


def sizes(cases):
    """Unknowns of any size, alone and beside others, have references to the same relative accuracy."""
    x = (numpy.arange(CELLS) + 0.5) / CELLS
    D, r = 0.001, 60

    def growth(t, u):
        g = numpy.concatenate([u[:1], u, u[-1:]])
        return D * (g[2:] - 2 * u + g[:-2]) * CELLS**2 + r * u * (1 - u)

    exact = scipy_solution(growth, 1 / (1 + numpy.exp((x - 0.1) / 0.05)))
    for size in ("1e-15", "1e-6", "1", "1e15"):
        pde = equation("parameters: {D: 0.001, r: 60, A: " + size + "}", "flux: '-D*d(u,x)'", "source: 'r*u*(1 - u/A)'",
                       SLOPES, "initial: {expression: 'A/(1+exp((x-0.1)/0.05))'}")
        u, rows = reference(cases, f"growth_{size}", pde, grid=f"{{cells: {CELLS}, frames: 80, tiles: [1, 2]}}",
                            data="{train: 1, validation: 1, test: 1, frames: 11, reference_check: {space_error: 1}}")
        if u is not None:
            error = relative(u / float(size), exact)
            cases.expect(f"growth of size {size}", error < 1e-6, f"error {error}")
    # Two unknowns, one of them tiny; and one that starts at 0 beside walls at 0, driven by a tiny source.
    pde = equation("unknowns: [u, v]", "source: {u: -u, v: 1e-9*u - 3*v}", "walls: periodic",
                   "initial: {u: {expression: 1 + 0*x}, v: {expression: 0*x}}")
    if cases.says("two sizes", cases.run("run", deck(cases, "two", pde)), 0):
        v, _ = read(cases, "two", "v_reference")
        t = numpy.linspace(0, 1, 11)[:, None]
        error = relative(v, 1e-9 * (numpy.exp(-t) - numpy.exp(-3 * t)) / 2 + 0 * v)
        cases.expect("two sizes", error < 1e-6, f"error {error}")


def switching(cases):
    """What acts for a short time acts, however short: conditions, smooth pulses, walls; exact integrals are known."""
    def driven(name, source, exact, *walls, tolerance=1e-6):
        u, _ = reference(cases, name, equation("flux: '-0.05*d(u,x)'", f"source: '{source}'", *(walls or (SLOPES,)),
                                               "initial: {expression: 0*x}"),
                         data="{train: 1, validation: 1, test: 1, frames: 11, reference_check: {space_error: 1}}")
        if u is not None:
            error = abs(u[-1].mean() - exact) / abs(exact)
            cases.expect(name, error < tolerance, f"mean {u[-1].mean()} at the end, right: {exact}")

    driven("window", "if(t > 0.5012 and t < 0.5032, 500, 0)", 1.0)
    driven("shorter window", "if(t >= 0.5012345 and t <= 0.5012346, 1e7, 0)", 1.0)
    driven("two windows", "if(abs(t - 0.3) < 0.0005, 1000, if(abs(t - 0.7) < 0.0001, 5000, 0))", 2.0)
    driven("square of the distance", "if((t - 0.45)^2 < 1e-8, 5000, 0)", 1.0)
    driven("maximum", "max(0, 1 - abs(t - 0.613)/1e-3)*1e3", 1.0)
    driven("smooth pulse", "exp(-((t - 0.37)/1e-4)^2)*1e4", math.sqrt(math.pi))
    driven("rational pulse", "1e-4/((t - 0.61)^2 + 1e-8)", math.atan(0.39e4) + math.atan(0.61e4))
    driven("in a part of space", "if(t > 0.5 and t < 0.501 and x < 0.5, 1000, 0)", 0.5)
    driven("periodic windows", "if(sin(40*pi*t) > 0.99, 1, 0)", 20 * math.acos(0.99) / (20 * math.pi))

    # A wall that opens for a thousandth of the time; SciPy with the same cells, stopped at both times.
    def heated(t, u):
        wall = 1000.0 if 0.4004 < t < 0.4014 else 0.0
        g = numpy.concatenate([[2 * wall - u[0]], u, u[-1:]])
        return 0.05 * (g[2:] - 2 * u + g[:-2]) * CELLS**2

    exact = scipy_solution(heated, numpy.zeros(CELLS), (0.4004, 0.4014))
    u, _ = reference(cases, "wall", equation("flux: '-0.05*d(u,x)'", "walls: {left: {value: 'if(t > 0.4004 and t < 0.4014, 1000, 0)'}, "
                                             "right: {slope: 0}}", "initial: {expression: 0*x}"),
                     data="{train: 1, validation: 1, test: 1, frames: 11, reference_check: {space_error: 1}}")
    if u is not None:
        cases.expect("wall", relative(u, exact) < 1e-5, f"error {relative(u, exact)}")


def poles(cases):
    """A solution that blows up is named and nothing is drawn from it; one that grows fast is no fault."""
    observed = "{train: 2, validation: 1, test: 1, frames: 11, observations: {source: generate, points: 50, noise: 1e-9, write: drawn.h5}}"
    for name, source, initial in (("pole", "1.3*u^2", "{constant: {minimum: 1, maximum: 1.0001}}"),
                                  ("downward pole", "-2*u^2", "{expression: -1 + 0.1*cos(pi*x)}"),
                                  ("cubic pole at rest", "u^3", "{expression: 1 + 0*x}"),
                                  ("cubic pole", "u^3", "{expression: 1 + 0.2*cos(pi*x)}"),
                                  ("pole of a part", "if(x < 0.5, 3*u^2, 0)", "{expression: 1 + 0*x}")):
        done = cases.run("run", deck(cases, "pole", equation("flux: '-0.01*d(u,x)'", f"source: '{source}'", SLOPES,
                                                             f"initial: {initial}"), data=observed))
        cases.says(name, done, 2, "reference solution", "t = 0.", "pde.duration")
        cases.expect(name, not (cases.folder / "drawn.h5").exists() and not (cases.folder / "pole.h5").exists(),
                     "files were written")
    u, _ = reference(cases, "growth", equation("source: 20*u", "walls: periodic", "initial: {expression: 1 + 0*x}"))
    if u is not None:
        error = abs(u[-1] / math.exp(20) - 1).max()
        cases.expect("exponential growth", error < 1e-5, f"error {error}")
    turn = equation("unknowns: [u, v]", "source: {u: 30*v, v: -30*u}", "walls: periodic",
                    "initial: {u: {expression: 1 + 0*x}, v: {expression: 0*x}}")
    u, _ = reference(cases, "turn", turn)
    if u is not None:
        cases.expect("a turning pair", abs(u[-1] - math.cos(30)).max() < 1e-4, str(u[-1][0]))


def shocks(cases):
    """Shocks that a central flux gets wrong are refused, with the check's name, and solved with others; smooth solutions pass."""
    value = "walls: {left: {value: 1}, right: {slope: 0}}"
    wrong = (("Burgers", "u^2/2", "if(x < 0.3, 1, 0)", 0.4, SLOPES),
             ("Burgers on a ring", "u^2/2", "0.5 + 0.5*sin(2*pi*x)", 1, "walls: periodic"),
             ("traffic", "u*(1 - u)", "if(x < 0.3, 0.2, 0.9)", 0.5, SLOPES),
             ("two-phase flow", "u^2/(u^2 + 0.25*(1 - u)^2)", "if(x < 0.2, 1, 0)", 0.3, value),
             ("two-phase flow from a smooth state", "u^2/(u^2 + 0.25*(1 - u)^2)", "0.5*(1 - tanh((x - 0.2)/0.03))", 0.3, value),
             ("a background", "(u - 100)^2/2", "if(x < 0.3, 101, 100)", 0.4, SLOPES),
             ("two-phase flow for a short time", "u^2/(u^2 + 0.25*(1 - u)^2)", "if(x < 0.7, 1, 0)", 0.12, value),
             ("cubic", "u^3", "if(x < 0.5, 1, -1)", 0.1, SLOPES))
    # A shock's own width makes grids differ.
    shock_data = "{train: 1, validation: 1, test: 1, frames: 11, reference_check: {space_error: 1}}"
    for name, flux, initial, duration, walls in wrong:
        pde = equation(f"flux: '{flux}'", f"duration: {duration}", walls, f"initial: {{expression: '{initial}'}}", cells=128)
        done = cases.run("run", deck(cases, "shock", pde, cells=128))
        cases.says(name, done, 2, "data.reference_check.flux_", "x = ", "t = ", "pde.data_cells", "pde.convection: limited")
        limited = pde[:-1] + ", convection: auto}"
        done = cases.run("run", deck(cases, "limited", limited, cells=128, data=shock_data))
        if cases.says(f"{name}, limited", done, 0, "convective flux of the constraint: limited", never=("reference_flux_gap",)):
            u, rows = read(cases, "limited")
            cases.expect(f"{name}, limited", rows["limited_flux"] == 1)
            if name == "Burgers":
                error = abs(u[-1] - (CENTRES < 0.5)).sum() / 64
                cases.expect(f"{name}, limited", error < 0.02, f"relative L1 error {error}")
    # The same, where the user accepts it.
    accepted = "{train: 1, validation: 1, test: 1, frames: 11, reference_check: {space_error: 9, flux_gap: 9, flux_limit: 9}}"
    done = cases.run("run", deck(cases, "accepted", pde, cells=128, data=accepted))
    if cases.says("accepted", done, 0, "reference_flux_gap"):
        cases.expect("accepted", read(cases, "accepted")[1]["reference_flux_gap"] > 0.1)

    water = ("unknowns: [h, q]", "duration: 0.2", "flux: {h: q, q: 'q^2/h + 0.5*h^2'}",
             "walls: {left: {h: {slope: 0}, q: {slope: 0}}, right: {h: {slope: 0}, q: {slope: 0}}}")
    right = (("advection", ("flux: u", "duration: 0.5", "walls: periodic", "initial: {expression: 'sin(2*pi*x) + 0.3*cos(6*pi*x)'}")),
             ("pulse", ("flux: 0.7*u", "walls: periodic", "initial: {expression: 'exp(-((x - 0.3)/0.1)^2)'}", "duration: 0.5")),
             ("rarefaction", ("flux: u^2/2", "duration: 0.4", SLOPES, "initial: {expression: 'if(x < 0.3, 0, 1)'}")),
             ("transonic rarefaction", ("flux: u^2/2", "duration: 0.3", SLOPES, "initial: {expression: 'if(x < 0.5, -1, 1)'}")),
             ("viscous front", ("flux: 'u^2/2 - 0.01*d(u,x)'", "duration: 0.4", SLOPES, "initial: {expression: 'if(x < 0.3, 1, 0)'}")),
             ("dam break", (*water, "initial: {h: {expression: 'if(x < 0.5, 2, 1)'}, q: {expression: 0*x}}")),
             ("weak dam break", (*water, "initial: {h: {expression: 'if(x < 0.5, 1.1, 1)'}, q: {expression: 0*x}}")),
             ("speed that vanishes at walls", ("flux: sin(pi*x)*u", "duration: 0.3", "walls: {left: {value: 0}, right: {value: 0}}",
                                               "initial: {expression: 'exp(-((x - 0.3)/0.1)^2)'}")),
             ("smooth dam break", (*water, "initial: {h: {expression: '1.5 - 0.5*tanh((x - 0.5)/0.05)'}, q: {expression: 0*x}}")))
    for name, lines in right:
        done = cases.run("run", deck(cases, "smooth", equation(*lines, cells=128), cells=128))
        cases.says(name, done, 0, "reference_time_error", "reference_space_error", "reference_flux_gap")
    dam = equation(*water, "convection: limited", "initial: {h: {expression: 'if(x < 0.5, 2, 1)'}, q: {expression: 0*x}}", cells=128)
    done = cases.run("run", deck(cases, "dam", dam, cells=128))
    if cases.says("dam break, limited", done, 0, never=("reference_flux_gap",)):
        h = read(cases, "dam", "h_reference")[0][-1]
        # J. J. Stoker, Water Waves, 1957: a rarefaction, a plateau, a shock; at t = 0.2 for depths 2 and 1.
        depth, speed, front = 1.4538409, 0.4169206, 1.3355700
        s = (CENTRES - 0.5) / 0.2
        exact = numpy.where(s < front, depth, 1)
        fan = (2 * math.sqrt(2) - s)**2 / 9
        exact = numpy.where(s < speed - math.sqrt(depth), numpy.where(s < -math.sqrt(2), 2, fan), exact)
        error = abs(h - exact).sum() / exact.sum()
        cases.expect("dam break, limited", error < 0.01, f"relative L1 error {error}")
    # A steady boundary layer much thinner than a cell, at a wall that the flow meets.
    layer = equation("steady: true", "convection: limited", "flux: 'u - 0.001*d(u,x)'", "source: 0*x",
                     "walls: {left: {value: 0}, right: {value: 1}}")
    done = cases.run("run", deck(cases, "layer", layer, grid="{cells: 32, tiles: [1, 2]}", model="{name: fno, widths: [4], modes: [1, 4], projection: 4}",
                                 data="{train: 1, validation: 1, test: 1, reference_check: {space_error: 9}}"))
    if cases.says("layer", done, 0, never=("reference_flux_gap",)):
        u = read(cases, "layer")[0][-1]
        cases.expect("layer", abs(u[:-1]).max() < 0.02 and 0 < u[-1] < 1, str(u))
    # A second unknown whose shock is small beside the first; parameters that make a shock of some samples.
    small = equation("unknowns: [u, v]", "duration: 0.4", "flux: {u: 0.1*u, v: 10*v^2}",
                     "walls: {left: {u: {slope: 0}, v: {slope: 0}}, right: {u: {slope: 0}, v: {slope: 0}}}",
                     "initial: {u: {expression: 1 + 0*x}, v: {expression: 'if(x < 0.3, 0.05, 0)'}}", cells=128)
    cases.says("a small shock", cases.run("run", deck(cases, "small", small, cells=128)), 2, "data.reference_check.flux_gap")
    drawn = equation("parameters: {nu: {minimum: 1e-5, maximum: 0.1, logarithmic: true}}", "duration: 0.4", "flux: 'u^2/2 - nu*d(u,x)'",
                     SLOPES, "initial: {expression: 'if(x < 0.3, 1, 0)'}", cells=128)
    data = "{train: 8, validation: 8, test: 8, frames: 11}"
    cases.says("a drawn shock", cases.run("run", deck(cases, "drawn", drawn, cells=128, data=data)), 2, "data.reference_check.flux_gap")
    # No convective part, no row of it.
    done = cases.run("run", deck(cases, "diffusion", equation("flux: '-0.05*d(u,x)'", SLOPES, "initial: {expression: 'cos(pi*x)'}")))
    cases.says("diffusion", done, 0, "reference_space_error", never=("reference_flux_gap",))
    done = cases.run("check", deck(cases, "diffusion", equation("flux: '-0.05*d(u,x)'", "convection: limited", SLOPES,
                                                                "initial: {expression: 'cos(pi*x)'}")))
    cases.says("nothing convects", done, 1, "convection: limited", "derivatives alone", "leave convection out")


def waves(cases):
    """References by Fourier transforms, on cells that are fewer than theirs; auxiliary fields; states that are not resolved."""
    n = 96
    x, k = (numpy.arange(n) + 0.5) / n, numpy.fft.rfftfreq(n, 1 / n)
    lines = ("parameters: {nu: 0.02}", "flux: 'u^2/2 - nu*d(u,x)'", "walls: periodic", "discretisation: fourier",
             "initial: {expression: 'sin(2*pi*x) + 0.3*cos(4*pi*x)'}")

    def rate(t, u):
        wave, square = numpy.fft.rfft(u), numpy.fft.rfft(u * u)
        derivative = numpy.where(3 * k < n, -1j * numpy.pi * k * square - 0.02 * (2 * numpy.pi * k)**2 * wave, 0)
        return numpy.fft.irfft(derivative, n)

    exact = scipy_solution(rate, numpy.sin(2 * numpy.pi * x) + 0.3 * numpy.cos(4 * numpy.pi * x), duration=0.4)
    u, rows = reference(cases, "waves", equation("duration: 0.4", *lines, cells=n), **WAVES)
    if u is not None:
        centres = (numpy.arange(CELLS) + 0.5) / CELLS
        shift = numpy.exp(2j * numpy.pi * numpy.outer(centres - x[0], numpy.arange(CELLS // 2)))
        coarse = [(shift * numpy.where(numpy.arange(CELLS // 2) > 0, 2, 1) @ numpy.fft.rfft(frame)[:CELLS // 2]).real / n
                  for frame in exact]
        error = relative(u, numpy.array(coarse))
        cases.expect("waves against SciPy", error < 1e-6, f"{error}")
        cases.expect("waves: halved steps", 0 < rows["reference_time_error"] < 1e-6, str(rows["reference_time_error"]))
    rough = equation("duration: 0.01", *lines[:-1], "initial: {expression: 'sin(2*pi*x) + 0.1*sin(24*pi*x)'}")
    cases.says("waves unresolved", cases.run("run", deck(cases, "unresolved", rough, data="{train: 1, validation: 1, test: 1, "
               "frames: 11, reference_check: {space_error: 1}}", **WAVES)), 0, "lose 10 % of their variation", "take more cells")
    carried = equation("duration: 0.4", *lines, "auxiliary: {p: laplacian(p) = u}", cells=n)
    with_field, _ = reference(cases, "auxiliary", carried, **WAVES)
    cases.expect("an auxiliary field that nothing reads", u is None or with_field is None or numpy.array_equal(u, with_field))
    cases.says("waves of a residual", cases.run("run", deck(cases, "residual", carried)), 1, "use target or local")


def limits(cases):
    """What cannot be integrated is named with its cause and place; the limit is a key; many observations are no fault."""
    late = equation("flux: '-(0.3 - u)*d(u,x)'", "source: '2*(1 + x)'", SLOPES, "initial: {constant: {minimum: 0, maximum: 0.1}}")
    cases.says("late anti-diffusion", cases.run("run", deck(cases, "late", late)), 2, "anti-diffusion", "flux of u", "x = ", "t = 0.")
    timed = equation("flux: '-(0.05 - 0.1*t)*d(u,x)'", SLOPES, "initial: {expression: 'cos(pi*x)'}", "reference_steps: 5000")
    cases.says("anti-diffusion in time", cases.run("run", deck(cases, "timed", timed)), 2, "anti-diffusion", "x = ", "t = ")
    later = equation("flux: '-if(t < 0.5, 0.1, -0.001)*d(u,x)'", SLOPES, "initial: {expression: 'cos(pi*x)'}")
    cases.says("diffusion that turns its sign", cases.run("run", deck(cases, "later", later)), 2, "anti-diffusion", "t = 0.")
    for what, source, initial in (("source", "if(x > 0.5005 and x < 0.5025, 500, 0)", "0*x"), ("source", "exp(-((x - 0.3)/1e-3)^2)*1e3", "0*x"),
                                  ("initial state", "0", "if(x > 0.5005 and x < 0.5025, 100, 0)")):
        narrow = equation("flux: '-0.05*d(u,x)'", f"source: '{source}'", SLOPES, f"initial: {{expression: '{initial}'}}")
        cases.says(f"a narrow {what}", cases.run("run", deck(cases, "narrow", narrow)), 2, f"{what} of u", "narrower than a cell",
                   "pde.data_cells", "x = 0.")
    flat = equation("storage: tanh(5*u)", "source: 1 + 0*x", "flux: '-0.01*d(u,x)'", SLOPES, "initial: {expression: 0*x}", "duration: 2")
    cases.says("flat storage", cases.run("run", deck(cases, "flat", flat)), 2, "storage of u", "x = ", "t = ", "slope")
    quick = ("source: '1e4*sin(1e5*t)'", SLOPES, "initial: {expression: 0*x}")
    done = cases.run("run", deck(cases, "quick", equation(*quick, "reference_steps: 1000")))
    cases.says("fast oscillations", done, 2, "read t", "pde.reference_steps", "1000")
    many = "{train: 1, validation: 1, test: 1, frames: 11, observations: {source: generate, points: 20500, noise: 1e-3}}"
    decay = ("flux: '-0.01*d(u,x)'", "source: -u", SLOPES, "initial: {expression: '2 + cos(pi*x)'}")
    done = cases.run("run", deck(cases, "many", equation(*decay, cells=8), cells=8, data=many,
                                 model="{name: fno2d, widths: [4, 4], modes_t: 2, modes_x: 2, projection: 4}"))
    cases.says("many observations", done, 0)


def units(cases):
    """The same deck in other units: the same relative errors to 1e-6, absolute ones in those units."""
    rows = {}
    for size in ("1", "1e-9", "1e6"):
        for name, lines in (("growth", ("parameters: {U: " + size + "}", "flux: '-0.005*d(u,x)'", "source: '5*u*(1 - u/U)'", SLOPES,
                                        "initial: {gaussian_random_field: {length_scale: 0.15, amplitude: 0.5}, expression: 'U*u^2'}")),
                            ("walls", ("parameters: {U: " + size + "}", "flux: '-0.1*d(u,x)'",
                                       "walls: {left: {value: U}, right: {u: 2, u_x: 1, value: 'U*t'}}",
                                       "initial: {fourier: {modes: 2, amplitude: 0.3}, expression: 'U*(1 - x + 0.1*u*sin(pi*x))'}"))):
            for method in ("{method: soft}", "{experts: [1, 2], basis: 4, preset: target}"):
                key = (name, method)
                path = deck(cases, "units", equation(*lines), formulation=method, train="{steps: 15, batch: 2, save_fields: 1}",
                            data="{train: 4, validation: 1, test: 2, frames: 11, reference_check: {space_error: 1}}")
                if cases.says(f"units {size} {key}", cases.run("run", path), 0):
                    field, summary = read(cases, "units", "u")
                    rows.setdefault(key, {})[size] = (field / float(size), summary)
    for key, by_size in rows.items():
        field, base = by_size["1"]
        for size, (scaled, summary) in by_size.items():
            cases.expect(f"field in units {size} {key}", relative(scaled, field) < 1e-6, str(relative(scaled, field)))
            for row, value in base.items():
                if "seconds" in row or row == "peak_memory" or (row.startswith("reference_") and "residual" not in row):
                    continue
                factor = float(size) if row in ("pde_residual", "reference_residual", "bc_error", "correction_residual") else 1
                same = abs(summary[row] - factor * value) <= 1e-6 * abs(factor * value) + 1e-12 * factor
                cases.expect(f"{row} in units {size} {key}", same or (math.isnan(value) and math.isnan(summary[row])),
                             f"{summary[row]} against {factor} * {value}")


def check(cases):
    for part in (sizes, switching, poles, shocks, waves, limits, units):
        print(part.__name__, flush=True)
        part(cases)


main(check)
