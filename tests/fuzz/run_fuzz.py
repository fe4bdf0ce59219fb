"""Builds the fuzzing targets with clang and runs each on the corpus, on large hostile inputs, and then on what libFuzzer finds.

A crash, a report of a sanitizer, an input that takes more than a second of processor time or 256 MB is a failure; the input is
kept in the build folder. With --keep, inputs that reach new code are added to the corpus, the smallest that reach it all.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TARGETS = ("deck", "expression", "data")


def build(arguments):
    folder = pathlib.Path(arguments.build)
    launcher = [f"-DCMAKE_CXX_COMPILER_LAUNCHER={arguments.launcher}"] if arguments.launcher else []
    c_compiler = arguments.clang.replace("clang++", "clang")
    steps = [["cmake", "-S", str(HERE / "targets"), "-B", str(folder), f"-DCMAKE_CXX_COMPILER={arguments.clang}",
              f"-DCMAKE_C_COMPILER={c_compiler}", *launcher],
             ["cmake", "--build", str(folder), "-j", str(arguments.jobs)]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(step)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return folder


def large_inputs():
    """Inputs of up to 1 MB that parsers have had trouble with."""
    mega = 1_000_000
    line = "run: {experiment: x}\n"
    yield "deck", [
        b"[" * mega, b"{a: " * (mega // 4), b"- " * (mega // 2), b"a: &a [*a]\n" * 50_000, b"? " * (mega // 2),
        b"\n" * mega, b" " * mega, b"#" * mega, b"a" * mega, b'"' + b"\\x41" * (mega // 5) + b'"',
        b"!!binary " * (mega // 9), b"&a " * (mega // 3), b"%TAG ! x\n" * (mega // 9), b"'" * mega, b"|\n" * (mega // 2),
        (line + "train:\n" + "".join(f"  k{i}: {i}\n" for i in range(60_000))).encode(),
        (line + "variants:\n" + "".join(f"  v{i}: {{train: {{count: {i}}}}}\n" for i in range(24_000))).encode(),
        (line + "train: {values: [" + "1," * 300_000 + "1]}\n").encode(),
        (line + "sweep: {" + "".join(f"k{i}: 0..999, " for i in range(500)) + "}\n").encode(),
        (line + "sweep: {a: 0..999}\ntrain: {values: [" + "1,\n" * 90_000 + "1]}\n").encode(),
        (line + "sweep: {a: 0..499}\nvariants:\n" + "".join(f"  v{i}:\n" for i in range(900))).encode(),
        (line + "use: self\n").encode(), (line + "use: [" + "more,\n" * 90_000 + "]\n").encode(),
        (line + "a: [" + "aaaaaaab,\n" * 900 + "]\n" + "".join(f"a[{i}*a*a*a*c]: 1\n" for i in range(900))).encode(),
        (line + "a: [b]\n" + "a[b].c[d].".join([""] * 800) + ": 1\n").encode(),
        (line + "expect:\n" + "  - a[default] < 1\n" * 40_000).encode(),
        (line + "expect:\n  - " + "(" * 8000 + "\n").encode(),
        (line + "expect:\n  - " + "not " * 2000 + "a[default] < 1\n").encode(),
        ("a: &a0 [x]\n" + "".join(f"a{i}: &a{i} [" + f"*a{i - 1}, " * 9 + "]\n" for i in range(1, 40))).encode(),
    ]
    yield "expression", [
        b"(" * mega, b"-" * mega, b"u+" * (mega // 2), b"u^" * (mega // 2) + b"u", b"sin(" * (mega // 4), b"1" * mega,
        b"d(" * 100 + b"u" + b",x)" * 100, b"if(u," * (mega // 5), b"max(" + b"u," * (mega // 2) + b"1)", b"," * mega,
        b"d(d(d(d(u^u^u^u,x),x),x),x)", b"*".join([b"sin(u*v)"] * 60), b"d(" + b"*".join([b"sin(u*v*x)"] * 40) + b",x,x)",
        b"f(" * 200 + b"u" + b",v)" * 200, b"1e" + b"9" * 1000, b"u" + b"^2" * 2000,
    ]
    yield "data", [
        b"\x89HDF\r\n\x1a\n" + bytes(mega - 8), b"\x89HDF\r\n\x1a\n" + b"\xff" * (mega - 8), b"PK\x03\x04" + bytes(mega - 4),
        b"PK\x05\x06" * (mega // 4), bytes(mega), b"\xff" * mega, (mega - 8).to_bytes(8, "little") + b"{" * (mega - 8),
        (mega - 8).to_bytes(8, "little") + b"[" * (mega - 8), b"\x1f\x8b\x08" + bytes(mega - 3),
        b"\x1f\x8b\x08" + b"\xff" * (mega - 3), b"\x00\x00\x08\x03" + b"\xff" * 12 + bytes(100),
    ]


def run(target, folder, seconds, arguments):
    """Returns a line of figures; raises SystemExit with what was found."""
    work = folder / "work" / target
    shutil.rmtree(work, ignore_errors=True)
    (work / "found").mkdir(parents=True)
    (work / "large").mkdir()
    for kind, inputs in large_inputs():
        if kind == target:
            for i, content in enumerate(inputs):
                (work / "large" / str(i)).write_bytes(content)
    program, corpus = str(folder / f"fuzz_{target}"), HERE / "corpus" / target
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=16:allocator_may_return_null=0",
                   "UBSAN_OPTIONS": "print_stacktrace=1",
                   "LSAN_OPTIONS": f"suppressions={HERE.parent / 'sanitizers' / 'lsan.supp'}:print_suppressions=0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    limits = ["-timeout=300", "-rss_limit_mb=2000", f"-artifact_prefix={work}/", "-print_final_stats=1"]

    def call(*more):
        done = subprocess.run([program, *limits, *more], capture_output=True, env=environment, cwd=work)
        said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        # A report on HDF5 has its frames below #0, which is the C library's function that it misuses.
        ours = re.search(r"ERROR: AddressSanitizer[^\n]*\n(?:[^#\n]*\n)*(?: *#0 [^\n]* in (?:__asan_|__interceptor_)?"
                         r"(?:mem|str|malloc|free|operator)[^\n]*\n *#1| *#0) \S+ in rankine::[^\n]*", said)
        undefined = re.search(r"^\S+/(src|kernels)/\S+: runtime error:.*", said, re.M)
        if done.returncode != 0 or undefined:
            sys.exit(f"fuzz_{target}: {' '.join(more)[:200]}: exit code {done.returncode}; inputs that fail are kept in {work}\n"
                     f"{said[-6000:]}")
        if ours:
            sys.exit(f"fuzz_{target}: our own code fails where HDF5 is fed with a damaged file:\n{ours.group()[:4000]}")
        return said

    said = call(*(str(file) for file in sorted((work / "large").iterdir())))
    said += call(f"-max_total_time={seconds}", f"-seed={arguments.seed}", "-max_len=100000", str(work / "found"), str(corpus))
    if arguments.keep:
        call("-merge=1", "-set_cover_merge=1", "-use_counters=0", "-max_len=3000", str(corpus), str(work / "found"))
    worst = re.findall(r"slowest input ([\d.]+) s, largest ([\d.]+) MB", said)
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    coverage = re.findall(r"cov: (\d+)", said)
    return (f"fuzz_{target}: {runs[-1]} inputs in {seconds} s, coverage {coverage[-1]}, slowest "
            f"{max(float(w[0]) for w in worst):.3f} s, largest {max(float(w[1]) for w in worst):.1f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--clang", default="clang++")
    parser.add_argument("--build", default="build/fuzz")
    parser.add_argument("--launcher", default="", help="compiler launcher, such as ccache")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--keep", action="store_true", help="add what reaches new code to tests/fuzz/corpus")
    arguments = parser.parse_args()
    folder = build(arguments).resolve()
    targets = arguments.target or TARGETS
    for target in targets:
        print(run(target, folder, arguments.seconds // len(targets), arguments), flush=True)


if __name__ == "__main__":
    main()
