"""Signals stop a run in good order; one under nohup outlives its terminal."""
import resource
import signal
import subprocess
import time

import cases


def check(t):
    t.deck()

    def started(*arguments, **more):
        job = subprocess.Popen(t.command("run", "deck.yaml", "--output", "long.h5", *arguments), cwd=t.folder, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
        for line in job.stdout:
            if ": step " in line:
                return job
        raise SystemExit(f"it ended with {job.wait()}")

    whole = ["--set", "train.steps=100000"]
    for sent in (signal.SIGHUP, signal.SIGXCPU, signal.SIGTERM):
        job = started(*whole)
        job.send_signal(sent)
        said = job.communicate(timeout=60)[0]
        t.expect(sent.name, job.returncode == 75 and f"got {sent.name}: stopped v seed 0 after" in said,
                 f"{job.returncode} {said}")
        t.expect(f"{sent.name}: a checkpoint", list(t.folder.glob("long.h5.checkpoints/checkpoint-*.h5")))
        t.expect(f"{sent.name}: nothing is left", not list(t.folder.glob("long.h5.tmp*")) and
                 not list(t.folder.rglob("*.lock")), str(list(t.folder.iterdir())))
        said = t.run("run", "deck.yaml", "--output", "long.h5", *whole, "--set", "run.walltime=00:00:02", "--restart", "auto")
        t.says(f"{sent.name}: goes on", said, 75, "going on from")
    # The real thing: a soft limit of processor time.
    limited = t.run("run", "deck.yaml", "--output", "long.h5", *whole,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (3, 60)))
    t.says("processor time is over", limited, 75, "got SIGXCPU: stopped")
    # nohup: a run outlives its terminal.
    job = started("--set", "train.steps=3000", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    for _ in range(3):
        job.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    said = job.communicate(timeout=120)[0]
    t.expect("nohup", job.returncode == 0 and "wrote long.h5" in said, f"{job.returncode} {said}")


if __name__ == "__main__":
    cases.main(check)
