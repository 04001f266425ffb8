"""Measures how fast the program is on this machine now. Tests derive their
lengths, moments and time limits from it, so that they pass at any speed.

A time limit ends hanging programs; it does not check speed. It is 10 times the
measured time, and at least LEAST_LIMIT_S: longer than the program's own limits
(timeout.setup and its watchdog), which end a hang earlier and report its
place.
"""
import glob
import math
import os
import re
import time

LEAST_LIMIT_S = 1800
STARTED = re.compile(r'going on after step (\d+)|from its first step')
SAVED = re.compile(r'saved \S*step-(\d+)\.h5')


def limit_s(expected_s=0):
    """The time limit of a program that should take `expected_s`."""
    return max(LEAST_LIMIT_S, 10 * expected_s)


def clamp(value, least, most):
    return max(least, min(value, most))


def wait_for(condition, describe, limit=None, poll_s=0.05):
    """Returns when condition() is true; fails with the text of describe() if
    it is still false after `limit` seconds."""
    limit = limit or limit_s()
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError('not in %d s: %s' % (limit, describe()))
        time.sleep(poll_s)


def sample_cases(what, cases, each_s, budget_s, least):
    """As many of `cases` as fit in `budget_s`, evenly spread, but at least
    `least`; prints a line if these are not all."""
    n = clamp(int(budget_s / max(each_s, 1e-3)), least, len(cases))
    if n >= len(cases):
        return list(cases)
    print('slow steps: %d of %d %s (%.1f s each)' % (n, len(cases), what,
                                                     each_s), flush=True)
    return [cases[i * len(cases) // n] for i in range(n)]


class Pace:
    """Seconds that the parts of a run take. The run (`process`, folder `run`)
    saves a checkpoint after each step; it is observed until it ends.

        start_s       from the launch to the first step
        step_s        a step, with its checkpoint and validation
        checkpoint_s  a checkpoint, from its first write to its log line
        total_s       the whole run
    """
    POLL_S = 0.002

    def __init__(self, process, run):
        self.launched = time.monotonic()
        self.started, self.written, self.saved = None, {}, {}
        while process.poll() is None:
            self.update(run)
            if time.monotonic() - self.launched > LEAST_LIMIT_S:
                process.kill()
            time.sleep(self.POLL_S)
        self.update(run)
        self.total_s = time.monotonic() - self.launched
        output = process.communicate()[0]
        if process.returncode or len(self.saved) < 3 or self.started is None:
            raise AssertionError('measuring: status %d, %d checkpoints\n%s' % (
                process.returncode, len(self.saved), output))
        self.start_s = self.started - self.launched
        self.checkpoint_s = max(self.POLL_S, *(
            self.saved[step] - self.written[step]
            for step in self.saved if step in self.written))
        # Without the first step, which also selects algorithms.
        steps = sorted(self.written)
        self.step_s = max(self.POLL_S, (
            self.written[steps[-1]] - self.written[steps[0]]) / (
                steps[-1] - steps[0]))

    def update(self, run):
        """Records when each checkpoint and log line first appeared."""
        now = time.monotonic()
        for path in glob.glob(os.path.join(run, 'checkpoints', 'step-*')):
            step = int(re.search(r'step-(\d+)', path).group(1))
            self.written.setdefault(step, now)
        try:
            with open(os.path.join(run, 'log.txt'), encoding='latin-1') as f:
                log = f.read()
        except FileNotFoundError:
            return
        if self.started is None and STARTED.search(log):
            self.started = now
        for step in SAVED.findall(log):
            self.saved.setdefault(int(step), now)

    def run_s(self, steps, concurrent=1):
        """Expected time of a run of `steps`, `concurrent` runs at a time."""
        return concurrent * (self.total_s + steps * self.step_s)

    def steps_in(self, seconds, least, most):
        """How many steps fit in that time, within these bounds."""
        return clamp(math.ceil(seconds / self.step_s), least, most)

    def __str__(self):
        return 'start %.2f s, step %.3f s, checkpoint %.3f s' % (
            self.start_s, self.step_s, self.checkpoint_s)
