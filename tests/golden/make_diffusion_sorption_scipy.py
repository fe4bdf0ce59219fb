#!/usr/bin/env python3
"""Writes diffusion_sorption_scipy.txt: the PDEBench diffusion-sorption problem on 256 cells, integrated by SciPy.

    python3 make_diffusion_sorption_scipy.py > diffusion_sorption_scipy.txt

An independent check of the reference data: another language, another (explicit) integrator, tight tolerances.
Each line holds u0, t and the values of all cells.
"""

import numpy as np
import scipy
from scipy.integrate import solve_ivp

CELLS = 256
TIMES = [1.0, 5.0, 50.0, 500.0]
INITIAL_VALUES = [0.01, 0.1, 0.19]

DIFFUSION, POROSITY, DENSITY, FREUNDLICH, EXPONENT = 5e-4, 0.29, 2880.0, 3.5e-4, 0.874


def rhs(_, u):
    dx = 1.0 / CELLS
    padded = np.concatenate(([1.0], u, [DIFFUSION * (u[-2] - u[-1]) / dx]))
    sorption = (1 - POROSITY) / POROSITY * DENSITY * FREUNDLICH * EXPONENT
    retardation = 1 + sorption * (np.maximum(u, 0) + 1e-6) ** (EXPONENT - 1)
    return DIFFUSION / retardation * (padded[:-2] - 2 * padded[1:-1] + padded[2:]) / dx**2


def main():
    print(f"# cells {CELLS}; columns: u0, t, u[0..cells); scipy {scipy.__version__} RK45, rtol 1e-8, atol 1e-10")
    for u0 in INITIAL_VALUES:
        solution = solve_ivp(
            rhs, (0, TIMES[-1]), np.full(CELLS, u0), t_eval=TIMES, method="RK45", rtol=1e-8, atol=1e-10
        )
        for t, u in zip(solution.t, solution.y.T):
            print(" ".join(f"{value:.12g}" for value in [u0, t, *u]))


if __name__ == "__main__":
    main()
