"""Two jobs with one output: the second is told at its start. What a killed job leaves is taken over and cleared."""
import os
import re
import signal
import socket
import subprocess

import cases


def check(t):
    t.deck()
    (t.folder / "sub").mkdir()
    (t.folder / "sub" / "here").symlink_to("..")
    t.says("a run", t.run("run", "deck.yaml"), 0)
    # --- 13: two jobs with one output
    more = ["--set", "train.steps=100000"]
    for arguments, words in ((["--output", "busy.h5"], "busy.h5: another job writes this file (--output)"),
                             (["--output", "sub/here/busy.h5"], "busy.h5: another job writes this file (--output)"),
                             (["--set", "data.write=busy_s.h5", "--output", "busy_2.h5"], "busy_s.h5: another job"),
                             (["--task", "1/1", "--output", "busy_t.h5"], "another job writes this file")):
        own = ["--output", "busy.h5", "--set", "data.write=busy_s.h5"] if "--task" not in arguments else arguments
        job = subprocess.Popen(t.command("run", "deck.yaml", *own, *more), cwd=t.folder, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        for line in job.stdout:
            if ": step " in line:
                break
        process = t.run("run", "deck.yaml", *arguments)
        t.says(f"the second job, {arguments}", process, 1, words, f"process {job.pid} on", "wait until it ends")
        if "busy.h5" in arguments:
            t.says("merge", t.run("compare", "--merge", "out.h5", "--output", "busy.h5"), 1, f"process {job.pid} on")
        if "--task" not in arguments:
            job.kill()  # what it leaves is taken over
            job.wait()
            t.expect("its lock is there", (t.folder / ".busy.h5.rankine.lock").exists())
            t.says("after a kill", t.run("run", "deck.yaml", *own), 0, "wrote busy.h5")
            t.expect("nothing is left", not list(t.folder.glob("*busy*.tmp.*")) and not list(t.folder.rglob("*.lock")))
        else:
            job.send_signal(signal.SIGTERM)
            t.expect("it ends in good order", job.wait() == 75, str(job.returncode))
    for turn in range(5):
        jobs = [subprocess.Popen(t.command("run", "deck.yaml", "--output", "race.h5", "--set", "train.steps=4000"),
                                 cwd=t.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(3)]
        said = [job.communicate(timeout=120)[1] for job in jobs]
        codes = [job.returncode for job in jobs]
        t.expect(f"one of three wins, {turn}", sorted(codes) == [0, 1, 1], f"{codes} {said}")
        t.expect("the others are told", sum("another job writes this file" in text for text in said) == 2, str(said))

    # --- stale temporaries of this output go, all others stay
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = re.sub(r"[^A-Za-z0-9_]", "-", socket.gethostname())
    hdf5 = b"\x89HDF\r\n\x1a\n"
    stale = {f"out.h5.tmp.{host}.{gone.pid}": hdf5, f"out.xdmf.tmp.{host}.{gone.pid}": b"",
             f"out.h5.fault-v-seed_0-step_1.h5.tmp.{host}.{gone.pid}": hdf5}
    others = {name: hdf5 for name in (
        f"out.h5.tmp.{host}.{os.getpid()}", f"out.h5.tmp.{gone.pid}", f"my.h5.tmp.{host}.{gone.pid}", "out.h5.tmp.txt",
        f"out.h5.tmp.other-node.{gone.pid}", "out.h5.tmp.20241130", "out.h5.tmp.v1.2", "out.h5.tmp.old.3")}
    for content in (b"notes of the user", hdf5):
        foreign = content != hdf5
        every = {**({} if foreign else stale), **others, **(dict.fromkeys([*stale][:1], content) if foreign else {})}
        for name, was in every.items():
            (t.folder / name).write_bytes(was)
        t.says("with stale files", t.run("run", "deck.yaml"), 0)
        for name, was in every.items():
            path = t.folder / name
            if name in stale and not foreign:
                t.expect(f"{name} is gone", not path.exists())
            else:
                t.expect(f"{name} stays", path.exists() and path.read_bytes() == was)


if __name__ == "__main__":
    cases.main(check)
