"""What `rankine doctor` says of this installation, in good and in bad surroundings.

usage: check_doctor.py RANKINE MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402

RANKINE, *LAUNCHER = sys.argv[1:]


def doctor(ranks, *arguments, code=0, cwd=None, **environment):
    surroundings = {k: v for k, v in {**os.environ, **environment}.items() if v is not None}
    done = subprocess.run([*on_ranks(LAUNCHER, ranks), RANKINE, "doctor", *arguments], capture_output=True, text=True, timeout=150, cwd=cwd,
                          env=surroundings)
    if done.returncode != code:
        raise SystemExit(f"exit code {done.returncode}, expected {code}\n{done.stdout}{done.stderr}")
    return done.stdout


def check(condition, what):
    if not condition:
        raise SystemExit(what)


def words(report):
    return " ".join(warning["what"] for warning in report["warnings"])


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for ranks in (1, 2):
        report = json.loads(doctor(ranks, "--json"))
        check([test["name"] for test in report["self_test"] if not test["good"]] == [], str(report["self_test"]))
        check(len(report["self_test"]) == 6 and sum(test["seconds"] for test in report["self_test"]) < 60,
              str(report["self_test"]))
        check(report["mpi"]["ranks"] == ranks and report["mpi"]["thread_level"] != "single", str(report["mpi"]))
        check(report["kokkos"]["backend"] and report["kokkos"]["threads"] > 0, str(report["kokkos"]))
        check(report["mpi"]["device_pointers"].split(":")[0] in ("yes", "no"), str(report["mpi"]))
        gpus = report["device"]["gpus_for_this_rank"]
        check(report["device"]["name"] and (gpus > 0) == (report["device"]["memory_total"] is not None), str(report["device"]))
        check(report["disk"]["write_bytes_per_second"] > 0 and report["disk"]["free_bytes"] > 0, str(report["disk"]))
        check(report["python"]["python3"] and report["petsc"]["version"] and report["hdf5"]["version"], str(report))
        check(all(warning["remedy"] for warning in report["warnings"]), str(report["warnings"]))
        check("BLAS" not in words(report), words(report))
        own = report["fft"]["library"] == "Rankine's own"
        check(report["fft"]["library"] and own == ("Fourier" in words(report)), f"{report['fft']}: {words(report)}")
        check(not list(pathlib.Path().iterdir()), "files are left behind")
    text = doctor(1)
    check("self-test" in text and "WRONG" not in text and "good   gradient" in text, text)
    cores = report["processor"]["cores"]
    crowd = json.loads(doctor(cores + 1, "--json"))
    check(f"{cores + 1} ranks share" in words(crowd), words(crowd))
    if cores > 1:
        threads = json.loads(doctor(2, "--json", OPENBLAS_NUM_THREADS=None, OMP_NUM_THREADS=None))
        known = threads["blas"]["threads"] > 1
        check(not known or "the BLAS would use" in words(threads), words(threads))
    # Where nothing can be written.
    lost = json.loads(doctor(1, "--json", code=3, cwd="/proc"))
    check("nothing can be written" in words(lost) and lost["exit_code"] == 3, str(lost))
print(f"{len(report['self_test'])} tests in {sum(test['seconds'] for test in report['self_test']):.1f} s")
