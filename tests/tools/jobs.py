"""Training jobs for campaigns: small runs, started like a user starts them.

CTest sets these environment variables: PROGRAM (vocdist), MAKE_SHARDS, MPIEXEC
(a command to which the number of ranks is appended).
"""
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import pace

try:
    import h5py
except ImportError:
    sys.exit(77)

# 8 replicas of 2 images; all random operations are on.
SMALL = {
    'model.width': 8, 'model.blocks': '1,1,1,1', 'model.head_dropout': 0.5,
    'train.epochs': 2, 'train.global_batch': 16, 'train.replicas': 8,
    'cpu.threads': 1, 'data.loader_threads': 1, 'eval.batch': 4,
    'checkpoint.keep': 100,
}


def use_backend(name):
    """Sets the backend of all jobs; true if it is one of the test plugins, which
    are called cuda in their folders. A plan that is measured differs from run to
    run, so there is none."""
    is_plugin = name.startswith('deferred')
    SMALL['backend'] = 'cuda' if is_plugin else name
    SMALL['tune'] = 'off'
    if is_plugin:
        SMALL['backend_dir'] = os.path.join(os.environ['PLUGINS'], name)
    return is_plugin


class Job:
    """A finished job: status, output, seconds. A job that hangs is killed after
    a time limit that follows from `expected_s`."""

    def __init__(self, process, start, expected_s=0):
        limit_s = pace.limit_s(expected_s)
        try:
            self.output = process.communicate(timeout=limit_s)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            self.output = process.communicate()[0] + (
                '\nKILLED: not done in %d s' % limit_s)
        self.status = process.returncode
        self.seconds = time.monotonic() - start


class ResumeChecker:
    """Checks, by the log of a run that is killed repeatedly, that each start
    resumes from the last reported checkpoint or a later one."""
    STARTED, SAVED = pace.STARTED, pace.SAVED

    def __init__(self, folder, name):
        self.f, self.name = folder, name
        self.read = 0      # bytes of log.txt that were checked
        self.reported = 0  # the last step that was reported as saved
        self.started = False
        self.at = 0        # the step that the last start has reached

    def log(self):
        """The log since the last check."""
        path = self.f.file(self.name, 'log.txt')
        if not os.path.exists(path):
            return ''
        with open(path, encoding='latin-1') as f:
            f.seek(self.read)
            return f.read()

    def checkpoints(self, pattern):
        return glob.glob(self.f.file(self.name, 'checkpoints', pattern))

    def check_resume(self):
        """Checks the start that has just ended: it resumed from the reported
        step or a later one and found no damaged checkpoint. Returns its
        log."""
        text = self.log()
        self.read += len(text)
        if 'trying the checkpoint before' in text:
            raise AssertionError('a damaged checkpoint:\n' + text)
        started = self.STARTED.search(text)
        self.started = started is not None
        if started:
            self.at = int(started.group(1) or 0)
            if self.at < self.reported:
                raise AssertionError('step %d was reported:\n%s' %
                                     (self.reported, text))
        for step in self.SAVED.findall(text):
            self.at = self.reported = int(step)
        for link in self.checkpoints('last'):
            self.reported = max(self.reported, int(os.readlink(link)[5:-3]))
        return text

    def was_writing(self, pid):
        """True if process `pid` was killed while it wrote a checkpoint."""
        steps = [int(path[-11:-3]) for path in self.checkpoints('step-*.h5')]
        return bool(self.checkpoints('step-*.h5.tmp-%d-*' % pid) or
                    self.started and steps and max(steps) > self.at)


class ScratchFolder:
    """A scratch folder with data and runs; a failed test keeps it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix='vocdist-test-')
        self.shards('train', 40, 0)
        self.shards('val', 12, 100)

    def shards(self, name, n, first, *changed, size=32):
        subprocess.check_call([os.environ['MAKE_SHARDS'],
                               os.path.join(self.path, name), str(n),
                               str(size), str(first),
                               *map(str, changed)])

    def settings(self, name, **options):
        """Command line options: SMALL and `options`, with __ for dots."""
        settings = dict(SMALL, **{'data.train': 'train', 'data.val': 'val'})
        settings.update({k.replace('__', '.'): v for k, v in options.items()})
        return ['--train.name', name] + [
            word for key, value in settings.items()
            for word in ('--' + key, str(value))]

    def start(self, ranks, name, environment=(), arguments=(), before=None,
              **options):
        """Starts the run `name` with settings() or with `arguments`. `before`
        replaces mpirun and the number of ranks in the command."""
        if before is None:
            before = shlex.split(os.environ['MPIEXEC']) + [str(ranks)]
        command = [*before, os.environ['PROGRAM'], *arguments]
        command += (['--train.name', name] if arguments else
                    self.settings(name, **options))
        # A job that ends removes Open MPI's folder also for jobs that start.
        scratch = os.path.join(self.path, 'tmp', name)
        os.makedirs(scratch, exist_ok=True)
        env = dict(os.environ, TMPDIR=scratch, DEFERRED_SHARED_DIR=self.path)
        env.update(environment)
        return subprocess.Popen(command, cwd=self.path, text=True, env=env,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def run(self, ranks, name, expected_s=0, **options):
        start = time.monotonic()
        return Job(self.start(ranks, name, **options), start, expected_s)

    def measure_pace(self, ranks, steps=4, **options):
        """The pace of such runs, measured with one of a few steps."""
        options.update(train__steps=steps, checkpoint__every=1)
        return pace.Pace(self.start(ranks, 'pace', **options),
                         self.file('pace'))

    def train(self, ranks, name, status=0, **options):
        job = self.run(ranks, name, **options)
        if job.status != status:
            raise AssertionError('%s: status %d, not %d:\n%s' %
                                 (name, job.status, status, job.output))
        return job

    def file(self, *parts):
        return os.path.join(self.path, 'runs', *parts)

    def arrays(self, name, which='last'):
        """All arrays of a checkpoint by name, as bytes."""
        with h5py.File(self.file(name, 'checkpoints', which), 'r') as f:
            return {key: f[key][()].tobytes()
                    for key in ('param', 'm', 'v', 'stats')}

    def weights(self, name, which='last'):
        """Digest of all arrays of a checkpoint."""
        digest = hashlib.sha256()
        for key, value in sorted(self.arrays(name, which).items()):
            digest.update(value)
        return digest.hexdigest()[:16]

    def metrics_rows(self, name):
        """metrics.csv without the columns that are times."""
        with open(self.file(name, 'metrics.csv')) as f:
            rows = [line.rstrip('\n').split(',') for line in f]
        clocks = [rows[0].index(c) for c in ('images_per_s', 'seconds')]
        return [[v for i, v in enumerate(row) if i not in clocks]
                for row in rows]

    def steps_rows(self, name):
        """steps.jsonl without the values that are times."""
        with open(self.file(name, 'steps.jsonl')) as f:
            rows = [json.loads(line) for line in f]
        return [{k: v for k, v in row.items()
                 if k not in ('images_per_s', 'wait_share')} for row in rows]

    def outcome(self, name):
        """All results of a finished run that equal settings must reproduce."""
        with open(self.file(name, 'config.yaml')) as f:
            config = f.read().replace(name, 'NAME')
        files = {}
        for path in glob.glob(self.file(name, 'weights', '*')):
            with open(path, 'rb') as f:
                files[os.path.basename(path)] = hashlib.sha256(
                    f.read()).hexdigest()
        checkpoints = self.file(name, 'checkpoints')
        return {'config.yaml': config, 'weights': files,
                'metrics.csv': self.metrics_rows(name),
                'steps.jsonl': self.steps_rows(name),
                'checkpoints': sorted(os.listdir(checkpoints)),
                'links': [os.readlink(os.path.join(checkpoints, link))
                          for link in ('last', 'best')],
                'last': self.weights(name), 'best': self.weights(name, 'best')}

    def temporary_files(self, name):
        return [path for path in glob.glob(self.file(name, '**'),
                                           recursive=True) if '.tmp-' in path]

    def remove(self):
        shutil.rmtree(self.path)
