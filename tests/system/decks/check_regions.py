"""The names of `rankine run --profile` are those that PETSc's -log_view and Kokkos' tools are told.

usage: check_regions.py RANKINE TOOL DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402


def main() -> int:
    rankine, tool, deck, *launcher = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        told = pathlib.Path(folder, "regions")
        for ranks in (1, 2):
            command = [*on_ranks(launcher, ranks), rankine, "run", deck, "--smoke", "--profile"]
            command += ["--output", f"{folder}/out.h5", "--", "-log_view"]
            # The second name is that of Kokkos before 4.
            tools = {"KOKKOS_TOOLS_LIBS": tool, "KOKKOS_PROFILE_LIBRARY": tool, "REGION_TOOL_OUTPUT": str(told)}
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100,
                                  env={**os.environ, **(tools if ranks == 1 else {})})
            assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}"
            table = re.search(r"^op +calls +ms .*\n((?:.*\n)*?)\n", done.stdout, re.M)
            assert table, done.stdout
            ops = {line.split()[0]: float(line.split()[1]) for line in table.group(1).splitlines() if re.match(r"[a-z]", line)}
            assert len(ops) > 10 and any(name.endswith("_backward") for name in ops), table.group(0)
            assert "never used" not in done.stdout, done.stdout
            events = dict(re.findall(r"^(\w+) +(\d+) \d+\.\d ", done.stdout, re.M))
            for name in ops:
                assert name in events, f"no event '{name}' in\n{done.stdout}"
            # All steps, of which the profile leaves out the first.
            assert int(events["optimizer_step"]) >= 2, events
            flops = float(re.search(r"^conv2d +\d+ \d+\.\d \S+ +\S+ (\S+) ", done.stdout, re.M).group(1))
            assert flops > 1e6, done.stdout
        regions, depth = set(), 0
        for line in told.read_text().splitlines():
            depth += -1 if line == "end" else 1
            assert depth >= 0, "more ends than beginnings"
            regions.add(line)
        assert depth == 0, f"{depth} regions did not end"
        assert set(ops) <= regions, set(ops) - regions
    print(f"{len(ops)} names")
    return 0


if __name__ == "__main__":
    sys.exit(main())
