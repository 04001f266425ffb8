"""Tests the system calls with which a run writes its files: their order, a
kill at each call, and an error from each call.

    syscalls.py order|kills|errors [full]   full: all calls, not a sample (if
                                            steps are slow, as many as fit in
                                            BUDGET_S)

Needs strace with permission to trace (root has it).
"""
import collections
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import h5py  # noqa: E402
import jobs  # noqa: E402
import pace  # noqa: E402

WHAT = sys.argv[1]
FULL = 'full' in sys.argv[2:]
SAMPLE = 12
BUDGET_S, LEAST = 3600, 60
AT_ONCE = 2
jobs.SMALL.update({'backend': 'ref', 'train.epochs': 1, 'checkpoint.every': 1,
                   'checkpoint.keep': 1, 'log.every': 1})
STEPS = 3  # of one epoch
# A single process without mpirun. Without this Open MPI starts a helper
# process, which sometimes outlives the program and keeps its pipes open.
os.environ['OMPI_MCA_ess_singleton_isolated'] = '1'

# Kills that are in every sample: rows are written but not yet covered by a
# checkpoint, and the best checkpoint is durable but not yet linked.
ALWAYS = [('resumed', 'checkpoints/step-00000003.h5.tmp-$$-0', 'fsync', 1),
          ('fresh', 'checkpoints/step-00000002.h5.tmp-$$-0', 'pwrite64', 5),
          ('resumed', 'checkpoints/best.tmp-$$-0', 'symlink', 1)]

# Calls that change a file, a name in a folder, or their durability.
CHANGES = ('openat', 'write', 'pwrite64', 'ftruncate', 'fsync', 'fdatasync',
           'close', 'rename', 'symlink', 'unlink', 'mkdir')
WRITES = ('write', 'pwrite64')
SYNCS = ('fsync', 'fdatasync')

Call = collections.namedtuple('Call', 'thread name path other text result '
                                      'begin end')
LINE = re.compile(r'(\d+) +(\w+)\((.*)\) += (-?\d+)')


def calls_of(lines, root):
    """The successful calls, with the lines on which they began and ended;
    paths are absolute, and `path` is the path that changes."""
    open_calls, calls = {}, []
    for at, line in enumerate(lines):
        thread = line.split(' ', 1)[0]
        if line.endswith('<unfinished ...>'):
            open_calls[thread] = at, line[:-len('<unfinished ...>')]
            continue
        begin = at
        resumed = re.match(r'\d+ +<\.\.\. \w+ resumed>', line)
        if resumed:
            begin, first = open_calls.pop(thread)
            line = first + line[resumed.end():]
        match = LINE.match(line)
        if not match or int(match.group(4)) < 0:
            continue
        name, arguments = match.group(2), match.group(3)
        texts = re.findall(r'"((?:[^"\\]|\\.)*)"', arguments)
        held = re.match(r'\d+<([^>]*)>', arguments)
        paths = [os.path.join(root, p) for p in
                 ([held.group(1)] if held else texts)]
        if paths:
            calls.append(Call(thread, name, paths[-1], paths[0], arguments,
                              int(match.group(4)), begin, at))
    return calls


class DurabilityModel:
    """The state after a power loss as guaranteed by POSIX: contents are
    durable after fsync of the file, names after fsync of their folder."""

    def __init__(self):
        self.written = {}  # path: line on which its last write ended
        self.synced = {}   # path: line on which its last fsync began
        self.length = {}   # path: length in bytes of a growing file
        self.durable = {}  # path: durable length in bytes
        self.pending = set()  # names that are not durable yet: (path, line)
        self.links = {}

    def is_clean(self, path):
        return self.written.get(path, 0) <= self.synced.get(path, -1)

    def not_durable(self):
        return sorted(path for path, _ in self.pending)

    def apply(self, c):
        if c.name in WRITES or c.name == 'ftruncate':
            self.written[c.path] = c.end
            added = c.result if c.name in WRITES else 0
            self.length[c.path] = self.length.get(c.path, 0) + added
        elif c.name in SYNCS:
            self.synced[c.path] = c.begin
            self.durable[c.path] = self.length.get(c.path, 0)
            self.pending = {(path, line) for path, line in self.pending
                            if os.path.dirname(path) != c.path
                            or line >= c.begin}
        elif c.name == 'rename':
            if c.other in self.links:
                self.links[c.path] = self.links.pop(c.other)
            self.pending.add((c.path, c.end))
        elif c.name == 'symlink':
            self.links[c.path] = c.text.split('"')[1]
        elif c.name == 'mkdir':
            self.pending.add((c.path, c.end))
        elif c.name == 'openat' and 'O_CREAT' in c.text:
            if '.tmp-' not in c.path:
                self.pending.add((c.path, c.end))


def strace(*options):
    """The start of a command that runs under strace as the same process; $$ in
    the options is its process id. (--seccomp-bpf would prevent signal
    injection.)"""
    words = ' '.join('"%s"' % option for option in options)
    return ['sh', '-c', 'exec strace -D -f %s "$@"' % words, 'sh']


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f = jobs.ScratchFolder()
        cls.number = itertools.count()
        start = time.monotonic()
        cls.trace('good')
        # Each case needs two runs.
        cls.case_s = 2 * (time.monotonic() - start) / AT_ONCE
        cls.good = cls.f.outcome('good')
        cls.f.train(1, 'base', 75, before=[], train__stop_at=2)

    @classmethod
    def tearDownClass(cls):
        cls.f.remove()

    @classmethod
    def trace(cls, name, **options):
        """Traces a whole run; returns the calls on its files, in order."""
        log = os.path.join(cls.f.path, name + '.strace')
        before = ['strace', '-f', '--seccomp-bpf', '-y', '-s', '200', '-o', log,
                  '-e', 'trace=' + ','.join(CHANGES)]
        cls.f.train(1, name, before=before, **options)
        with open(log, encoding='latin-1') as f:
            calls = calls_of(f.read().split('\n'), cls.f.path)
        runs = cls.f.file()
        return [c for c in calls if c.path.startswith(runs)]

    def copy_stopped_run(self, name):
        shutil.copytree(self.f.file('base'), self.f.file(name), symlinks=True)

    def trace_start(self, start, name):
        """The calls of a fresh run, or of one resumed after step 2."""
        if start == 'resumed':
            self.copy_stopped_run(name)
        return self.trace(name)

    # ---- the order of the calls

    def check_order(self, calls, keep):
        """Checks the order; returns the reported steps and removed files."""
        disk, reported, removed = DurabilityModel(), [], []
        for c in sorted(calls, key=lambda c: c.begin):
            file = os.path.basename(c.path)
            if c.name == 'rename':
                self.assertIn('.tmp-', c.other)
                if c.other not in disk.links:
                    self.assertIn(c.other, disk.written)
                    self.assertTrue(disk.is_clean(c.other),
                                    '%s: published before its fsync' % file)
                if keep and re.match(r'step-\d+\.h5$', file):
                    self.check_append_file(disk, c.path)
            saved = jobs.ResumeChecker.SAVED.search(c.text)
            if c.name == 'write' and saved:
                self.check_report(disk, os.path.dirname(c.path), saved.group(1))
                reported.append(int(saved.group(1)))
            if c.name == 'unlink' and '.tmp-' not in file:
                self.assertNotIn(file, disk.links.values(), 'still linked')
                self.assertEqual(disk.not_durable(), [], file)
                self.assertTrue(reported and max(reported) > int(file[5:-3]),
                                '%s: removed before a newer one was reported' %
                                file)
                removed.append(file)
            disk.apply(c)
        self.assertEqual(disk.not_durable(), [])
        self.assertTrue(all(disk.is_clean(path) for path in disk.written
                            if not path.endswith(('log.txt', '.lock'))))
        return reported, removed

    def check_append_file(self, disk, path):
        with h5py.File(path, 'r') as f:
            state = json.loads(f.attrs['state'])
        folder = os.path.dirname(os.path.dirname(path))
        for name, key in (('metrics.csv', 'metrics_bytes'),
                          ('steps.jsonl', 'steps_bytes')):
            durable = disk.durable.get(os.path.join(folder, name), 0)
            self.assertGreater(state[key], 0)
            self.assertGreaterEqual(durable, state[key],
                                    name + ': not durable up to the length '
                                    'in the checkpoint')

    def check_report(self, disk, folder, step):
        file = 'step-%s.h5' % step
        last = disk.links.get(os.path.join(folder, 'checkpoints', 'last'))
        self.assertEqual(last, file, 'reported before it was linked')
        self.assertEqual(disk.not_durable(), [],
                         '%s: reported before these names were durable' % file)

    def test_order(self):
        for keep in (100, 1):
            calls = self.trace('keep-%d' % keep, checkpoint__keep=keep)
            reported, removed = self.check_order(calls, keep > 1)
            self.assertEqual(reported, list(range(1, STEPS + 1)))
            self.assertEqual(len(removed) > 0, keep == 1)
            renamed = [os.path.basename(c.path) for c in calls
                       if c.name == 'rename']
            for name in ['config.yaml', 'run.json', 'last', 'best',
                         'last.safetensors', 'best.safetensors'] + [
                             'step-%08d.h5' % step
                             for step in range(1, STEPS + 1)]:
                self.assertIn(name, renamed)

    # ---- a kill at each call, an error from each call

    def call_points(self, start):
        """(start, path below the run, call, its number within the thread)."""
        counts = collections.Counter()
        calls = self.trace_start(start, 'points-' + start)
        for c in calls:
            path = c.other if c.name == 'rename' else c.path
            path = re.sub(r'\.tmp-\d+-', '.tmp-$$-', path)
            path = os.path.relpath(path, self.f.file('points-' + start))
            counts[path, c.name, c.thread] += 1
        most = collections.Counter()
        for (path, name, _), n in counts.items():
            most[path, name] = max(most[path, name], n)
        return [(start, path, name, k) for (path, name), n in
                sorted(most.items()) for k in range(1, n + 1)]

    def start_at(self, name, point, action):
        """Starts run `name` with the injected `action` at this point."""
        start, path, call, k = point
        if start == 'resumed':
            self.copy_stopped_run(name)
        path = os.path.normpath(os.path.join('runs', name, path))
        before = strace('-o', '/dev/null', '-e', 'trace=' + call,
                        '-P', path, '-P', os.path.join(self.f.path, path), '-e',
                        'inject=%s:%s:when=%d' % (call, action, k))
        return self.f.run(1, name, before=before)

    def new_name(self):
        return 'case-%d' % next(self.number)

    def check_resumes(self, name, checker):
        """The same command again gives the results of an undisturbed run."""
        checker.check_resume()
        self.f.train(1, name, before=[])
        checker.check_resume()
        self.assertEqual(self.f.temporary_files(name), [])
        mine = self.f.outcome(name)
        for key, value in self.good.items():
            if key != 'config.yaml':
                self.assertEqual(mine[key], value, name + ': ' + key)
        shutil.rmtree(self.f.file(name))

    def kill_at(self, point):
        name = self.new_name()
        checker = jobs.ResumeChecker(self.f, name)
        job = self.start_at(name, point, 'signal=KILL')
        self.assertEqual(job.status, -9, '%s:\n%s' % (point, job.output))
        self.check_resumes(name, checker)

    def test_kills(self):
        points = self.call_points('fresh') + self.call_points('resumed')
        if FULL:
            points = ALWAYS + pace.sample_cases('kills', points, self.case_s,
                                                BUDGET_S, LEAST)
        else:
            points = ALWAYS + points[::len(points) // (SAMPLE - 2)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.kill_at, points))
        print('%d kills' % len(points))

    def fail_at(self, case):
        point, error, reason = case
        name = self.new_name()
        checker = jobs.ResumeChecker(self.f, name)
        job = self.start_at(name, point, 'error=' + error)
        text = '%s:\n%s' % (case, job.output)
        created = point[2] == 'openat'
        self.assertEqual(job.status, 73 if created else 74, text)
        self.assertEqual(job.output.count('error: '), 1, text)
        self.assertRegex(job.output, r'error: \S*%s\S*: .*%s' % (
            re.escape(re.sub(r'\.tmp-.*', '', os.path.basename(point[1]))),
            reason), text)
        self.assertEqual(self.f.temporary_files(name), [], text)
        self.check_resumes(name, checker)

    def test_errors(self):
        checkpoint = 'checkpoints/step-00000003.h5.tmp-$$-0'
        places = [(checkpoint, call, k) for call, k in (
            ('openat', 1), ('pwrite64', 1), ('pwrite64', 4), ('pwrite64', 15),
            ('close', 2), ('fsync', 1), ('rename', 1))]
        for file in ('config.yaml', 'run.json', 'weights/last.safetensors'):
            places += [(file + '.tmp-$$-0', call, 1) for call in (
                'openat', 'write', 'fsync', 'close', 'rename')]
        places += [(file, call, 1) for call in ('write', 'fsync')
                   for file in ('metrics.csv', 'steps.jsonl')]
        places += [('checkpoints/last.tmp-$$-0', call, 1)
                   for call in ('symlink', 'rename')]
        places += [('checkpoints', 'fsync', k) for k in (1, 2)]
        errors = (('ENOSPC', 'No space left on device'),
                  ('EIO', 'Input/output error'),
                  ('EDQUOT', 'Disk quota exceeded'))
        cases = [(('resumed', *place), *error)
                 for place in places for error in errors]
        if FULL:
            cases = pace.sample_cases('errors', cases, self.case_s, BUDGET_S, LEAST)
        else:
            cases = cases[::len(cases) // SAMPLE + 1]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.fail_at, cases))
        print('%d errors' % len(cases))


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], 'Calls.test_' + WHAT], verbosity=2)
