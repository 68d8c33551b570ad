"""A real Slurm cluster of two nodes on this machine, for tests and for trying things by hand.

    python tests/slurm/cluster.py start DIR     prints the line that makes a shell use it
    python tests/slurm/cluster.py stop DIR

One munged, one slurmctld, two slurmd; everything they write lies in DIR; their ports are free ones; no service of
the machine is touched. Needs Debian's slurm-wlm and munge (22.05 tried) and, for slurmd, no privilege beyond
that of the user whose jobs it runs.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
NODES = ("node1", "node2")
PATIENCE_S = 60.0

CONFIGURATION = """\
ClusterName=tested
SlurmctldHost=localhost({address})
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName=node1 NodeHostname={host} NodeAddr={address} Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=node2 NodeHostname={host} NodeAddr={address} Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=main Nodes=node1,node2 Default=YES PriorityTier=1 MaxTime=INFINITE
PartitionName=urgent Nodes=node1,node2 PriorityTier=10 MaxTime=INFINITE
"""


def missing() -> list[str]:
    """What of Slurm is not installed here."""
    needed = (*DAEMONS, "sbatch", "squeue", "scancel", "scontrol")
    return [name for name in needed if shutil.which(name, path=_path()) is None]


def environment(folder: Path) -> dict[str, str]:
    """What a process needs in its environment to use the cluster in `folder`."""
    return {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}


def start(folder: Path) -> None:
    """Start the cluster and return once both nodes are idle."""
    folder = folder.resolve()
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munged refuses a socket in a folder that others may write
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    text = CONFIGURATION.format(
        folder=folder,
        user=getpass.getuser(),
        host=socket.gethostname(),
        address="127.0.0.1",
        ports=_free_ports(3),
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    _launch(folder, "munged", *(f"--{what}-file={folder}/munge.{what}" for what in ("key", "pid", "log", "seed")),
            f"--socket={folder}/munge.socket", "--force")  # fmt: skip
    _launch(folder, "slurmctld", "-c")
    for node in NODES:
        _launch(folder, "slurmd", "-N", node)
    _await_idle(folder)


def stop(folder: Path) -> None:
    """End every process of the cluster in `folder`, and whatever its jobs have left running."""
    folder = folder.resolve()
    with suppress(subprocess.TimeoutExpired):
        _ask(folder, "scancel", "--me", "--signal=KILL", "--full")
    pids = list(folder.glob("*.pid"))
    for path in sorted(pids, reverse=True):  # slurmd, slurmctld, munged
        _end(int(path.read_text().strip() or 0))


def crash(folder: Path, node: str, *, worker: int) -> None:
    """Kill a node's daemon, a worker on it, and what stands between them, as a power cut does."""
    pid = int((folder / f"slurmd-{node}.pid").read_text())
    between = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    for one in (pid, between, worker):
        os.kill(one, signal.SIGKILL)


def boot(folder: Path, node: str) -> None:
    """Start a node's daemon again and return once all nodes are idle."""
    _launch(folder, "slurmd", "-N", node)
    _await_idle(folder)


def _launch(folder: Path, daemon: str, *arguments: str) -> None:
    clean_environment = {**os.environ, **environment(folder)}
    done = subprocess.run(
        [daemon, *arguments], env=clean_environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{daemon}: {done.stdout}{done.stderr}")


def _await_idle(folder: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while _ask(folder, "sinfo", "-h", "-N", "-p", "main", "-o", "%t").split() != ["idle"] * len(NODES):
        if time.monotonic() > until:
            raise RuntimeError("the nodes do not come up:\n" + _ask(folder, "sinfo", "-N", "-l"))
        time.sleep(0.2)


def _ask(folder: Path, *command: str) -> str:
    clean_environment = {**os.environ, **environment(folder)}
    done = subprocess.run(
        command, env=clean_environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout


def _end(pid: int) -> None:
    if not pid:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def main() -> int:
    """The command line of this file."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.stderr.write(__doc__ or "")
        return 2
    folder = Path(sys.argv[2])
    if sys.argv[1] == "stop":
        stop(folder)
        return 0
    start(folder)
    sys.stdout.write(f"export SLURM_CONF={folder.resolve()}/slurm.conf\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
