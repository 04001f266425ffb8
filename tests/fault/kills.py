"""SIGKILL at random moments: a run that is killed again and again, each time
started again by the same command, ends as one that nobody disturbed, and never
goes on from less than it had said was saved.

    kills.py BACKEND [KILLS [SEED]]

Killed are rank 0, now and then rank 1 or mpirun itself, of 2 or 3 ranks. Where
a kill has hit is read from what it left: inside a checkpoint there is a
temporary file of the dead process, or a finished one that was not reported.
"""
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402

BACKEND = sys.argv[1]
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 20
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
RUNS = 4  # side by side: a job that was killed mostly waits for mpirun
# Checkpoints of 16 MB (oneDNN) or 4 MB (loops) after each step.
SETTINGS = {'backend': BACKEND, 'model__width': 32 if BACKEND == 'cpu' else 16,
            'checkpoint__every': 1, 'checkpoint__keep': 2, 'log__every': 3}
STEPS_A_LIFE = 8
MPIRUN_S = 20  # for ending a job that has lost a process
LIMIT_S = 600


def environment(pid):
    try:
        with open('/proc/%d/environ' % pid) as f:
            return f.read().split('\0')
    except OSError:
        return []


def parent(pid):
    try:
        with open('/proc/%s/stat' % pid) as f:
            return int(f.read().rsplit(')', 1)[1].split()[1])
    except OSError:
        return 0


def rank_of(process, rank):
    """The process id of a rank, 0 where there is none (yet)."""
    for pid in os.listdir('/proc'):
        if pid.isdigit() and parent(pid) == process.pid:
            if 'OMPI_COMM_WORLD_RANK=%d' % rank in environment(int(pid)):
                return int(pid)
    return 0


def lives(pid):
    return any(environment(pid))  # of a zombie it is empty


class Life:
    """One start of a run. Its `target` is killed `delay` seconds after
    is_time() has become true, if it still lives."""

    def __init__(self, process, target, is_time, delay):
        start = time.monotonic()
        self.pids = [0, 0]
        self.killed = False
        came = False
        while process.poll() is None and not self.killed:
            if not all(self.pids):
                self.pids = [rank_of(process, rank) for rank in (0, 1)]
            elif not came:
                came = is_time()
                start = time.monotonic()
            elif time.monotonic() - start >= delay:
                self.kill(process, target)
            time.sleep(0.001)
        limit = MPIRUN_S if self.killed else LIMIT_S
        self.hung = False
        try:
            self.output = process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            self.hung = self.killed and not self.is_there()
            process.kill()
            self.output = process.communicate()[0]
        self.status = process.returncode
        patience = time.monotonic() + MPIRUN_S
        while self.is_there() and time.monotonic() < patience:
            time.sleep(0.01)

    def is_there(self):
        """Ranks go some time after an mpirun that was killed."""
        return any(map(lives, self.pids))

    def kill(self, process, target):
        pid = process.pid if target == 'mpirun' else self.pids[target]
        try:
            os.kill(pid, signal.SIGKILL)
            self.killed = True
        except ProcessLookupError:  # it is just ending
            pass


class Run:
    """One run folder with its own sequence of random kills."""

    def __init__(self, folder, number, kills, good, times):
        self.f, self.kills, self.good = folder, kills, good
        self.name = 'run-%d' % number
        self.random = random.Random('%d/%d' % (SEED, number))
        self.startup, self.step = times
        self.witness = jobs.Witness(folder, self.name)
        self.where = Counter()
        self.lines = []

    def fail(self, life, why):
        raise AssertionError('%s: %s\n%s\n%s' % (
            self.name, why, '\n'.join(self.lines), life.output))

    def draw(self):
        """Who is killed, how many seconds after what."""
        target = self.random.choices((0, 1, 'mpirun'), (8, 1, 1))[0]
        after = self.random.choices(('launch', 'begin', 'first write'),
                                    (2, 1, 5))[0]
        longest = (self.startup if after == 'launch' else
                   self.step * STEPS_A_LIFE)
        return target, after, self.random.random() * longest

    def waits_for(self, after):
        """Has it come? A function."""
        witness = self.witness
        old = witness.checkpoints('*')
        return {'launch': lambda: True,
                'begin': lambda: witness.BEGUN.search(witness.log()),
                'first write': lambda: witness.checkpoints('*') != old}[after]

    def judge(self, life, target):
        """Where it has ended."""
        witness = self.witness
        try:
            text = witness.judge()
        except AssertionError as error:
            self.fail(life, error)
        if target == 0 and ' error: ' in text:
            self.fail(life, 'an error of its own:\n' + text)
        if witness.was_writing(life.pids[0]):
            return 'checkpoint'
        if not witness.begun:
            return 'start'
        return 'export' if witness.at == self.good['steps'] else 'step'

    def one(self, number, options):
        """A start that is to be killed; True where it was."""
        target, after, delay = self.draw()
        ranks = self.random.choice((2, 3))
        life = Life(self.f.start(ranks, self.name, **options), target,
                    self.waits_for(after), delay)
        if life.is_there():
            self.fail(life, 'a rank outlives the job')
        if not life.killed and life.status:
            self.fail(life, 'ended with status %d' % life.status)
        self.where['(mpirun hung)'] += life.hung
        where = self.judge(life, target if life.killed else 0)
        if life.killed:
            self.where[where] += 1
            who = target if target == 'mpirun' else 'rank %d' % target
            self.lines.append(
                '%s seed %d/%s kill %d: %s of %d, %.3f s after %s, in: %s; '
                'reported: %d' % (self.name, SEED, self.name[4:], number, who,
                                  ranks, delay, after, where, self.witness.reported))
        return life.killed

    def play(self, options):
        number = 0
        for _ in range(3 * self.kills):
            number += self.one(number + 1, options)
            if number == self.kills:
                break
        life = Life(self.f.start(2, self.name, **options), 0,
                    lambda: False, 0)
        if life.status:
            self.fail(life, 'the last start: status %d' % life.status)
        self.judge(life, 0)
        if self.f.left_overs(self.name):
            self.fail(life, 'left over: %s' % self.f.left_overs(self.name))
        mine = self.f.outcome(self.name)
        for key, value in self.good['outcome'].items():
            if mine[key] != value:
                self.fail(life, '%s differs: %s, not %s' % (key, mine[key],
                                                             value))
        return number


def undisturbed(f, options):
    """How it ends, and how long a start and a step take here and now."""
    start = time.monotonic()
    process = f.start(2, 'good', **options)
    first = None
    while process.poll() is None and first is None:
        if os.path.lexists(f.file('good', 'checkpoints', 'last')):
            first = time.monotonic() - start
        time.sleep(0.002)
    job = jobs.Job(process, start, LIMIT_S)
    if job.status:
        sys.exit('undisturbed: status %d\n%s' % (job.status, job.output))
    steps = len(f.rows('good'))
    return ({'outcome': f.outcome('good'), 'steps': steps},
            (first, (job.seconds - first) / steps * RUNS / 2))


def main():
    f = jobs.Folder()
    each = -(-KILLS // RUNS)
    options = dict(SETTINGS, train__steps=max(each * STEPS_A_LIFE // 2, 10))
    good, times = undisturbed(f, options)
    runs = [Run(f, i, min(each, KILLS - i * each), good, times)
            for i in range(RUNS)]
    start = time.monotonic()
    with ThreadPoolExecutor(RUNS) as pool:
        kills = sum(pool.map(lambda run: run.play(options), runs))
    where = Counter()
    for run in runs:
        where.update(run.where)
    for run in runs:
        print('\n'.join(run.lines))
    print('%d kills of %d runs of %d steps (start %.2f s, step %.3f s), seed '
          '%d, %.0f s: %s' % (kills, RUNS, good['steps'], *times, SEED,
                              time.monotonic() - start,
                              ', '.join('%s %d' % pair for pair in
                                        sorted(where.items()))))
    least = KILLS // 4 if KILLS >= 100 else 1  # few ones may all miss
    if kills < KILLS or where['checkpoint'] < least:
        sys.exit('too few kills, or fewer than %d in a checkpoint' % least)
    f.remove()


if __name__ == '__main__':
    main()
