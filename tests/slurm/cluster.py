"""A private Slurm cluster of virtual nodes n1, n2 on this machine, for tests.

    cluster.py DIR [S]  starts it with all files in the folder DIR, prints
                        "export SLURM_CONF=..." when it is up, and stops it at
                        the end of standard input (Ctrl-D, or the process at the
                        other end of the pipe ended). A job that must end has S
                        seconds (default 5) to save

It needs no root, systemd, cgroups or namespaces, only an address besides the
loopback address (as mpirun does), and does not touch the machine's own Slurm
and munge. It picks free ports, so several clusters can run on one machine. All
processes that it and its jobs start are descendants of this process, which is
the subreaper for orphans, and end with it.

MPI takes both nodes for one host and would let them share its shared memory:
jobs need OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo.
"""
import ctypes
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time

NODES = 2
CPUS = 2  # per node, independent of the machine
START_S = 600
SAVE_S = 5
STOP_S = 5  # from SIGTERM to SIGKILL
PR_SET_CHILD_SUBREAPER = 36

CONFIG = """\
ClusterName=vocdist
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
TmpFS={folder}/tmp.%n
# Plugins that also work in a container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
# Jobs in partition high preempt those in low.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{user_signal}
JobRequeue=1
KillWait={save_s}
SlurmctldTimeout=300
SlurmdTimeout=300
MessageTimeout=60
TCPTimeout=10
BatchStartTimeout=60
ReturnToService=2
MinJobAge=600
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 \
Port=[{ports[1]}-{ports[2]}] CPUs={cpus} Boards=1 SocketsPerBoard=1 \
CoresPerSocket={cpus} ThreadsPerCore=1
PartitionName=low Nodes=ALL Default=YES MaxTime=60 State=UP PriorityTier=1 \
PreemptMode=REQUEUE GraceTime={grace_s}
PartitionName=high Nodes=ALL MaxTime=60 State=UP PriorityTier=10 \
PreemptMode=OFF
"""


def free_ports(n):
    """n free consecutive ports, below the system's ephemeral ports."""
    while True:
        first = random.randrange(10000, 30000)
        try:
            for port in range(first, first + n):
                with socket.socket() as s:
                    s.bind(('', port))
            return list(range(first, first + n))
        except OSError:
            pass


def descendants():
    """Ids of all descendants of this process, parents before children."""
    parent = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            try:
                with open('/proc/%s/stat' % entry) as f:
                    # the name, in parentheses, may contain anything
                    parent[int(entry)] = int(f.read().rpartition(')')[2]
                                             .split()[1])
            except OSError:
                pass
    found = [os.getpid()]
    for pid in found:
        found += [child for child, p in parent.items() if p == pid]
    return found[1:]


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


class Cluster:
    def __init__(self, folder, save_s):
        self.folder = os.path.realpath(folder)
        self.save_s = max(SAVE_S, save_s)
        self.environment = dict(
            os.environ, SLURM_CONF=self.path('slurm.conf'),
            PATH=os.environ['PATH'] + ':/usr/sbin:/sbin')

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o644):
        with open(os.open(self.path(name), os.O_CREAT | os.O_WRONLY |
                          os.O_TRUNC, mode), 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())

    def configure(self):
        for name in ['state'] + [kind + '.n%d' % (i + 1)
                                 for i in range(NODES)
                                 for kind in ('spool', 'tmp')]:
            os.makedirs(self.path(name), exist_ok=True)
        version = subprocess.check_output(
            ['slurmctld', '-V'], env=self.environment, text=True)
        # send_user_signal moved to another parameter in 23.02
        old = float('.'.join(version.split()[1].split('.')[:2])) < 23
        self.write('slurm.conf', CONFIG.format(
            folder=self.folder, nodes=NODES, cpus=CPUS,
            save_s=self.save_s, grace_s=max(20, self.save_s),
            host=socket.gethostname().split('.')[0],
            user=subprocess.check_output(['id', '-un'], text=True).strip(),
            ports=free_ports(1 + NODES),
            user_signal='SlurmctldParameters=preempt_send_user_signal' if old
            else 'PreemptParameters=send_user_signal'))
        # "autodetect" fails on a machine without cgroups
        self.write('cgroup.conf', 'CgroupPlugin=cgroup/v1\n')
        self.write('munge.key', os.urandom(128), 0o600)

    def daemon(self, name, *command):
        """Starts a daemon in the foreground, as a child of this process."""
        with open(self.path(name + '.log'), 'ab') as log:
            subprocess.Popen(command, env=self.environment, stdout=log,
                             stderr=log, stdin=subprocess.DEVNULL)

    def is_up(self):
        idle = subprocess.run(['sinfo', '-h', '-p', 'low', '-o', '%T %D'],
                              env=self.environment, capture_output=True,
                              text=True).stdout
        return idle.strip() == 'idle %d' % NODES

    def start(self):
        self.configure()
        self.daemon('munged', 'munged', '--foreground', '--force',
                    *['--%s=%s' % (option, self.path(name)) for option, name in
                      [('key-file', 'munge.key'), ('socket', 'munge.sock'),
                       ('pid-file', 'munge.pid'), ('log-file', 'munge.log'),
                       ('seed-file', 'munge.seed')]])
        self.wait_for(lambda: os.path.exists(self.path('munge.sock')))
        self.daemon('slurmctld', 'slurmctld', '-D', '-c')
        for i in range(NODES):
            node = 'n%d' % (i + 1)
            self.daemon('slurmd.' + node, 'slurmd', '-D', '-N', node)
        self.wait_for(self.is_up)

    def wait_for(self, condition):
        end = time.monotonic() + START_S
        while not condition():
            if time.monotonic() > end:
                for name in sorted(os.listdir(self.folder)):
                    if name.endswith('.log'):
                        with open(self.path(name), errors='replace') as f:
                            print(name + ':', f.read()[-2000:],
                                  file=sys.stderr)
                sys.exit('the cluster did not start in %d s' % START_S)
            reap()
            time.sleep(0.1)

    def stop(self):
        end = time.monotonic() + STOP_S
        while True:
            reap()
            left = descendants()
            if not left:
                return
            late = time.monotonic() > end
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                except ProcessLookupError:
                    pass
            time.sleep(0.2)


def main(folder, save_s=SAVE_S):
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in ends:
        signal.signal(number, lambda *_: sys.exit(1))
    cluster = Cluster(folder, int(save_s))
    try:
        cluster.start()
        print('export SLURM_CONF=' + cluster.path('slurm.conf'), flush=True)
        while True:
            reap()
            ready = select.select([sys.stdin], [], [], 0.5)[0]
            if ready and not os.read(sys.stdin.fileno(), 4096):
                return
    finally:
        for number in ends:
            signal.signal(number, signal.SIG_IGN)
        cluster.stop()


if __name__ == '__main__':
    main(*sys.argv[1:])
