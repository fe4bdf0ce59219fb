"""Submits the scripts of jobs/ as they are to a Slurm of its own, preempts, cancels and outlasts jobs, and compares the
results with those of runs that nothing disturbed, bit by bit.

usage: check_slurm.py RANKINE JOBS DECK

Exit code 77, with the reason: this machine cannot run Slurm.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import cluster as slurm

RANKINE, JOBS, DECK = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
PATIENCE = 400  # seconds for anything, on a machine that is busy with other work
QUICK = ("--set", "checkpoint.every_steps=0")
started = time.monotonic()
scenarios = []


def scenario(function):
    scenarios.append(function)
    return function


def say(text):
    print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)


def fail(text):
    raise AssertionError(text)


def wait_for(what, condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    fail(f"waited {seconds} s in vain until {what}")


class Job:
    """A script of jobs/, submitted with `options` of sbatch and `arguments` of its own, in a folder of its own."""

    def __init__(self, script, *arguments, options=(), environment=None):
        self.script = script
        self.folder = pathlib.Path(f"{threading.current_thread().name}")
        self.folder.mkdir(exist_ok=True)
        self.id = CLUSTER.run("sbatch", "--parsable", *options, JOBS / script, *map(str, arguments),
                              cwd=self.folder, environment=environment).stdout.strip()

    def show(self, job=None):
        text = CLUSTER.run("scontrol", "show", "job", "-o", job or self.id, check=False).stdout
        return dict(part.split("=", 1) for part in text.split() if "=" in part)

    def state(self):
        return self.show().get("JobState", "")

    def log(self):
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))

    def ranks(self):
        """Process ids of its ranks."""
        mark, found = f"SLURM_JOB_ID={self.id}".encode(), []
        for pid in slurm.processes_of(CLUSTER.folder):
            try:
                if mark in slurm.environment_of(pid) and os.readlink(f"/proc/{pid}/exe") == str(RANKINE):
                    found.append(pid)
            except OSError:
                pass
        return found

    def checkpoints(self):
        return max((int(path.stem[-8:]) for path in self.folder.glob("*.checkpoints/checkpoint-*.h5")), default=0)

    def wait_for_checkpoints(self, number=3):
        """Until it has saved so many more."""
        goal = self.checkpoints() + number

        def reached():
            if self.state() in ("COMPLETED", "FAILED", "TIMEOUT"):
                fail(f"{self.script} was {self.state()} before it could be stopped:\n{self.log()}")
            return self.checkpoints() >= goal
        wait_for(f"{self.script} saves", reached)

    def wait(self, state="COMPLETED"):
        ends = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")
        last = wait_for(f"{self.script} ends", lambda: self.state() if self.state() in ends else "")
        if last != state:
            fail(f"{self.script} is {last}, not {state} (exit code {self.show().get('ExitCode')}):\n{self.log()}")

    def compare(self, reference="whole.h5", results="results.h5"):
        done = subprocess.run([RANKINE, "compare", reference, self.folder / results], capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"{self.script}: not the results of an undisturbed run:\n{done.stdout}{done.stderr}{self.log()}")

    def expect(self, *texts):
        for text in texts:
            if text not in self.log():
                fail(f"{self.script}: does not say '{text}':\n{self.log()}")


def ended_after(job, act):
    """Seconds from a call until the last rank is gone, and until Slurm has let go of the job."""
    began = time.monotonic()
    act()
    wait_for("the ranks end", lambda: not job.ranks())
    ranks = time.monotonic() - began
    wait_for("the job ends", lambda: job.state() not in ("RUNNING", "COMPLETING"))
    return ranks, time.monotonic() - began


@scenario
def single():
    job = Job("single.sbatch", DECK, *QUICK)
    job.wait()
    job.compare()
    refused = Job("single.sbatch", "nowhere.yaml")
    refused.wait("FAILED")
    if refused.show()["ExitCode"] != "1:0":
        fail(f"exit code {refused.show()['ExitCode']} for a deck that is not there")


@scenario
def preempted():
    job = Job("preemptible.sbatch", DECK)
    job.wait_for_checkpoints()
    ranks, let_go = ended_after(job, lambda: CLUSTER.run("scontrol", "requeue", job.id))
    wait_for("it runs again", lambda: job.state() == "RUNNING")
    say(f"scontrol requeue: ranks ended after {ranks:.1f} s, the job after {let_go:.1f} s")
    job.expect("got SIGTERM: stopped")
    # By hand: Rankine ends with 75, and the script requeues the job.
    job.wait_for_checkpoints()
    began = time.monotonic()
    CLUSTER.run("scancel", "--batch", "--signal=USR1", job.id)
    wait_for("it is requeued", lambda: job.show().get("Restarts") == "2")
    requeued = time.monotonic() - began
    wait_for("it runs again", lambda: job.state() == "RUNNING")
    say(f"USR1: requeued by the script after {requeued:.1f} s, running again after {time.monotonic() - began:.1f} s")
    job.expect("got SIGUSR1: stopped")
    job.wait()
    job.compare()


@scenario
def cancelled():
    job = Job("preemptible.sbatch", DECK)
    job.wait_for_checkpoints()
    ranks, let_go = ended_after(job, lambda: CLUSTER.run("scancel", job.id))
    say(f"scancel: ranks ended after {ranks:.1f} s, the job after {let_go:.1f} s")
    job.wait("CANCELLED")
    job.expect("got SIGTERM: stopped")
    again = Job("single.sbatch", DECK, "--restart", "auto")
    again.wait()
    again.expect("going on from")
    again.compare()


@scenario
def out_of_time():
    """Rankine sees the end of its time come. Its ranks are held up, so that a minute passes without work."""
    job = Job("preemptible.sbatch", DECK, options=("--time=1", "--ntasks=1"))
    job.wait_for_checkpoints()
    for pid in job.ranks():
        os.kill(pid, signal.SIGSTOP)
    begin = CLUSTER.run("squeue", "-h", "-j", job.id, "-o", "%S").stdout.strip()
    time.sleep(max(0, time.mktime(time.strptime(begin, "%Y-%m-%dT%H:%M:%S")) + 31 - time.time()))
    for pid in job.ranks():
        os.kill(pid, signal.SIGCONT)
    wait_for("it is requeued", lambda: job.show().get("Restarts") == "1")
    job.expect("the wall time is nearly over: stopped")
    job.wait()
    job.compare()


@scenario
def chained():
    """The first link hits Slurm's limit while it is held up; the second ends the chain."""
    job = Job("chained.sbatch", DECK, options=("--time=1", "--ntasks=1"))
    job.wait_for_checkpoints()
    for pid in job.ranks():
        os.kill(pid, signal.SIGSTOP)
    successor = wait_for("there is a successor", lambda: CLUSTER.run(
        "squeue", "-h", "-n", "rankine-chain", "--state=PENDING", "-o", "%i").stdout.strip())
    job.wait("TIMEOUT")
    say("a job hit its time limit")
    # Slurm wakes it and sends SIGTERM; whichever it sees first, the signal or the clock, it stops in order.
    clock = "the wall time is nearly over"
    job.expect((clock if clock in job.log() else "got SIGTERM") + ": stopped ")

    def over():
        state = job.show(successor).get("JobState")
        if state not in ("COMPLETED", "PENDING", "RUNNING", "COMPLETING"):
            fail(f"the second link is {state}:\n{job.log()}")
        return state == "COMPLETED"
    wait_for("the second link ends", over)
    job.expect("going on from")
    job.compare()
    wait_for("the chain is over", lambda: not CLUSTER.run("squeue", "-h", "-n", "rankine-chain").stdout.strip())


@scenario
def sweep():
    seeds = ("--set", "run.seeds=[0, 1]")
    job = Job("sweep.sbatch", DECK, *seeds, *QUICK, "--output", "results.h5", options=("--array=1-4",))
    collect = Job("collect.sbatch", "results.h5", 4, options=(f"--dependency=afterok:{job.id}",))
    collect.wait()
    collect.compare("whole_sweep.h5")
    collect.expect("4 runs in 4 files")
    (job.folder / "results.task_2_of_4.h5").unlink()
    (job.folder / "results.h5").unlink()
    Job("collect.sbatch", "results.h5", 4).wait("FAILED")


@scenario
def multi_node():
    # Both nodes are this machine: shared memory would take ranks of different nodes for the same.
    job = Job("multi_node.sbatch", DECK, environment={"OMPI_MCA_btl": "self,tcp"})
    job.wait_for_checkpoints()
    if len(job.ranks()) != 4:
        fail(f"{len(job.ranks())} ranks instead of 4")
    ranks, let_go = ended_after(job, lambda: CLUSTER.run("scontrol", "requeue", job.id))
    say(f"scontrol requeue on two nodes: ranks ended after {ranks:.1f} s, the job after {let_go:.1f} s")
    job.expect("got SIGTERM: stopped")
    job.wait()
    job.expect("going on from")
    job.compare()


@scenario
def gpu():
    job = Job("gpu.sbatch", DECK, *QUICK)
    job.wait()
    job.compare()
    info = json.loads(subprocess.run([RANKINE, "info", "--json", job.folder / "results.h5"], capture_output=True, text=True,
                                     check=True).stdout)
    environment = info["provenance"]["environment"].splitlines()
    if "SLURM_GPUS_ON_NODE=2" not in environment or info["provenance"]["ranks"] != "2":
        fail(f"not 2 ranks with 2 GPUs: {environment}")
    refused = Job("gpu.sbatch", DECK, options=("--gpus-per-node=1",))
    refused.wait("FAILED")
    refused.expect("give each rank one")


def reference(name, *options):
    done = subprocess.run([RANKINE, "run", DECK, "--output", name, "--set", "checkpoint.every_steps=0", *options],
                          capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise SystemExit(f"the undisturbed run ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def run_scenarios(names):
    failures = []

    def attempt(function):
        try:
            function()
            say(f"{function.__name__}: passed")
        except BaseException as error:  # noqa: every kind is reported and ends the test
            failures.append(function.__name__)
            say(f"{function.__name__}: FAILED: {error}")
    chosen = [function for function in scenarios if not names or function.__name__ in names]
    threads = [threading.Thread(target=attempt, args=(function,), name=function.__name__, daemon=True) for function in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def main():
    global CLUSTER
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda number, frame: sys.exit(f"got signal {number}"))
    try:
        slurm.Cluster.check()
    except slurm.CannotStart as reason:
        print(f"SKIPPED: {reason}")
        return 77
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rankine_slurm_"))
    CLUSTER = slurm.Cluster(folder)
    try:
        CLUSTER.start()
        for name in ("bin", "tmp", "work"):
            (folder / name).mkdir()
        (folder / "bin" / "rankine").symlink_to(RANKINE)
        os.chdir(folder / "work")
        # The ranks share few cores, maybe as root in a container with a loopback device only.
        CLUSTER.environment.update(
            PATH=f"{folder}/bin:{os.environ['PATH']}", TMPDIR=str(folder / "tmp"), OMPI_ALLOW_RUN_AS_ROOT="1",
            OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_hwloc_base_binding_policy="none",
            OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_btl_tcp_if_include="lo",
            OMPI_MCA_oob_tcp_if_include="lo")
        say("Slurm is up: " + CLUSTER.run("sinfo", "--version").stdout.strip())
        reference("whole.h5")
        reference("whole_sweep.h5", "--set", "run.seeds=[0, 1]")
        failures = run_scenarios(os.environ.get("RANKINE_SLURM_SCENARIOS", "").split())
        if failures:
            print(CLUSTER.logs())
        say(f"{len(failures)} failures{': ' if failures else ''}{', '.join(failures)}")
        return 1 if failures else 0
    finally:
        os.chdir("/")
        CLUSTER.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
