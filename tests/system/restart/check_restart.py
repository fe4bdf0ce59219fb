"""Interrupts runs in every way and compares the final results with those of an uninterrupted run, bit by bit.

usage: check_restart.py TEST RANKINE FAULTS DECK MPIEXEC NPFLAG RANKS [MPIEXEC FLAG ...]

TEST is kills:<number>, failing:<number>, calls:<number>, ranks, signals, device, walltime, deck, damage, longer, groups, petsc, lock,
data, making, evaluating, finished, experiments, or windows. FAULTS is the library of io_faults.cpp.
"""
import collections
import errno
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from program import on_ranks  # noqa: E402

TEST, RANKINE, FAULTS, DECK, *LAUNCHER = sys.argv[1:]
jobs = []
PATIENCE = 60  # seconds in which a job must end after one of its ranks died


def command(ranks, *arguments):
    return [*on_ranks(LAUNCHER, ranks), RANKINE, "run", DECK, *arguments]


def start(ranks, *arguments, **environment):
    """The job, writing to a log file, in a session of its own."""
    log = open("log.txt", "a+")
    log.seek(0, os.SEEK_END)
    job = subprocess.Popen(command(ranks, *arguments), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                           env={**os.environ, **environment})
    job.log, job.begin = log, log.tell()
    jobs.append(job)
    return job


def text_of(job):
    job.log.seek(job.begin)
    return job.log.read()


def finish(job, seconds=200):
    """(exit code, text)"""
    code = job.wait(seconds)
    text = text_of(job)
    job.log.close()
    return code, text


def run(ranks, *arguments, **environment):
    return finish(start(ranks, *arguments, **environment))


def expect(code, done):
    if done[0] != code:
        raise SystemExit(f"exit code {done[0]}, expected {code}\n{done[1]}")
    return done[1]


def ranks_of(job):
    """Process ids of the job's ranks, as far as they run."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
            except OSError:
                pass
    found, left = [], [job.pid]
    while left:
        pid = left.pop()
        left += children.get(pid, [])
        try:
            if os.readlink(f"/proc/{pid}/exe") == os.path.realpath(RANKINE):
                found.append(pid)
        except OSError:
            pass
    return sorted(found)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.002)
    raise SystemExit("waited in vain")


def checkpoints():
    return sorted(pathlib.Path("results.h5.checkpoints").glob("checkpoint-*.h5"))


def newest():
    """Number of the newest checkpoint; with several groups of ranks the sum of theirs."""
    folder = pathlib.Path("results.h5.checkpoints")
    return sum(max((int(path.stem[-8:]) for path in each.glob("checkpoint-*.h5")), default=0)
               for each in [folder, *folder.glob("group_*")])


def compare(first="whole.h5", second="results.h5"):
    done = subprocess.run([RANKINE, "compare", first, second], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{first} and {second} differ:\n{done.stdout}{done.stderr}")


def fresh():
    shutil.rmtree("results.h5.checkpoints", ignore_errors=True)
    for file in pathlib.Path().glob("results.*"):
        file.unlink()


# What the kills are tried on: settings, chance of a failing call in percent. Of the second, several ranks write.
KINDS = {"small": ([], 10),
         "wide": (["--set", "model.widths=[96,96]", "--set", "train.steps=6", "--set", "run.seeds=[0]"], 2)}
KINDS["broken"] = KINDS["wide"][0], 4


def calls_of(part, ranks, *arguments):
    """(how many calls that change files whose path has this part, by rank; the run's seconds)"""
    began = time.monotonic()
    expect(0, run(ranks, *arguments, LD_PRELOAD=FAULTS, RANKINE_CALLS=f"{part}:{os.getcwd()}/calls"))
    seconds = time.monotonic() - began
    calls = collections.Counter()
    for line in pathlib.Path("calls").read_text().splitlines():
        rank, count, _ = map(int, line.split())
        calls[rank] += count
    pathlib.Path("calls").unlink()
    return +calls, seconds


def stacks_of(job):
    """Where the ranks of a job that does not end are, if gdb is there."""
    if not shutil.which("gdb"):
        return "(no gdb to see where it hangs)\n"
    return "".join(subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all backtrace"],
                                  capture_output=True, text=True).stdout for pid in ranks_of(job))


def end_of(job, seconds):
    """Exit code; a job that takes longer hangs."""
    try:
        return job.wait(seconds)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"the job hangs: {job.args}\n{stacks_of(job)}{text_of(job)}") from None


def interrupt(number, kinds, rank_counts, failing):
    """Runs until `number` kills in all; `failing`: the share of runs with disk writes that fail."""
    calls = {}
    for kind in kinds:
        for ranks in rank_counts:
            fresh()
            calls[kind, ranks] = calls_of(".checkpoints/", ranks, *KINDS[kind][0], "--output", f"{kind}.h5")
            assert kind == "small" or len(calls[kind, ranks][0]) == ranks, f"only {calls[kind, ranks]} write"
    chance = random.Random(int(os.environ.get("RANKINE_SEED", "1")))
    kills = faulty = cycles = slowest = 0
    at, by_ranks = collections.Counter(), collections.Counter()
    failed = 0
    note = pathlib.Path("killed").absolute()
    while kills < number:
        cycles += 1
        kind = chance.choice(kinds)
        settings, percent = KINDS[kind]
        fresh()
        while True:
            ranks = chance.choice(rank_counts)
            environment = {"LD_PRELOAD": FAULTS}
            faults = chance.random() < failing and kills < number
            if faults:
                code = chance.choice([errno.ENOSPC, errno.EIO])
                environment["RANKINE_FAULTS"] = f".checkpoints/checkpoint:all:{code}:{percent}"
            known = checkpoints()
            by_rank, seconds = calls[kind, ranks]
            aimed = chance.random() < 0.75 and kills < number
            if aimed:  # at a call that changes a file
                rank = chance.choice(sorted(by_rank))
                environment["RANKINE_KILL"] = (f".checkpoints/:{rank}:{chance.randint(1, by_rank[rank] // 3)}:"
                                               f"{chance.choice([0, 1, 2])}:{signal.SIGKILL:d}:{note}")
            job = start(ranks, *settings, "--restart", "auto", **environment)
            killed = None
            if kills < number and not aimed:
                try:
                    code = job.wait(chance.uniform(0, 0.9 * seconds))
                except subprocess.TimeoutExpired:
                    pids = ranks_of(job)
                    os.kill(chance.choice(pids) if pids else job.pid, signal.SIGKILL)
                    killed = time.time()
                    at["any time"] += 1
            code = end_of(job, 2 * PATIENCE)
            if note.exists():
                killed = note.stat().st_mtime
                at[note.read_text()] += 1
                note.unlink()
            said = text_of(job)
            job.log.close()
            if faults:
                failed += said.count("no checkpoint was written")
            if killed:
                slowest = max(slowest, time.time() - killed)
                kills += 1
                by_ranks[ranks] += 1
                faulty += faults
            if "skipped the checkpoint" in said:
                raise SystemExit(f"a checkpoint was damaged by a kill:\n{said}")
            taken = re.search(r"going on from (\S+checkpoint-\d+\.h5)", said)
            if known and taken and taken.group(1) != str(known[-1]):
                raise SystemExit(f"{known[-1]} was there, but {taken.group(1)} was taken")
            if known and not taken and "going on from" not in said and "starting afresh" in said:
                raise SystemExit(f"{known[-1]} was there, but the run started afresh")
            if code == 0:
                break
            if not killed:
                raise SystemExit(f"exit code {code} without a kill:\n{said}")
        compare(f"{kind}.h5")
    print(f"{kills} kills in {cycles} runs on {dict(by_ranks)} ranks ({faulty} with failing writes, of which "
          f"{failed} failed; {kills - at['any time']} inside a call: {dict(at)}), all equal; slowest end of a job after the death "
          f"of a rank {slowest:.2f} s")


def test_kills(number):
    interrupt(number, ["small", "small", "wide"], [1, 1, 2], 0.5)


def test_failing(number):
    """Arrays of 1 MiB and more, which all ranks write, on disks that fail."""
    interrupt(number, ["broken"], [2, 3, 4], 1)
    settings = KINDS["broken"][0]
    for ranks in (2, 3, 4):  # the disk of the last rank alone is full
        fresh()
        said = expect(0, run(ranks, *settings, LD_PRELOAD=FAULTS,
                             RANKINE_FAULTS=f".checkpoints/checkpoint:{ranks - 1}:{errno.ENOSPC:d}:100"))
        assert f"no checkpoint was written: rank {ranks - 1}" in said, said
        compare("broken.h5")


def test_calls(number):
    """Each call on a file of a run may fail, on any rank, when it reads as when it writes: the run goes on without a
    checkpoint or ends with code 3, and a restart gives the same bits."""
    settings = [*KINDS["wide"][0], "--set", "train.steps=3"]
    expect(0, run(1, *settings, "--output", "whole.h5"))
    note, kept = pathlib.Path("failed").absolute(), pathlib.Path("kept")
    fresh()
    died = run(2, *settings, LD_PRELOAD=FAULTS,
               RANKINE_KILL=f".checkpoints/checkpoint-00000003.h5:0:3:0:{signal.SIGKILL:d}:{note}")
    assert died[0] != 0 and len(checkpoints()) == 2, died
    shutil.copytree("results.h5.checkpoints", kept)

    def begin():
        fresh()
        shutil.copytree(kept, "results.h5.checkpoints")
    calls = {}
    parts = {".checkpoints/": 2, "results.h5.tmp": 1, "/dev/shm/rankine.": 1}
    for part, ranks in parts.items():
        begin()
        expect(0, run(ranks, *settings, "--restart", "auto", LD_PRELOAD=FAULTS, RANKINE_CALLS=f"{part}:{os.getcwd()}/calls"))
        for line in pathlib.Path("calls").read_text().splitlines():
            rank, _, count = map(int, line.split())
            calls[part, rank] = calls.get((part, rank), 0) + count
        pathlib.Path("calls").unlink()
    chance = random.Random(int(os.environ.get("RANKINE_SEED", "1")))
    codes = collections.Counter()
    for trial in range(number):
        begin()
        part, rank = chance.choice([key for key, count in calls.items() if count > 0])
        # The first calls take the lock and read what is there.
        at = chance.randint(1, 12 if chance.random() < 0.2 else calls[part, rank])
        code = chance.choice([errno.ENOSPC, errno.EIO])
        job = start(parts[part], *settings, "--restart", "auto", LD_PRELOAD=FAULTS,
                    RANKINE_FAULT_AT=f"{part}:{rank}:{at}:{code}:{note}")
        ended = end_of(job, 2 * PATIENCE)
        said = text_of(job)
        job.log.close()
        what = f"call {at} of {calls[part, rank]} on {part}, rank {rank} ({note.read_text() if note.exists() else '?'})"
        codes[f"{part} {ended}"] += 1
        if ended not in (0, 3) or (ended == 3) != ("rankine: error:" in said):
            raise SystemExit(f"{what}: exit code {ended}\n{said}")
        if ended != 0:
            said = expect(0, run(chance.choice([1, 2]), *settings, "--restart", "auto"))
            assert "going on from" in said, f"{what}\n{said}"
        compare()
    print(f"{number} failing calls of {dict(calls)}; exit codes {dict(codes)}, all equal in the end")


def stop_after(ranks, number, sent=signal.SIGTERM, rank=0, arguments=(), **environment):
    """Runs until `number` more checkpoints are there, then signals one rank. Returns seconds until the end."""
    last = newest()
    job = start(ranks, "--restart", "auto", *arguments, **environment)
    wait_for(lambda: job.poll() is not None or newest() >= last + number)
    if job.poll() is not None:
        raise SystemExit("the run was over before it could be stopped\n" + text_of(job))
    os.kill(ranks_of(job)[rank], sent)
    began = time.monotonic()
    expect(75, finish(job, 30))
    return time.monotonic() - began


def test_ranks():
    expect(0, run(1, "--output", "whole.h5"))
    order = [1, 2, 4, 3, 1, 3, 2, 1, 4, 1]
    for ranks in order:
        stop_after(ranks, 4)
    expect(0, run(2, "--restart", "auto"))
    compare()
    print("one run, continued on", *order, "2 ranks: equal")


def test_finished():
    """Disks that fail while finished variants and seeds are saved, or the results at the end."""
    rare = ["--set", "checkpoint.every_steps=0"]
    expect(0, run(1, *rare, "--output", "whole.h5"))
    assert not pathlib.Path("whole.h5.checkpoints").exists()
    for ranks, code in ((1, errno.ENOSPC), (2, errno.EIO)):
        fresh()
        said = expect(0, run(ranks, *rare, LD_PRELOAD=FAULTS, RANKINE_FAULTS=f".checkpoints/:all:{code}:100"))
        # Of 4 runs the first 3 are saved; each is a chance for all that are done by then.
        assert 3 <= said.count("no checkpoint was written") <= 6, said
        compare()
    note = pathlib.Path("failed").absolute()
    for ranks, groups in ((1, 1), (2, 1), (2, 2)):
        fresh()
        concurrent = [*rare, "--set", f"run.concurrent={groups}"]
        # The file is written in the end; before that its fields and weights.
        calls = calls_of("results.h5.tmp", ranks, *concurrent)[0][0]
        fresh()
        said = expect(3, run(ranks, *concurrent, LD_PRELOAD=FAULTS,
                             RANKINE_FAULT_AT=f"results.h5.tmp:0:{calls - 3}:{errno.ENOSPC}:{note}"))
        assert "the run fails with 4 of 4 runs done" in said and said.count("rankine: error:") == 1, said
        assert not pathlib.Path("results.h5").exists()
        said = expect(0, run(1, *rare, "--restart", "auto"))
        assert said.count("was done before") == 4, said
        compare()


def test_signals():
    expect(0, run(2, "--output", "whole.h5"))
    slowest = 0
    for sent in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGINT):
        fresh()
        slowest = max(slowest, stop_after(2, 3, sent, rank=1))
        if list(pathlib.Path().glob("results.h5*")) != [pathlib.Path("results.h5.checkpoints")]:
            raise SystemExit(f"left behind: {list(pathlib.Path().glob('results.h5*'))}")
        expect(0, run(2, "--restart", "auto"))
        compare()
    print(f"longest time from a signal to the end {slowest:.2f} s")


def test_device():
    """A device that fails in a step, by an exception of Kokkos or by its abort(): one message, and a checkpoint to go on from."""
    expect(0, run(1, "--output", "whole.h5"))
    for ranks, launch in ((2, "3000"), (1, "abort:3000")):
        fresh()
        text = expect(3, run(ranks, RANKINE_FAIL_LAUNCH=launch))
        said = re.findall(r"^rankine: error: .*the device failed in launch '\S+'.*: RANKINE_FAIL_LAUNCH is set; .*--restart auto", text, re.M)
        assert len(said) == text.count("rankine: error:") == 1, text
        assert checkpoints(), text
        assert "going on from" in expect(0, run(ranks, "--restart", "auto"))
        compare()
    refused = expect(1, run(1, RANKINE_FAIL_LAUNCH="soon"))
    assert "RANKINE_FAIL_LAUNCH: 'soon'" in refused, refused


def test_groups():
    """Groups of ranks that run different variants and seeds: any number of them goes on from any other."""
    steps = ["--set", "train.steps=60"]

    def groups(number):
        return [*steps, "--set", f"run.concurrent={number}"]
    expect(0, run(1, *steps, "--output", "whole.h5", "--set", "checkpoint.every_steps=0"))
    for ranks, number, signalled in [(2, 2, 1), (4, 2, 3), (1, 1, 0), (3, 3, 2), (4, 4, 0), (2, 1, 1)]:
        stop_after(ranks, 3, rank=signalled, arguments=groups(number))
    # A dead rank of one group ends the job; what all groups had saved is taken up.
    for victim in (0, 3):
        last = newest()
        job = start(4, "--restart", "auto", *groups(2))
        wait_for(lambda: newest() >= last + 3 or job.poll() is not None)
        os.kill(ranks_of(job)[victim], signal.SIGKILL)
        assert finish(job, PATIENCE)[0] != 0
    said = expect(0, run(2, "--restart", "auto", *groups(2)))
    assert "in 2 concurrent groups of ranks" in said and "going on from" in said, said
    compare()
    said = expect(0, run(3, "--restart", "auto", *groups(3)))
    assert said.count("was done before") == 4, said
    compare()
    # More groups than ranks; what was there is kept.
    said = expect(0, run(2, *groups(9), "--set", "checkpoint.every_steps=20"))
    assert "moved the checkpoints of an earlier run" in said, said
    compare()
    assert list(pathlib.Path("results.h5.checkpoints/previous").glob("group_*/checkpoint-*.h5"))
    fresh()
    said = expect(75, run(2, *groups(2), "--set", "run.walltime=00:00:01", "--set", "train.steps=2000"))
    assert "wall time is nearly over" in said, said
    fresh()
    # Checkpoints that cannot be written are no reason to stop.
    said = expect(0, run(2, *groups(2), LD_PRELOAD=FAULTS, RANKINE_FAULTS=".checkpoints/:all:28:100"))
    assert "no checkpoint was written" in said, said
    compare()


def test_walltime():
    expect(0, run(1, "--output", "whole.h5"))
    said = expect(75, run(1, "--set", "run.walltime=00:00:01", "--set", "train.steps=2000"))
    assert "wall time is nearly over" in said, said
    fresh()
    soon = str(int(time.time()) + 2)
    said = expect(75, run(2, "--set", "train.steps=2000", SLURM_JOB_END_TIME=soon))
    assert "wall time is nearly over" in said, said
    expect(1, run(1, "--set", "run.walltime=1:70:00"))
    # The schedule does not know the total, so fewer steps than planned are a harmless change.
    steps = int(re.search(r"after (\d+) of 2000", said).group(1))
    expect(0, run(1, "--output", "whole.h5", "--set", f"train.steps={steps + 3}", "--set", "checkpoint.every_steps=0"))
    expect(0, run(1, "--restart", "auto", "--set", f"train.steps={steps + 3}", "--set", "checkpoint.every_steps=0"))
    compare()


def test_deck():
    stop_after(1, 5)
    said = expect(1, run(1, "--restart", "auto", "--set", "train.batch=3", "--set", "data.test=1"))
    assert "train.batch: 2 then, 3 now" in said and "data.test: 2 then, 1 now" in said, said
    said = expect(1, run(1, "--restart", "auto", "--set", "train.steps=3"))
    assert "train.steps: 20 then, 3 now" in said, said
    said = expect(1, run(1, "--restart", "nowhere"))
    assert "there is no such file or folder" in said, said
    # Harmless: where the results go, titles, checkpoints, a number written otherwise.
    said = expect(0, run(1, "--restart", "results.h5.checkpoints", "--output", "other.h5", "--set", "about.minutes=9",
                         "--set", "checkpoint.keep_last=2", "--set", "train.learning_rate=0.004"))
    assert "going on from" in said, said
    expect(0, run(1, "--output", "whole.h5"))
    compare("whole.h5", "other.h5")
    # A run that is not told to restart keeps what it finds.
    assert not pathlib.Path("results.h5").exists()
    expect(0, run(1, "--set", "train.steps=3"))
    assert list(pathlib.Path("results.h5.checkpoints/previous").glob("checkpoint-*.h5"))


def test_longer():
    expect(0, run(1, "--output", "whole.h5", "--set", "train.steps=31"))
    expect(0, run(1))
    said = expect(0, run(2, "--restart", "auto"))  # all is done: nothing to train
    assert said.count("was done before") == 4, said
    expect(0, run(1, "--restart", "auto", "--set", "train.steps=31"))
    compare()
    said = expect(1, run(1, "--restart", "auto", "--set", "train.steps=50", "--set", "train.schedule.name=cosine"))
    assert "train.schedule.name: step then, cosine now" in said, said


def test_damage():
    expect(0, run(1, "--output", "whole.h5"))
    chance = random.Random(3)
    stop_after(1, 6)
    kept = pathlib.Path("kept")
    shutil.copytree("results.h5.checkpoints", kept)
    for i in range(6):
        fresh()
        shutil.copytree(kept, "results.h5.checkpoints")
        newest, before = checkpoints()[-1], checkpoints()[-2]
        data = bytearray(newest.read_bytes())
        if i % 2:
            del data[chance.randrange(len(data)):]
        else:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        newest.write_bytes(data)
        said = expect(0, run(1 + i % 2, "--restart", "auto"))
        assert f"skipped the checkpoint {newest}" in said and f"going on from {before}" in said, said
        compare()


def test_petsc():
    """PETSc's options change results, wherever they are given; those that print do not."""
    def options(*words):
        return ["--", *words]
    stop_after(1, 5, arguments=options("-march_ksp_rtol", "1e-3"))
    said = expect(1, run(1, "--restart", "auto"))
    assert "PETSc option -march_ksp_rtol: 1e-3 then, (not there) now" in said, said
    said = expect(1, run(2, "--restart", "auto", *options("-march_ksp_rtol", "1e-4", "-march_pc_type", "lu")))
    assert "PETSc option -march_ksp_rtol: 1e-3 then, 1e-4 now" in said and said.count("rankine: error:") == 1, said
    assert "PETSc option -march_pc_type: (not there) then, lu now" in said, said
    at = str(checkpoints()[-1])
    info = [RANKINE, "info", at, "--deck", DECK]
    done = subprocess.run(info, capture_output=True, text=True)
    assert done.returncode == 4 and "-march_ksp_rtol" in done.stdout, done
    done = subprocess.run([*info, *options("-march_ksp_rtol", "1e-3")], capture_output=True, text=True)
    assert done.returncode == 0, done
    # The same from the environment, the deck, the command line; the later one wins.
    stop_after(1, 2, PETSC_OPTIONS="-march_ksp_rtol 1e-3")
    stop_after(1, 2, arguments=["--set", "petsc_options=['-march_ksp_rtol 1e-3']"])
    said = expect(0, run(1, "--restart", "auto", "--set", "petsc_options=['-march_ksp_rtol 1e-9']",
                         *options("-march_ksp_rtol", "1e-3", "-march_ksp_monitor")))
    assert "going on from" in said, said
    expect(0, run(1, "--output", "whole.h5"))
    compare()


def test_lock():
    job = start(2, "--set", "train.steps=2000")
    wait_for(lambda: job.poll() is not None or newest() >= 2)
    before = sorted(str(path) for path in pathlib.Path().glob("results*"))
    for ranks in (1, 2):
        for how, what in (((), r"writes this file \(run\.output\)"), (("--restart", "auto"), r"writes this file \(run\.output\)"),
                          (("--output", "other.h5", "--set", "checkpoint.directory=results.h5.checkpoints"), "works with this folder")):
            said = expect(1, run(ranks, *how, "--set", "train.steps=3"))
            holder = re.search(rf"another job {what}: process (\d+) on (\S+); wait until it ends", said)
            assert holder and holder.group(1) == str(ranks_of(job)[0]), said
            assert holder.group(2) == os.uname().nodename and said.count("rankine: error:") == 1, said
    assert sorted(str(path) for path in pathlib.Path().glob("results*")) == before, "files were left behind"
    os.kill(ranks_of(job)[0], signal.SIGTERM)
    expect(75, finish(job, 30))
    # It ends with the job; one that a dead job left holds nobody up.
    job = start(1, "--restart", "auto", "--set", "train.steps=2000")
    last = newest()
    wait_for(lambda: job.poll() is not None or newest() >= last + 2)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    said = expect(0, run(1, "--restart", "auto", "--set", f"train.steps={newest() + 1}", "--only", "soft"))
    assert "going on from" in said, said


def write_data(value):
    random_numbers = numpy.random.default_rng(1)
    x, t = (numpy.arange(64) + 0.5) / 64, numpy.linspace(0, 500, 11)
    with h5py.File("data.h5", "w") as file:
        for sample in range(9):
            begin = random_numbers.uniform(0.05, 0.2)
            u = begin + (1 - begin) * numpy.exp(-8 * x) * numpy.minimum(1, t[:, None] / 100)
            if sample == 8:
                u[10, 63] = value
            group = file.create_group(f"{sample:04d}")
            group["data"], group["grid/x"], group["grid/t"] = u[:, :, None], x, t


def test_data():
    """A data file that is not what it was."""
    file = ["--set", "data.source=pdebench", "--set", "data.path=data.h5"]
    write_data(0.1)
    kept = pathlib.Path("data.h5").read_bytes()
    expect(0, run(1, *file, "--output", "whole.h5"))
    stop_after(2, 4, arguments=file)
    write_data(0.100001)
    said = expect(1, run(2, "--restart", "auto", *file))
    assert re.search(r"data\.path \(content of data\.h5\): \w{16} then, \w{16} now", said), said
    assert said.count("rankine: error:") == 1, said
    pathlib.Path("data.h5").write_bytes(kept)  # another time and inode, the same content
    expect(0, run(1, "--restart", "auto", *file))
    compare()


def no_files(but=()):
    left = [str(path) for path in pathlib.Path().glob("results.h5*") if str(path) not in but]
    assert not left, f"left behind: {left}"


def test_making():
    """Signals while references are computed, before the first step."""
    long = ["--set", "data.test=20000", "--set", "pde.data_cells=512", "--set", "pde.reference_rtol=1e-8"]
    slowest = 0
    for ranks, sent, rank in ((1, signal.SIGTERM, 0), (2, signal.SIGUSR1, 1), (2, signal.SIGINT, 0), (4, signal.SIGALRM, 3)):
        job = start(ranks, *long)
        wait_for(lambda: list(pathlib.Path().glob("results.h5.tmp.*")) or job.poll() is not None)
        time.sleep(1)
        assert job.poll() is None, text_of(job)
        os.kill(ranks_of(job)[rank], sent)
        began = time.monotonic()
        said = expect(75, finish(job, 30))
        slowest = max(slowest, time.monotonic() - began)
        assert f"got {sent.name}: stopped soft seed 0 after 0 of 20 steps" in said, said
        no_files()
    assert slowest < 5, f"{slowest:.1f} s from a signal to the end"
    said = expect(0, run(2, "--restart", "auto"))
    assert "starting afresh" in said, said
    print(f"longest time from a signal to the end {slowest:.2f} s")


def test_evaluating():
    """Signals during evaluations: the step before is saved, and the restart evaluates."""
    note = pathlib.Path("signalled").absolute()
    polish = ["soft", "train.steps=3", "checkpoint.every_steps=2", "train.polish=3",
              "learn.diffusion.initial=1e-3", "data.observations.source=generate", "data.observations.points=20",
              "data.observations.noise=0.01", "data.validation=1", "data.test=200"]
    slowest = 0
    # Where: after this part of the calls that gather an evaluation's measures. What is polished before the test is
    # polished again after the restart, from the same values.
    validation = ["moe", "train.steps=3", "data.validation=100", "data.test=1"]
    test = ["moe", "train.steps=1", "data.validation=1", "data.test=100"]
    for (only, *settings), ranks, rank, where, stopped, saved in (
            (validation, 1, 0, 0.5, "2 of 3", 2), (validation, 2, 1, 0.5, "2 of 3", 2),
            (test, 1, 0, 0.3, "1 of 1", 1), (test, 2, 1, 0.7, "1 of 1", 1),
            (polish, 2, 1, 0.4, "3 of 3", 2), (polish, 1, 0, 0.8, "3 of 3", 2)):
        deck = ["--only", only, "--set", "run.seeds=[0]", "--set", "train.evaluate_every=1"]
        for setting in settings:
            deck += ["--set", setting]
        fresh()
        gathers = calls_of("MPI_Allgatherv", ranks, *deck, "--output", "whole.h5")[0][rank]
        assert gathers > 200, f"an evaluation gathers in {gathers} calls only"
        job = start(ranks, *deck, LD_PRELOAD=FAULTS,
                    RANKINE_KILL=f"MPI_Allgatherv:{rank}:{round(where * gathers)}:0:{signal.SIGTERM:d}:{note}")
        said = expect(75, finish(job))
        slowest = max(slowest, time.time() - note.stat().st_mtime)
        note.unlink()
        assert f"got SIGTERM: stopped {only} seed 0 after {stopped} steps" in said and newest() == saved, said
        no_files(["results.h5.checkpoints"])
        said = expect(0, run(3 - ranks, "--restart", "auto", *deck))
        assert f"{only} seed 0 after {stopped[0]} steps" in said, said
        compare()
    print(f"longest time from a signal to the end {slowest:.2f} s")
    assert slowest < 3, f"{slowest:.1f} s from a signal to the end"


def signal_after(seconds, ranks, rank, *arguments):
    """(text, seconds from the signal to the end)"""
    job = start(ranks, "--restart", "auto", *arguments)
    wait_for(lambda: list(pathlib.Path().glob("results.h5.tmp.*")) or job.poll() is not None)
    time.sleep(seconds)
    assert job.poll() is None, text_of(job)
    os.kill(ranks_of(job)[rank], signal.SIGTERM)
    began = time.monotonic()
    return expect(75, finish(job, 30)), time.monotonic() - began


def test_experiments():
    """Experiments whose steps are long stop inside of them."""
    global DECK
    DECK = "deck.yaml"
    pathlib.Path(DECK).write_text("""
run: {experiment: monte_carlo, seeds: [0], output: results.h5}
inputs: {u: {uniform: [0, 1]}, v: {normal: [0, 1]}}
expression: exp(u + v / 2)
samples: {blocks: 40000, block: 5000, steps: 2}
""")
    began = time.monotonic()
    expect(0, run(2, "--output", "whole.h5"))
    whole = time.monotonic() - began
    for ranks, rank, at in ((1, 0, 0.3), (2, 1, 0.4 * whole)):
        said, seconds = signal_after(at, ranks, rank)
        assert "got SIGTERM: stopped default seed 0 after" in said, said
    expect(0, run(2, "--restart", "auto"))
    compare()
    fresh()
    # A step of a minute or more.
    for ranks, rank in ((1, 0), (2, 1)):
        said, seconds = signal_after(2, ranks, rank, "--set", "samples.blocks=2000000")
        assert "got SIGTERM: stopped default seed 0 after 0 of 2 steps" in said and seconds < 10, f"{seconds} s\n{said}"
        no_files()
    # An epoch of a minute on a fast machine too: one with at most 5 s left is ended first.
    pathlib.Path(DECK).write_text("""
run: {experiment: place_recognition, seeds: [0], output: results.h5}
data: {name: fashion_mnist, train: 200, validation: 200, test: 0}
places: {count: 40, reference_traverses: 80, query_traverses: 1}
network: {modules: 1, neurons: 400}
train: {epochs: 2, choose_every: 1, assignment_epochs: 1, hyperactive: [0, 3]}
""")
    for ranks, rank in ((1, 0), (2, 1)):
        said, seconds = signal_after(2, ranks, rank)
        assert "got SIGTERM: stopped default seed 0 after 0 of 2 steps" in said and seconds < 10, f"{seconds} s\n{said}"
        no_files()


def test_windows():
    """Time windows whose starts the classical solver gives, local experts on rings, a network of displacements, and a variant that
    starts from another one's network."""
    global DECK
    DECK = "deck.yaml"
    pathlib.Path(DECK).write_text("""
run: {experiment: pde_training, seeds: [0], output: results.h5}
pde:
  name: equation
  length: [1, 1]
  duration: 0.5
  unknowns: [w]
  discretisation: fourier
  auxiliary: {psi: laplacian(psi) = -w}
  flux: {x: "w*d(psi,y) - 0.002*d(w,x)", y: "-w*d(psi,x) - 0.002*d(w,y)"}
  walls: periodic
  data_cells: 16
  reference_rtol: 1e-3
  initial: {fourier: {modes: 3, amplitude: 1.5}}
grid: {cells: 16, frames: 4, windows: 3, tiles: [1, 2, 2]}
data: {train: 6, validation: 1, test: 2, frames: 13, reference_check: {space_error: 1}}
ansatz: {name: carried, cells: 8, coefficients: 2}
model: {name: fno, widths: [4, 4], modes: [1, 2, 2], projection: 4}
formulation: {preset: local, experts: [1, 2, 2], halo: 2, time: uniform, implicit_steps: 0, march: {substeps: 3}}
train: {steps: 12, batch: 2, evaluate_every: 5}
checkpoint: {every_steps: 1}
variants:
  network: {formulation: {method: soft}}
  on: {start: network@end, train: {steps: 4}, formulation: {sweeps: 2}}
""")
    expect(0, run(1, "--output", "whole.h5"))
    order = [1, 2, 4]
    for ranks in order:
        stop_after(ranks, 3)
    expect(0, run(2, "--restart", "auto"))
    compare()
    print("windows, continued on", *order, "2 ranks: equal")


def main():
    name, _, number = TEST.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            globals()["test_" + name](*([int(number)] if number else []))
        except BaseException:
            log = pathlib.Path("log.txt")
            print("the end of the log:\n" + (log.read_text()[-3000:] if log.exists() else ""), flush=True)
            raise
        finally:
            for job in jobs:
                if job.poll() is None:
                    os.killpg(job.pid, signal.SIGKILL)
                    job.wait()
            os.chdir("/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
