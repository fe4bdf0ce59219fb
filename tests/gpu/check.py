"""What only a machine with a GPU can show: unit tests, sanitizer, equal bits on 1 and 2 ranks, and the steps of the main jobs with
their launches, host reads and share of the machine's limits. Ends after eight minutes at most.

usage: check.sh BUILD [--tiny]

BUILD is a folder in which Rankine and its tests were built; nothing is built here. On a build without CUDA the same is done but for
the sanitizer. --tiny: a few tests, and jobs at sizes that take a moment. Exit code 1 where a check failed.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 480
SANITIZED = [("test_kernels", "Launch*"), ("test_kernels", "*Sums*"), ("test_kernels", "Floats*:Numeric*:Words*:Indexing*"),
             ("test_kernels", "Products*:Reals*"), ("test_kernels", "Conv*:Pooling*"), ("test_kernels", "Norm*"), ("test_fft", "*")]
TRANSFORMER = """
run: {experiment: training, seeds: [0], output: out.h5}
data: {name: text, path: texts, length: 128}
model:
  blocks:
    - {name: embedding, vocabulary: 256, units: 128}
    - {name: transformer, heads: 4, rotary: true}
    - {name: transformer, heads: 4, rotary: true}
    - {name: layer_norm}
    - {name: dense, units: 256}
train: {steps: 100, batch: 32, shards: 4, learning_rate: 1e-3, optimizer: {name: adam}}
"""

parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("build", type=pathlib.Path)
parser.add_argument("--tiny", action="store_true")
options = parser.parse_args()
build, tiny = options.build.resolve(), options.tiny
rankine = build / "bin/rankine"
if not rankine.is_file():
    sys.exit(f"check.sh: {build}: holds no bin/rankine; name a folder that Rankine was built in, such as build/cuda")
end = time.monotonic() + SECONDS
failures = []
environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
               "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
               "OMPI_MCA_hwloc_base_binding_policy": "none", "RANKINE_SHARE_GPUS": "1", **os.environ}


def start(*command, most=SECONDS):
    """(exit code, output); 124 where the time is up."""
    left = max(end - time.monotonic(), 0.1)
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=min(left, most), env=environment)
    except subprocess.TimeoutExpired:
        return 124, "it did not end in time"
    return done.returncode, done.stdout


def verdict(name, bad, good):
    """One line of the report; `bad`: (what, output) of each failure."""
    for what, output in bad:
        failures.append(f"{name}: {what}")
        print(f"--- {name}: {what} failed\n" + "\n".join(output.splitlines()[-15:]))
    print(f"{'FAILED' if bad else 'good  '}  {name}: {f'{len(bad)} failed' if bad else good}", flush=True)


def unit_tests():
    programs = sorted(path for path in build.glob("tests/unit/*/test_*") if path.is_file() and os.access(path, os.X_OK))
    programs = [path for path in programs if not tiny or path.name == "test_fft"]
    with concurrent.futures.ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 2) // 2))) as pool:
        done = list(pool.map(lambda path: start(path, most=120), programs))
    bad = [(path.name, text) for path, (code, text) in zip(programs, done) if code != 0]
    verdict("unit tests", bad if programs else [("none was found", "build with -DRANKINE_TESTS=ON")], f"{len(programs)} programs")


def sanitizer():
    bad, open_ends = [], []
    for program, tests in SANITIZED:
        for tool in ("memcheck", "racecheck") if (program, tests) in SANITIZED[:2] else ("memcheck",):
            code, text = start("compute-sanitizer", "--tool", tool, "--error-exitcode", "1", build / "tests/unit/kernels" / program,
                               f"--gtest_filter={tests}", most=60)
            if code == 124:  # it slows programs down a hundredfold
                open_ends.append(f"{tool} of {program} {tests}")
            elif code != 0:
                bad.append((f"{tool} of {program} {tests}", text))
    verdict("compute-sanitizer", bad, f"{len(SANITIZED)} groups of tests" + (f", unfinished: {', '.join(open_ends)}" if open_ends else ""))


def ranks(mpirun):
    bad = []
    decks = ["mlp"] if tiny else ["diffusion_sorption", "mlp", "resnet"]
    for name in decks:
        for count in (1, 2):
            code, text = start(mpirun, "-n", count, rankine, "run", ROOT / f"inputs/{name}.yaml", "--smoke", "--output",
                               f"ranks_{count}.h5", *DATA.get(name, []))
            if code != 0:
                bad.append((f"{name} on {count} ranks", text))
        code, text = start(rankine, "compare", "ranks_1.h5", "ranks_2.h5")
        if code != 0:
            bad.append((f"the bits of {name}", text))
    verdict("equal bits on 1 and 2 ranks", bad, f"decks: {', '.join(decks)}")


def write_data():
    """Noise in the place of images and texts, because a cluster may have none."""
    noise = random.Random(1)
    pathlib.Path("noise").mkdir()
    for part, count in (("train", 4000), ("t10k", 200)):
        pathlib.Path(f"noise/{part}-images-idx3-ubyte").write_bytes(
            b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28)) + noise.randbytes(count * 784))
        pathlib.Path(f"noise/{part}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(i % 10 for i in range(count)))
    pathlib.Path("texts").mkdir()
    pathlib.Path("texts/noise.txt").write_bytes(noise.randbytes(400000))
    pathlib.Path("transformer.yaml").write_text(TRANSFORMER)


def settings(**values):
    return [word for key, value in values.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


IMAGES = settings(data__path="noise", data__train=3000, data__validation=100, data__test=100, train__epochs=0)
DATA = {name: settings(data__path="noise") for name in ("mlp", "resnet")}
SC = ["--only", "pi-sc", *settings(train__evaluate_every=0, data__train=64, data__validation=1, data__test=1)]
LARGE = [*SC, *settings(grid__cells=1024, grid__frames=100, data__train=4, pde__data_cells=1024)]
JOBS = [("SC, 64x41, batch 4", "diffusion_sorption", 200, SC),
        ("SC, 64x41, batch 64", "diffusion_sorption", 100, [*SC, *settings(train__batch=64)]),
        ("SC, 1024x101, batch 4", "diffusion_sorption", 30, LARGE),
        ("MLP, batch 128", "mlp", 200, IMAGES),
        ("residual network, batch 100", "resnet", 60, IMAGES),
        ("transformer, batch 32", "transformer", 60, [])]


def found(pattern, text):
    return (re.findall(pattern, text, re.M) or ["?"])[0]


def steps():
    rows, limits, bad = [], "", []
    jobs = JOBS[::3] + JOBS[5:] if tiny else JOBS
    for name, deck, count, arguments in jobs:
        path = pathlib.Path("transformer.yaml") if deck == "transformer" else ROOT / f"inputs/{deck}.yaml"
        outputs = []
        for profile in ([], ["--profile"]):
            code, text = start(rankine, "run", path, "--output", "out.h5", *arguments, "--set", "run.seeds=[0]", "--set",
                               f"train.steps={5 if tiny else count}", *profile)
            if code not in (0, 4):  # 4: so few steps keep no promise of the deck
                bad.append((f"{name}{' --profile' if profile else ''}", text))
            outputs.append(text)
        plain, profiled = outputs
        limits = found(r"^limits measured here: (.*)", profiled)
        shares = [(float(share), float(of_limit)) for share, of_limit in re.findall(r" ([\d.]+) %.* ([\d.]+) %$", found(r"^kernel .*\n((?:.+\n)*)", profiled), re.M)]
        all_shares = sum(share for share, _ in shares)
        milliseconds = found(r"^seconds_per_step \[s\] +(\S+)", plain)
        rows.append((name, f"{1e3 * float(milliseconds):.3f}" if milliseconds != "?" else "?",
                     found(r"^a step: ([\d.]+) launches", profiled), found(r"; ([\d.]+) host reads", profiled),
                     f"{sum(s * of for s, of in shares) / all_shares:.0f} %" if all_shares else "?"))
        if "?" in rows[-1] and not bad:
            bad.append((f"the figures of {name}", profiled))
    verdict("steps", bad, f"{len(jobs)} jobs")
    return rows, limits


code, text = start(rankine, "doctor", "--json", most=120)
if code not in (0, 3):
    sys.exit(f"check.sh: rankine doctor ends with {code}\n{text}")
report = json.loads(text[text.index("{"):])
gpu = report["device"]["memory_total"] is not None
mpirun = os.environ.get("MPIEXEC") or shutil.which("mpirun") or shutil.which("mpiexec")
print(f"{build}: {report['kokkos']['backend']} on {report['device']['name']}; device pointers in MPI: {report['mpi']['device_pointers']}")
missing = [] if gpu else ["no GPU: the same on the host, without compute-sanitizer"]
if gpu and not shutil.which("compute-sanitizer"):
    missing.append("no compute-sanitizer on PATH: memory errors are not looked for")
if not mpirun:
    missing.append("no mpirun on PATH (or in MPIEXEC): bits on 2 ranks are not compared")
print("missing: " + ("; ".join(missing) if missing else "nothing"))

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    write_data()
    rows, limits = steps()
    if mpirun:
        ranks(mpirun)
    unit_tests()
    if gpu and shutil.which("compute-sanitizer"):
        sanitizer()
    os.chdir("/")

print(f"\n{'a training step':<28}{'ms':>10}{'launches':>10}{'host reads':>12}{'of limit':>10}")
for name, *figures in rows:
    print(f"{name:<28}" + "".join(f"{figure:>{width}}" for figure, width in zip(figures, (10, 10, 12, 10))))
print(f"limits: {limits}; of limit: mean over operations, by their share of the time, each waited for\n"
      f"{SECONDS - (end - time.monotonic()):.0f} s" + "".join(f"\nFAILED: {failure}" for failure in failures))
sys.exit(1 if failures else 0)
