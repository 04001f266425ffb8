"""Run folders and checkpoints of older versions can be resumed, evaluated and
exported: fixtures/VERSION-RUN.tar.xz (fixtures/make_runs.py says what is in
them). Results are only compared with each other, since bits may differ by
machine. A failure means that users cannot resume their runs after an update:
keep reading the old files, do not make the fixtures again.
"""
import glob
import json
import os
import subprocess
import sys
import tarfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, 'fixtures')
sys.path[:0] = [os.path.join(HERE, '..', 'tools'), FIXTURES]
import jobs  # noqa: E402
import make_runs  # noqa: E402

try:
    import h5py
    import yaml
except ImportError:
    sys.exit(77)


def flatten(settings, prefix=''):
    """{'optim': {'lr': 1}} as {'optim.lr': 1}."""
    flat = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat.update(flatten(value, prefix + key + '.'))
        else:
            flat[prefix + key] = value
    return flat


class OldRun:
    """A run of an older version, unpacked as runs/VERSION-RUN-PURPOSE of a
    scratch folder."""

    def __init__(self, f, archive, purpose):
        self.f = f
        self.name = '%s-%s' % (os.path.basename(archive).split('.')[0],
                               purpose)
        unpacked = os.path.join(f.path, 'unpacked')
        with tarfile.open(archive) as t:
            t.extractall(unpacked)
        folder, = os.listdir(unpacked)
        os.makedirs(f.file(), exist_ok=True)
        os.rename(os.path.join(unpacked, folder), f.file(self.name))
        self.state = self.read_state()
        self.step, self.total = self.state['step'], self.state['total']

    def read_state(self):
        with h5py.File(self.f.file(self.name, 'checkpoints', 'last'),
                       'r') as f:
            return json.loads(f.attrs['state'])

    def read(self, name):
        with open(self.f.file(self.name, name)) as f:
            return f.read()

    def settings(self):
        """All of config.yaml by key, without the name of the run."""
        settings = flatten(yaml.safe_load(self.read('config.yaml')))
        del settings['train.name']
        return settings

    def config_arguments(self):
        return ['-c', 'runs/%s/config.yaml' % self.name]

    def data_arguments(self):
        """Without these, the data are not found: folders are not resumed."""
        settings = self.settings()
        return [word for key in ('data.train', 'data.val')
                for word in ('--' + key, settings[key])]

    def resume(self, ranks, arguments):
        return self.f.train(ranks, self.name, arguments=arguments).output


class OldRuns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f = jobs.ScratchFolder()
        for name, n, first in make_runs.DATA:
            cls.f.shards(name, n, first, size=make_runs.SIZE)
        cls.archives = sorted(glob.glob(os.path.join(FIXTURES, '*.tar.xz')))

    @classmethod
    def tearDownClass(cls):
        cls.f.remove()

    def for_each_archive(self, check):
        self.assertTrue(self.archives)
        for archive in self.archives:
            with self.subTest(os.path.basename(archive)):
                check(archive)

    # ---- data ----

    def test_the_generated_data_are_those_of_the_old_runs(self):
        """If they are not, make_shards has changed, and no run is resumed."""
        self.for_each_archive(self.check_data)

    def check_data(self, archive):
        state = OldRun(self.f, archive, 'data').state
        for name, key in ('old_train', 'data_digest'), ('old_val', 'judge'):
            with open(os.path.join(self.f.path, name, 'pack.json')) as f:
                self.assertEqual(json.load(f)['digest'], state[key], name)

    # ---- resuming ----

    def test_resumed_old_runs_have_equal_bits_at_any_number_of_ranks(self):
        """With the old config.yaml on 1 and 2 ranks, and without it: then the
        settings that determine the bits are those in the checkpoint."""
        self.for_each_archive(self.check_resumed_bits)

    def check_resumed_bits(self, archive):
        one, two, bare = (OldRun(self.f, archive, purpose)
                          for purpose in ('one', 'two', 'bare'))
        expected = self.resume(one, 1, one.config_arguments())
        for run, ranks, arguments in ((two, 2, two.config_arguments()),
                                      (bare, 1, bare.data_arguments())):
            outcome = self.resume(run, ranks, arguments)
            for key, value in expected.items():
                self.assertTrue(outcome[key] == value, (run.name, key))

    def resume(self, run, ranks, arguments):
        """Resumes to the last step and returns all results. Rows of the old
        part are kept, values and moments change."""
        self.assertTrue(0 < run.step < run.total)
        before, rows = self.f.arrays(run.name), run.read('steps.jsonl')
        output = run.resume(ranks, arguments)
        self.assertIn('going on after step %d of ' % run.step, output)
        for part in 'trying the checkpoint before', 'cannot be read':
            self.assertNotIn(part, output)
        last = self.f.file(run.name, 'checkpoints', 'last')
        self.assertEqual(os.readlink(last), 'step-%08d.h5' % run.total)
        self.assertEqual(run.read_state()['step'], run.total)
        text = run.read('steps.jsonl')
        self.assertTrue(text.startswith(rows), text)
        steps = self.f.steps_rows(run.name)
        self.assertEqual([row['step'] for row in steps],
                         list(range(1, run.total + 1)))
        after = self.f.arrays(run.name)
        for key in 'param', 'm', 'stats':
            self.assertTrue(any(before[key]), key)
            self.assertTrue(after[key] != before[key], key)
        return {**after, 'steps': steps,
                'metrics': self.f.metrics_rows(run.name)}

    def test_the_settings_of_old_runs_keep_their_names_and_values(self):
        self.for_each_archive(self.check_settings)

    def check_settings(self, archive):
        run = OldRun(self.f, archive, 'settings')
        old = run.settings()
        self.assertGreater(len(old), 50)
        run.resume(1, run.config_arguments())
        new = run.settings()
        self.assertEqual({key: new.get(key, 'no such option') for key in old},
                         old)

    # ---- other commands ----

    def test_old_checkpoints_are_evaluated_and_exported(self):
        self.for_each_archive(self.check_commands)

    def call(self, *words):
        done = subprocess.run([os.environ['PROGRAM'], *words], text=True,
                              cwd=self.f.path, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def check_commands(self, archive):
        run = OldRun(self.f, archive, 'commands')
        last = 'runs/%s/checkpoints/last' % run.name
        text = self.call('eval', '--checkpoint', last)
        self.assertIn('step %d\n' % run.step, text)
        self.assertRegex(text, r'\nmean IoU +0\.\d+\n')
        self.call('export', '--checkpoint', last, '-o', 'out.safetensors')
        with open(os.path.join(self.f.path, 'out.safetensors'), 'rb') as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
            data = f.read()
        parts = {key: data[slice(*tensor['data_offsets'])]
                 for key, tensor in header.items()
                 if tensor.get('dtype') == 'F32'}
        self.assertGreater(len(parts), 50)
        arrays = self.f.arrays(run.name)
        for key, part in parts.items():
            self.assertTrue(part in arrays['param'] or part in arrays['stats'],
                            key)


if __name__ == '__main__':
    unittest.main(argv=sys.argv, verbosity=2)
