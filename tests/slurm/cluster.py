"""A Slurm of one machine for tests: munged, slurmctld and a slurmd for each of two nodes, with configuration, key, state,
sockets, logs and ports of their own, so that nothing else on the machine is touched. Each node has two pretended GPUs.

Everything that this starts carries SLURM_CONF=<its folder>/slurm.conf in its environment; only such processes are ended.
A guard, which is nobody's child, does that if the process that uses the cluster is killed."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time


class CannotStart(Exception):
    """This machine cannot run Slurm, and why."""


CONFIGURATION = """
ClusterName=rankine
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# The life of a credential is also how long a requeued job waits; Slurm's default is 120 s.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# More CPUs than the machine may have.
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=0
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
GresTypes=gpu
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = ("NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=1000 Gres=gpu:2 "
        "State=UNKNOWN\n")


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def path_of(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def environment_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def processes_of(folder):
    """Ids of all processes of the cluster in `folder`, but this one."""
    mark = f"SLURM_CONF={folder}/slurm.conf".encode()
    return [int(entry.name) for entry in pathlib.Path("/proc").iterdir()
            if entry.name.isdigit() and int(entry.name) != os.getpid() and mark in environment_of(entry.name)]


def end_processes(folder):
    """Ends them all. Those that know SIGTERM get some seconds; what starts meanwhile is ended too."""
    begin = time.monotonic()
    while (left := processes_of(folder)) and time.monotonic() < begin + 20:
        for each in (signal.SIGCONT, signal.SIGTERM) if time.monotonic() < begin + 4 else (signal.SIGKILL,):
            for pid in left:
                try:
                    os.kill(pid, each)
                except ProcessLookupError:
                    pass
        time.sleep(0.5)


class Cluster:
    CPUS = 4

    def __init__(self, folder):
        self.host = socket.gethostname().split(".")[0]
        # mpirun starts the ranks itself on the node that has the machine's name, and through a helper on the other.
        self.nodes = (self.host, "other")
        self.folder = pathlib.Path(folder)
        self.daemons = []
        self.guard = None
        # Without what a Slurm says to its jobs: the tests may be one.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH_"))}
        self.environment["SLURM_CONF"] = str(self.folder / "slurm.conf")

    @staticmethod
    def check():
        if os.geteuid() != 0:
            raise CannotStart("slurmd starts the jobs of other users, which only root may do; run this test as root")
        missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "mpirun") if not path_of(name)]
        if missing:
            raise CannotStart(f"{', '.join(missing)} not found; ./setup.sh install-deps installs slurm-wlm and munge")

    def configure(self):
        controller, *ports = free_ports(1 + len(self.nodes))
        names = {"folder": self.folder, "host": self.host, "cpus": self.CPUS}
        (self.folder / "state").mkdir()
        for name in self.nodes:
            (self.folder / "spool" / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.folder.chmod(0o755)
        text = CONFIGURATION.format(controller=controller, **names)
        for name, port in zip(self.nodes, ports):
            text += NODE.format(name=name, port=port, **names)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("AutoDetect=off\nName=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")

    def start(self):
        self.configure()
        self.start_guard()
        munge = [f"--{name}={self.folder}/munge.{ending}" for name, ending in
                 [("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")]]
        self.daemon("munged", "--foreground", "--force", "--num-threads=8", *munge)
        self.wait_until("munged", lambda: (self.folder / "munge.socket").exists())
        self.daemon("slurmctld", "-D")
        for name in self.nodes:
            self.daemon("slurmd", "-D", "-N", name)
        self.wait_until("the nodes", lambda: set(self.run("sinfo", "-N", "-h", "-o", "%T", check=False).stdout.split()) == {"idle"})

    def start_guard(self):
        """Starts what waits until this process ends, however it ends, and cleans up what it left."""
        watched, self.guard = os.pipe()
        os.set_inheritable(watched, True)
        child = os.fork()
        if child > 0:
            os.close(watched)
            os.waitpid(child, 0)
            return
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), str(watched), str(self.folder)])
        os._exit(0)

    def daemon(self, name, *arguments):
        with open(self.folder / f"{name}.output", "a") as log:
            self.daemons.append((name, subprocess.Popen([path_of(name), *arguments], stdin=subprocess.DEVNULL, stdout=log,
                                                        stderr=log, env=self.environment, start_new_session=True)))

    def wait_until(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            for name, process in self.daemons:
                if process.poll() is not None:
                    raise SystemExit(f"{name} ended with {process.returncode}:\n{self.logs()}")
            if time.monotonic() > end:
                raise SystemExit(f"{what} did not start within {seconds} s:\n{self.logs()}")
            time.sleep(0.1)

    def logs(self):
        text = ""
        for file in sorted([*self.folder.glob("*.output"), *self.folder.glob("*.log")]):
            text += f"--- {file.name}\n" + "".join(file.read_text(errors="replace").splitlines(True)[-20:])
        return text

    def run(self, *command, check=True, environment=None, **options):
        for _ in range(5):
            done = subprocess.run(command, env={**self.environment, **(environment or {})}, capture_output=True, text=True,
                                  timeout=120, **options)
            if done.returncode >= 0:
                break
            time.sleep(1)  # munged gives a starved client up after two seconds, and SIGPIPE ends it
        if check and done.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def stop(self):
        """Ends the jobs, then the daemons."""
        if any(name == "slurmctld" and process.poll() is None for name, process in self.daemons):
            self.run("scancel", "--user=root", check=False)
        end_processes(self.folder)
        for _, process in self.daemons:
            process.wait()
        self.daemons = []
        left = processes_of(self.folder)
        if self.guard is not None:
            os.close(self.guard)
        if left:
            raise SystemExit(f"processes {left} could not be ended")


def guard(watched, folder):
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.read(watched, 1)  # returns when the last writer is gone
    end_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2])
