"""Training jobs for campaigns: small runs, started as a user starts them.

The test that includes this gives what it was built with in its environment:
PROGRAM (vocdist), MAKE_SHARDS, MPIEXEC (a command that lacks the number).
"""
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

try:
    import h5py
except ImportError:
    sys.exit(77)

# 8 replicas of 2 pictures; all that is random is on.
SMALL = {
    'model.width': 8, 'model.blocks': '1,1,1,1', 'model.head_dropout': 0.5,
    'train.epochs': 2, 'train.global_batch': 16, 'train.replicas': 8,
    'cpu.threads': 1, 'data.loader_threads': 1, 'eval.batch': 4,
    'checkpoint.keep': 100,
}
LIMIT_S = 60


class Job:
    """A finished job: status, output, seconds."""

    def __init__(self, process, start):
        try:
            self.output = process.communicate(timeout=LIMIT_S)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            self.output = process.communicate()[0] + '\nKILLED: too slow'
        self.status = process.returncode
        self.seconds = time.monotonic() - start


class Folder:
    """A scratch folder with data and runs, removed when all went well."""

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
        """Command line options: SMALL and `options`, with __ for the dot."""
        settings = dict(SMALL, **{'data.train': 'train', 'data.val': 'val'})
        settings.update({k.replace('__', '.'): v for k, v in options.items()})
        return ['--train.name', name] + [
            word for key, value in settings.items()
            for word in ('--' + key, str(value))]

    def start(self, ranks, name, environment=(), arguments=(), **options):
        """The run `name`, of settings() or of `arguments`."""
        command = shlex.split(os.environ['MPIEXEC']) + [str(ranks)]
        command += [os.environ['PROGRAM'], *arguments]
        command += (['--train.name', name] if arguments else
                    self.settings(name, **options))
        return subprocess.Popen(command, cwd=self.path, text=True,
                                env=dict(os.environ, **dict(environment)),
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def run(self, ranks, name, **options):
        start = time.monotonic()
        return Job(self.start(ranks, name, **options), start)

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
        """Their digest."""
        digest = hashlib.sha256()
        for key, value in sorted(self.arrays(name, which).items()):
            digest.update(value)
        return digest.hexdigest()[:16]

    def losses(self, name):
        """The columns of metrics.csv that no clock has a say in."""
        with open(self.file(name, 'metrics.csv')) as f:
            rows = [line.rstrip('\n').split(',') for line in f]
        clocks = [rows[0].index(c) for c in ('images_per_s', 'seconds')]
        return [[v for i, v in enumerate(row) if i not in clocks]
                for row in rows]

    def remove(self):
        shutil.rmtree(self.path)
