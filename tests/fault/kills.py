"""SIGKILL at random moments: a run that is killed repeatedly and restarted
with the same command ends like an undisturbed run, and never resumes from a
step before the one that it reported as saved.

    kills.py BACKEND [KILLS [SEED]]

The target is rank 0, sometimes rank 1 or mpirun itself, of 2 or 3 ranks. The
files that a kill leaves show where it hit: during a checkpoint there is a
temporary file of the killed process, or a complete checkpoint that was not
reported.

The moments follow events of a run (launch, first step, write of the N-th
checkpoint) plus a random delay. Delays and run lengths follow times that are
measured first. A run that ends before its last kill is checked, and a new run
replaces it.
"""
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402

BACKEND = sys.argv[1]
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 20
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
RUNS = 4  # in parallel: a killed job mostly waits for mpirun
# Checkpoints of 16 MB (backend cpu) or 4 MB (ref) after each step.
SETTINGS = {'backend': BACKEND, 'model__width': 32 if BACKEND == 'cpu' else 16,
            'checkpoint__every': 1, 'checkpoint__keep': 2, 'log__every': 3}
MPIRUN_S = 20  # an mpirun that runs this long without ranks hangs
LEAST_KILLS = 20  # at any speed
ATTEMPT_S = 20  # time of a start that is killed, if steps are slow
BUDGET_S = 1200  # time of the whole campaign, if steps are slow


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
    """The process id of a rank; 0 if it does not exist (yet)."""
    for pid in os.listdir('/proc'):
        if pid.isdigit() and parent(pid) == process.pid:
            if 'OMPI_COMM_WORLD_RANK=%d' % rank in environment(int(pid)):
                return int(pid)
    return 0


def is_alive(pid):
    return any(environment(pid))  # empty for a zombie


class KillPlan:
    """Number of kills and length of the runs at the pace of this machine."""

    def __init__(self, timing):
        self.pace = timing
        self.step_s = timing.step_s * RUNS / 2  # with parallel runs
        self.steps_per_attempt = pace.clamp(
            int(2 * (ATTEMPT_S - timing.start_s) / self.step_s), 2, 8)
        self.attempt_s = timing.start_s + self.step_s * self.steps_per_attempt / 2
        most = int(RUNS * BUDGET_S / self.attempt_s)
        self.kills = min(KILLS, max(LEAST_KILLS, most))
        if self.kills < KILLS:
            print('slow steps: %d kills, not %d' % (self.kills, KILLS))
        self.kills_per_run = -(-self.kills // RUNS)
        self.steps = max(self.kills_per_run * self.steps_per_attempt // 2, 10)
        # least number of kills during a checkpoint; few kills may all miss it
        self.in_checkpoint = self.kills // 4 if self.kills >= 100 else 1
        self.limit_s = pace.limit_s(timing.start_s + self.steps * self.step_s)


class Attempt:
    """One start of a run. Kills its `target`, if it is still alive, `delay`
    seconds after is_triggered() returned true."""

    def __init__(self, process, target, is_triggered, delay, limit_s):
        start = time.monotonic()
        end = start + limit_s
        self.pids = [0, 0]
        self.killed = False
        triggered = False
        while (process.poll() is None and not self.killed and
               time.monotonic() < end):
            if not all(self.pids):
                self.pids = [rank_of(process, rank) for rank in (0, 1)]
            elif not triggered:
                triggered = is_triggered()
                start = time.monotonic()
            elif time.monotonic() - start >= delay:
                self.kill(process, target)
            time.sleep(0.001)
        self.wait(process, end)
        self.output = process.communicate()[0]
        self.status = process.returncode

    def wait(self, process, end):
        """Waits until mpirun and its ranks have ended. The ranks of a killed
        mpirun end later, at the end of their step."""
        self.hung = False
        last_seen = time.monotonic()
        while process.poll() is None and time.monotonic() < end:
            if self.is_running():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > MPIRUN_S:
                self.hung = self.killed
                break
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
        while self.is_running() and time.monotonic() < end:
            time.sleep(0.01)

    def is_running(self):
        return any(map(is_alive, self.pids))

    def kill(self, process, target):
        pid = process.pid if target == 'mpirun' else self.pids[target]
        try:
            os.kill(pid, signal.SIGKILL)
            self.killed = True
        except ProcessLookupError:  # it has just ended
            pass


def step_of(path):
    """The step of a checkpoint or its temporary file; 0 for other files."""
    match = re.search(r'/step-(\d+)\.h5', path)
    return int(match.group(1)) if match else 0


class KillWorker:
    """A sequence of runs with its own random kills."""

    def __init__(self, folder, number, kills, reference, plan):
        self.f, self.number, self.kills = folder, number, kills
        self.reference, self.plan = reference, plan
        self.in_checkpoint = -(-plan.in_checkpoint // RUNS)
        self.random = random.Random('%d/%d' % (SEED, number))
        self.where = Counter()
        self.lines = []
        self.folders = 0
        self.new_run_folder()

    def new_run_folder(self):
        self.folders += 1
        self.name = 'run-%d-%d' % (self.number, self.folders)
        self.checker = jobs.ResumeChecker(self.f, self.name)

    def fail(self, attempt, why):
        raise AssertionError('%s: %s\n%s\n%s' % (
            self.name, why, '\n'.join(self.lines), attempt.output))

    def draw_kill(self):
        """Target, event, and delay after the event in seconds."""
        timing = self.plan.pace
        target = self.random.choices((0, 1, 'mpirun'), (8, 1, 1))[0]
        after = self.random.choices(('launch', 'begin', 'step', 'write'),
                                    (2, 1, 2, 3))[0]
        longest = {'launch': timing.start_s, 'begin': self.plan.step_s,
                   'step': self.plan.step_s, 'write': timing.checkpoint_s}[after]
        return target, after, self.random.random() * longest

    def trigger_condition(self, after):
        """A function that is true when the event has happened. `step` and
        `write` wait for the first write of one of the next checkpoints."""
        checker = self.checker
        old = set(checker.checkpoints('*'))
        done = max([0] + [step_of(path) for path in old
                          if path.endswith('.h5')])
        left = self.reference['steps'] - done
        if after == 'launch' or left == 0:
            return lambda: True
        if after == 'begin':
            return lambda: checker.STARTED.search(checker.log())
        step = done + self.random.randint(1, min(self.plan.steps_per_attempt, left))
        return lambda: any(step_of(path) >= step for path in
                           set(checker.checkpoints('step-*')) - old)

    def classify_end(self, attempt, target):
        """The phase in which the start ended."""
        checker = self.checker
        try:
            text = checker.check_resume()
        except AssertionError as error:
            self.fail(attempt, error)
        if target == 0 and ' error: ' in text:
            self.fail(attempt, 'killed, but printed an error:\n' + text)
        if checker.was_writing(attempt.pids[0]):
            return 'checkpoint'
        if not checker.started:
            return 'start'
        return 'export' if checker.at == self.reference['steps'] else 'step'

    def start(self, ranks, options, target=0, is_triggered=lambda: False, delay=0):
        attempt = Attempt(self.f.start(ranks, self.name, **options), target,
                          is_triggered, delay, self.plan.limit_s)
        if attempt.is_running():
            self.fail(attempt, 'a rank still runs after the end of the job')
        if not attempt.killed and attempt.status:
            self.fail(attempt, 'ended with status %d' % attempt.status)
        return attempt

    def kill_once(self, number, options):
        """A start with a kill; True if the target was killed."""
        target, after, delay = self.draw_kill()
        ranks = self.random.choice((2, 3))
        attempt = self.start(ranks, options, target,
                             self.trigger_condition(after), delay)
        self.where['(mpirun hung)'] += attempt.hung
        where = self.classify_end(attempt, target if attempt.killed else 0)
        if attempt.killed:
            self.where[where] += 1
            who = target if target == 'mpirun' else 'rank %d' % target
            self.lines.append(
                '%s seed %d/%d kill %d: %s of %d, %.3f s after %s, in: %s; '
                'reported: %d' % (self.name, SEED, self.number, number, who,
                                  ranks, delay, after, where,
                                  self.checker.reported))
        else:
            self.check_outcome(attempt)
            self.new_run_folder()
        return attempt.killed

    def check_outcome(self, attempt):
        """The finished run has the results of the undisturbed run."""
        if self.f.temporary_files(self.name):
            self.fail(attempt, 'not removed: %s' % self.f.temporary_files(self.name))
        mine = self.f.outcome(self.name)
        for key, value in self.reference['outcome'].items():
            if mine[key] != value:
                self.fail(attempt, '%s differs: %s, not %s' % (key, mine[key],
                                                             value))

    def run_kills(self, options):
        """All kills, more if too few hit a checkpoint, then the last start."""
        number = 0
        for _ in range(10 * self.kills):
            enough = self.where['checkpoint'] >= self.in_checkpoint
            if number >= self.kills and (enough or number >= 4 * self.kills):
                break
            number += self.kill_once(number + 1, options)
        attempt = self.start(2, options)
        self.classify_end(attempt, 0)
        self.check_outcome(attempt)
        return number


def run_reference(f, plan, options):
    """The results of an undisturbed run."""
    job = f.train(2, 'good', expected_s=plan.pace.run_s(plan.steps), **options)
    steps = len(f.steps_rows('good'))
    if steps != plan.steps:
        sys.exit('the undisturbed run has %d steps\n%s' % (steps, job.output))
    return {'outcome': f.outcome('good'), 'steps': steps}


def main():
    f = jobs.ScratchFolder()
    plan = KillPlan(f.measure_pace(2, **SETTINGS))
    options = dict(SETTINGS, train__steps=plan.steps)
    reference = run_reference(f, plan, options)
    each = plan.kills_per_run
    runs = [KillWorker(f, i, min(each, plan.kills - i * each), reference, plan)
            for i in range(RUNS)]
    start = time.monotonic()
    with ThreadPoolExecutor(RUNS) as pool:
        kills = sum(pool.map(lambda run: run.run_kills(options), runs))
    where = Counter()
    for run in runs:
        where.update(run.where)
    for run in runs:
        print('\n'.join(run.lines))
    print('%d kills in %d runs of %d steps (%s), seed %d, %.0f s: %s' % (
        kills, sum(run.folders for run in runs), reference['steps'], plan.pace,
        SEED, time.monotonic() - start,
        ', '.join('%s %d' % pair for pair in sorted(where.items()))))
    if kills < plan.kills or where['checkpoint'] < plan.in_checkpoint:
        sys.exit('too few kills, or fewer than %d in a checkpoint' %
                 plan.in_checkpoint)
    f.remove()


if __name__ == '__main__':
    main()
