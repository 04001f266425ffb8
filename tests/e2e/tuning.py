"""Tuning plans: one plan on all ranks, kept by the run, reproduced from its
config.yaml. On backend deferred, whose measured plans differ from call to call
and change the bits. In a bitwise campaign (bitwise.py deferred tuned) all runs
share one plan.
"""
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402

jobs.SMALL.update({
    'backend': 'cuda',  # the plugin is called cuda there
    'backend_dir': os.path.join(os.environ['PLUGINS'], 'deferred'),
    'train.replicas': 3, 'train.global_batch': 6, 'train.steps': 3})
del jobs.SMALL['train.epochs']


class Tuning(unittest.TestCase):
    """Run `one` was tuned on one rank."""

    @classmethod
    def setUpClass(cls):
        cls.f = jobs.ScratchFolder()
        cls.train(1, 'one', tune='on')
        cls.expected = cls.f.weights('one')

    @classmethod
    def tearDownClass(cls):
        cls.f.remove()

    @classmethod
    def train(cls, ranks, name, status=0, **options):
        options.setdefault('data__val', '')
        if ranks == 1:  # without mpirun, which takes a second
            options['before'] = ()
        return cls.f.train(ranks, name, status, **options)

    def plan(self, name):
        with open(self.f.file(name, 'plan.json'), 'rb') as f:
            return f.read()

    def change_plan(self, name):
        """Replaces the plan of a run by the valid one of run `one`."""
        self.assertNotEqual(self.plan(name), self.plan('one'))
        shutil.copy(self.f.file('one', 'plan.json'),
                    self.f.file(name, 'plan.json'))

    def check_equal(self, name, reference='one'):
        self.assertEqual(self.plan(name), self.plan(reference))
        self.assertEqual(self.f.weights(name), self.f.weights(reference))

    def check_fails(self, status, message, name, ranks=1, **options):
        output = self.train(ranks, name, status, **options).output
        self.assertIn(message, output)
        return output

    # ---- the first start ----

    def test_two_measured_plans_give_other_bits(self):
        self.train(1, 'two', tune='on')
        self.assertNotEqual(self.plan('two'), self.plan('one'))
        self.assertNotEqual(self.f.weights('two'), self.expected)

    def test_auto_measures_and_off_does_not(self):
        self.train(1, 'auto')
        self.plan('auto')
        self.train(1, 'off', tune='off')
        self.assertFalse(os.path.exists(self.f.file('off', 'plan.json')))
        self.train(1, 'ref', backend='ref')  # auto: off
        self.assertEqual(self.f.weights('off'), self.f.weights('ref'))
        self.assertNotEqual(self.f.weights('auto'), self.f.weights('off'))

    def test_all_ranks_use_the_plan_of_rank_0(self):
        for ranks in (2, 3):
            name = 'ranks%d' % ranks
            self.train(ranks, name, tune='on')
            plan = 'runs/%s/plan.json' % name
            self.train(1, name + 'file', tune=plan)
            self.check_equal(name + 'file', name)
            self.train(3, name + 'more', tune=plan)
            self.check_equal(name + 'more', name)

    def test_the_saved_configuration_reproduces_the_run(self):
        with open(self.f.file('one', 'config.yaml')) as f:
            self.assertIn('\ntune: runs/one/plan.json\n', f.read())
        self.train(2, 'again', arguments=['-c', 'runs/one/config.yaml'])
        self.check_equal('again')

    def test_a_dry_run_leaves_no_plan(self):
        self.train(1, 'dry', arguments=[
            '--dry-run', *self.f.settings('dry', tune='on')])
        self.assertFalse(os.path.exists(self.f.file('dry')))
        before = self.plan('one')
        self.train(1, 'one', arguments=[
            '--dry-run', *self.f.settings('one', train__steps=5)])
        self.assertEqual(self.plan('one'), before)

    # ---- resuming ----

    def test_a_resumed_run_keeps_its_plan(self):
        self.train(2, 'kept', 75, tune='on', train__stop_at=1)
        before = self.plan('kept')
        self.train(1, 'kept', 75, tune='on', train__stop_at=2)
        self.train(3, 'kept')
        self.assertEqual(self.plan('kept'), before)
        self.train(1, 'straight', tune='runs/kept/plan.json')
        self.check_equal('straight', 'kept')

    def test_a_resumed_run_may_have_moved(self):
        self.train(1, 'here', 75, tune='runs/one/plan.json',
                     train__stop_at=1)
        os.rename(self.f.file('here'), self.f.file('there'))
        self.train(1, 'there')
        self.check_equal('there')

    def test_other_plans_are_refused_on_resume(self):
        self.train(1, 'held', 75, tune='on', train__stop_at=1)
        plan = self.plan('held')
        self.check_fails(78, 'tune: off here', 'held', tune='off')
        self.check_fails(78, 'runs/one/plan.json: not the tuning plan of runs/',
                         'held', tune='runs/one/plan.json')
        self.change_plan('held')
        self.check_fails(65, 'runs/held/plan.json: changed: not the tuning '
                         'plan of runs/held/checkpoints/', 'held', ranks=2)
        os.remove(self.f.file('held', 'plan.json'))
        output = self.check_fails(66, 'runs/held/plan.json: missing', 'held')
        self.assertIn('--tune FILE', output)
        with open(os.path.join(self.f.path, 'copy.json'), 'wb') as f:
            f.write(plan)
        self.train(1, 'held', tune='copy.json')
        self.assertEqual(self.plan('held'), plan)

    def test_a_branch_takes_the_plan_of_its_checkpoint(self):
        self.train(1, 'trunk', 75, tune='on', train__stop_at=1)
        self.train(1, 'branch', resume='runs/trunk')
        self.train(1, 'trunk')
        self.check_equal('branch', 'trunk')
        self.train(1, 'retuned', resume='runs/trunk/checkpoints/'
                     'step-00000001.h5', tune='on')
        self.assertNotEqual(self.plan('retuned'), self.plan('trunk'))
        os.remove(self.f.file('trunk', 'plan.json'))
        output = self.train(
            1, 'lone', resume='runs/trunk/checkpoints/step-00000001.h5').output
        self.assertIn('trunk/plan.json: missing: measuring another', output)
        # a copy of the checkpoint in the folder of another run
        checkpoints = self.f.file('branch', 'checkpoints')
        os.rename(self.f.file('trunk', 'checkpoints', 'step-00000001.h5'),
                  os.path.join(checkpoints, 'copy.h5'))
        shutil.copy(self.f.file('retuned', 'plan.json'),
                    self.f.file('branch', 'plan.json'))
        output = self.train(
            1, 'copied', resume='runs/branch/checkpoints/copy.h5').output
        self.assertIn("branch/plan.json: another run's: measuring", output)

    def test_a_backend_without_tuning_continues_the_run(self):
        self.train(1, 'moved', 75, tune='on', train__stop_at=1)
        output = self.train(1, 'moved', backend='ref').output
        self.assertIn('backend ref has no autotuning: the run continues', output)

    # ---- errors ----

    def test_backends_without_tuning_are_named(self):
        for backend in ('ref', 'auto'):  # auto: cpu, or ref without oneDNN
            output = self.check_fails(69, 'has no autotuning', 'none',
                                      tune='on', backend=backend,
                                      backend_dir='')
            self.assertIn('--tune off', output)

    def test_unusable_plans_are_named(self):
        def write(name, content):
            with open(os.path.join(self.f.path, name), 'wb') as f:
                f.write(content)
        plan = self.plan('one')
        write('cut.json', plan[:-2])
        write('empty.json', b'')
        write('large.json', plan + bytes(5 << 20))
        for tune, status, message in (
                ('cut.json', 65, 'the tuning plan is damaged'),
                ('empty.json', 65, 'empty.json: empty'),
                ('large.json', 65, 'more than the'),
                ('train', 65, 'not a regular file'),
                ('absent.json', 66, 'absent.json: No such file')):
            self.check_fails(status, message, 'unusable', tune=tune)
        output = self.check_fails(78, 'was made for another network', 'unusable',
                                  ranks=2, tune='runs/one/plan.json',
                                  train__replicas=2)
        self.assertIn('--tune on', output)

    # ---- evaluation ----

    def test_evaluation_has_no_plan(self):
        self.train(1, 'validated', tune='on', data__val='val')
        done = subprocess.run(
            [os.environ['PROGRAM'], 'eval', '--checkpoint', 'runs/validated',
             '--backend', 'cuda', '--backend_dir', jobs.SMALL['backend_dir']],
            cwd=self.f.path, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('mean IoU', done.stdout)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
