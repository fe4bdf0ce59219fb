"""`rankine run --profile`: its tables, in which each kernel has figures, one host read a step of the soft constraint, and the same results as without it.

usage: check_profile.py RANKINE DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402


def main() -> int:
    rankine, deck, *launcher = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)

        def run(name, ranks, *arguments, code=0, deck=deck, variant="pi-sc"):
            command = [*on_ranks(launcher, ranks), rankine, "run", deck, "--smoke"]
            command += [*(["--only", variant] if variant else []), "--output", str(base / name), *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
            assert done.returncode == code, f"exit code {done.returncode}, not {code}\n{done.stdout}"
            return done.stdout

        def kernels(text):
            """The rows of the first table of kernels: calls, ms, share, Mflop, MB, Gflop/s, GB/s, share of the limit."""
            table = re.search(r"^kernel +calls +ms +share +Mflop +MB +Gflop/s +GB/s +of limit\n((?:.+\n)*)", text, re.M)
            assert table, text
            rows = {}
            for line in table.group(1).splitlines():
                numbers = re.fullmatch(r"(\S+) +" + r" +".join([r"([\d.e+-]+)(?: %)?"] * 8), line)
                if numbers:
                    rows[numbers.group(1)] = [float(number) for number in numbers.groups()[1:]]
                else:
                    assert line.startswith("Above 100 %"), f"a kernel without figures: {line!r} in\n{text}"
            return rows

        plain = run("plain.h5", 1)
        assert "profile of" not in plain, plain
        for ranks in (1, 2):
            text = run(f"profile{ranks}.h5", ranks, "--profile")
            for wanted in (r"^profile of pi-sc, seed \d+: means over [1-9]\d* steps of [\d.]+ ms", r"^limits measured here: ",
                           r"^op +calls +ms +share +Mflop +MB +Gflop/s +GB/s +of limit$", r"^optimizer_step +1 ",
                           r"^fourier_layer_backward +[1-9]", r"^adam +1 ",
                           r"^MPI: [\d.]+ ms; "):
                assert re.search(wanted, text, re.M), f"no line {wanted!r} in\n{text}"
            limits = re.search(r"^limits measured here: (\S+) Gflop/s.*, (\S+) GB/s", text, re.M)
            for name, (calls, ms, share, mflop, mb, gflops, gbytes, of_limit) in kernels(text).items():
                assert calls > 0 and mb > 0, f"{name}\n{text}"
                # The figures are rounded to a tenth of a microsecond and of a per cent.
                assert ms < 0.01 or abs(mb / ms - gbytes) <= 0.01 * gbytes + 0.002, f"{name}\n{text}"
                wanted = 100 * max(gflops / float(limits.group(1)), gbytes / float(limits.group(2)))
                assert abs(of_limit - wanted) <= 0.06 + 0.01 * wanted, f"{name}: {wanted} %\n{text}"
            # Adam reads gradient and parameters, and writes these; it reads and writes two moments in double.
            adam, squares = kernels(text)["adam"], kernels(text)["sum_of_squares"]
            assert adam[3] > 0 and adam[4] > 3 * squares[4] / squares[0], text
            reads = re.search(r"^a step: [1-9]\d* launches; ([\d.]+) host reads", text, re.M)
            assert reads, text
            # Where memory is apart the bridge reads too.
            if "0 accesses through the bridge" in text:
                assert reads.group(1) == "1", text
            messages = int(float(re.search(r"^MPI: .*; ([\d.]+) messages", text, re.M).group(1)))
            assert (messages > 0) == (ranks > 1), text
            same = subprocess.run([rankine, "compare", str(base / "plain.h5"), str(base / f"profile{ranks}.h5")],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
            assert same.returncode == 0, same.stdout
        text = run("constraint.h5", 1, "--profile", variant="pi-hc")
        kernels(text)
        assert re.search(r"^constrained_solution .*\d %$", text, re.M), text
        for other in ("mlp", "resnet", "equation"):
            kernels(run(f"{other}.h5", 1, "--profile", deck=str(pathlib.Path(deck).parent / f"{other}.yaml"), variant=""))
        refused = run("none.h5", 1, "--profile", "--dry-run", code=1)
        assert "--profile" in refused and "--dry-run" in refused, refused
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
