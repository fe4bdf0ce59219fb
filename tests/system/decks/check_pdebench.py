"""Computed samples written in PDEBench's layout, and a run that reads them in place of computing.

usage: check_pdebench.py RANKINE DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402


def main() -> int:
    rankine, deck, *launcher = sys.argv[1:]
    splits = {"train": 4, "validation": 1, "test": 2}
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)

        def run(name, ranks, *sets, code=0):
            command = [*on_ranks(launcher, ranks), rankine, "run", deck, "--smoke"]
            command += ["--only", "pi-hc-moe", "--output", str(base / name)]
            for assignment in sets:
                command += ["--set", assignment]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=100)
            assert done.returncode == code, f"exit code {done.returncode}, not {code}\n{done.stdout}"
            return done.stdout

        def errors(name, metrics):
            said = subprocess.run([rankine, "info", "--json", str(base / name)], stdout=subprocess.PIPE, check=True)
            found = json.loads(said.stdout)["variants"]["pi-hc-moe"]
            return np.array([found[metric]["mean"] for metric in metrics])

        # On uniform frames the file has the method's own ones too, so that the reference's residual is known.
        for time, frames, metrics in (("graded", 11, ["rel_l2_step0"]),
                                      ("uniform", 9, ["rel_l2_step0", "reference_residual"])):
            times = [f"formulation.time={time}", f"data.frames={frames}"]
            for ranks in (1, 3):
                run(f"computed_{ranks}.h5", ranks, *times, f"data.write={base}/samples_{ranks}.h5")
            with h5py.File(base / "samples_1.h5") as one, h5py.File(base / "samples_3.h5") as three:
                assert list(one) == [f"{i:04}" for i in range(sum(splits.values()))], list(one)
                for name, sample in one.items():
                    assert sample["data"].shape == (frames, 64, 1) and sample["data"].dtype == np.float32
                    assert np.array_equal(sample["data"], three[name]["data"]), "other samples on 3 ranks"
                    assert np.allclose(sample["grid/t"], np.linspace(0, 500, frames))
                    assert np.allclose(sample["grid/x"], (np.arange(64) + 0.5) / 64)
                    assert np.ptp(sample["data"][0]) == 0, "PDEBench's initial states are constant"
                    config = sample.attrs["config"]
                    assert "seed: 20240507\n" in config and "diffusion: 0.0005\n" in config, config
                first = [float(sample["data"][0, 0, 0]) for sample in one.values()]
                assert len(set(first)) == len(first), "a sample appears twice"

            # The same splits, rounded to float32. (Training makes more of the rounding.)
            run("read.h5", 2, *times, "data.source=pdebench", f"data.path={base}/samples_1.h5")
            difference = np.abs(errors("read.h5", metrics) / errors("computed_1.h5", metrics) - 1)
            assert (0 < difference).all() and (difference < 1e-6).all(), f"{time}: relative difference {difference}"

        for sets, wanted in [
            ([f"data.write={base}/read.h5/samples.h5"], "read.h5' is no folder"),
            (["data.source=pdebench", f"data.path={base}/samples_1.h5", "data.write=again.h5"], "computed samples"),
        ]:
            said = run("refused.h5", 2, *sets, code=1)
            assert said.count("error:") == 1 and "data.write" in said and wanted in said, said
        left = sorted(p.name for p in base.iterdir() if p.suffix not in (".h5", ".xdmf") or "refused" in p.name)
        assert not left, left
    return 0


if __name__ == "__main__":
    sys.exit(main())
