"""The points in which a backend on an accelerator differs from one on the host,
on backend deferred, a plugin that is called cuda here.
"""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402

DEFERRED = os.path.join(os.environ['PLUGINS'], 'deferred')


class Accelerator(unittest.TestCase):
    """All runs are in one folder, so each has a name of its own."""

    @classmethod
    def setUpClass(cls):
        cls.f = jobs.ScratchFolder()
        cls.addClassCleanup(cls.f.remove)
        cls.scaled_output = None

    def train(self, name, status=0, ranks=1, expect='', **options):
        """Trains on the device; returns the output, which contains `expect`."""
        if ranks == 1:  # without mpirun, which takes a second
            options['before'] = ()
        options.setdefault('backend', 'cuda')
        options.setdefault('backend_dir', DEFERRED)
        options.setdefault('tune', 'off')  # tuned runs differ (tuning.py)
        output = self.f.train(ranks, name, status, **options).output
        self.assertIn(expect, output)
        return output

    def call(self, *words, status=0, environment=()):
        """Runs a subcommand; returns standard output and standard error."""
        p = subprocess.run([os.environ['PROGRAM'], *words], text=True,
                           env=dict(os.environ, **dict(environment)),
                           cwd=self.f.path, capture_output=True,
                           timeout=pace.limit_s())
        self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        return p.stdout, p.stderr

    def evaluate(self, name, backend, *words, **options):
        return self.call('eval', '--checkpoint', 'runs/' + name, '--data',
                         'val', '--eval.batch', '4', '--backend', backend,
                         '--backend_dir', DEFERRED, *words, **options)

    # ---- precision ----

    def test_a_precision_that_the_backend_does_not_have_is_refused(self):
        for backend in 'cuda', 'auto':  # auto does not compute on the CPU then
            self.train('refused', 69, backend=backend, train__precision='bf16',
                       expect='backend cuda computes in fp32, fp16 only, not '
                       'in bf16')
        self.train('refused', 69, backend='ref', train__precision='fp16',
                   expect='backend ref computes in fp32 only, not in fp16')

    def test_eval_computes_in_the_precision_of_the_run(self):
        self.train('fp16', train__precision='fp16', train__epochs=1)
        other = 'backend ref computes in fp32 only, not in fp16'
        table, log = self.evaluate('fp16', 'cuda')
        self.assertNotIn('computes in', log)
        fallback, log = self.evaluate('fp16', 'ref')
        self.assertIn(other + ': computing in fp32', log)
        self.assertEqual(fallback, table)
        # a precision that is given is required
        log = self.evaluate('fp16', 'ref', '--train.precision', 'fp16',
                            status=69)[1]
        self.assertIn('train.precision: ' + other, log)

    # ---- loss scaling ----

    # The device's gradients overflow every few steps, because the scale doubles
    # after two good ones.
    SCALED = {'train__precision': 'fp16', 'optim__loss_scale': 16,
              'optim__loss_scale_steps': 2, 'train__steps': 14,
              'checkpoint__every': 1, 'log__every': 1}

    def train_scaled(self):
        """Trains run `scaled` once; returns its output."""
        if self.scaled_output is None:
            type(self).scaled_output = self.train('scaled', **self.SCALED)
        return self.scaled_output

    def scales(self, name):
        """The loss scale and whether the step was applied, of every step."""
        return [(row['loss_scale'], row['grad_norm'] is not None)
                for row in self.f.steps_rows(name)]

    def check_equal(self, name, reference):
        self.assertEqual(self.f.weights(name), self.f.weights(reference))
        self.assertEqual(self.f.steps_rows(name), self.f.steps_rows(reference))
        self.assertEqual(self.f.metrics_rows(name),
                         self.f.metrics_rows(reference))

    def test_steps_that_overflow_are_skipped(self):
        output = self.train_scaled()
        self.assertIn('skipped; the loss scale is halved', output)
        scales = self.scales('scaled')
        skipped = [step for step, (_, applied) in enumerate(scales, 1)
                   if not applied]
        self.assertGreaterEqual(len(skipped), 3)
        self.assertGreaterEqual(len(scales) - len(skipped), 4)
        self.assertEqual(output.count('is halved'), len(skipped))
        scale, good = 16, 0
        for step, (used, applied) in enumerate(scales, 1):
            self.assertEqual(used, scale)
            good = good + 1 if applied else 0
            scale = scale / 2 if not applied else (
                2 * scale if good % 2 == 0 else scale)
            # a skipped step changes neither weights nor moments
            if step > 1:
                same = (self.f.weights('scaled', 'step-%08d.h5' % step) ==
                        self.f.weights('scaled', 'step-%08d.h5' % (step - 1)))
                self.assertEqual(same, not applied, step)
        for ranks in 2, 3:
            name = 'scaled%d' % ranks
            self.train(name, ranks=ranks, **self.SCALED)
            self.check_equal(name, 'scaled')

    def test_the_loss_scale_survives_a_restart(self):
        self.train_scaled()
        for stop in range(2, 14, 3):
            self.train('often', 75, 1 + stop % 3, train__stop_at=stop,
                       **self.SCALED)
        self.train('often', **self.SCALED)
        self.check_equal('often', 'scaled')

    def test_a_skipped_step_may_have_no_loss(self):
        """The injected NaN is in a loss; the restart is in the middle of the
        epoch, whose sums do not contain it."""
        fault = {'VOCDIST_FAULT': 'step:0:nan'}
        self.train('whole', environment=fault, **self.SCALED)
        self.assertIsNone(self.f.steps_rows('whole')[0]['grad_norm'])
        self.train('parts', 75, environment=fault, train__stop_at=2,
                   **self.SCALED)
        self.train('parts', ranks=2, **self.SCALED)
        self.check_equal('parts', 'whole')

    def test_too_many_skipped_steps_end_the_run(self):
        options = dict(self.SCALED, optim__loss_scale=2**20,
                       loss__class_scale=1e6, train__steps=60)
        for ranks in 1, 2:
            output = self.train('diverges%d' % ranks, 76, ranks, **options,
                                expect='the last of 20 such steps in a row')
            self.assertEqual(output.count('is halved'), 19)

    # ---- steps in flight ----

    def test_a_non_finite_step_ends_the_run_with_steps_in_flight(self):
        """Step 4 has a NaN on one rank; step 5 was launched before the results
        of step 4 were read."""
        self.train('good')
        for ranks in 1, 2, 3:
            name = 'nan%d' % ranks
            fault = {'VOCDIST_FAULT': 'step:%d:nan' % (ranks - 1)}
            self.train(name, 75, ranks, train__stop_at=3)
            self.train(name, 76, ranks, environment=fault,
                       expect='step 4: the loss is not finite; rank %d (' %
                       (ranks - 1))
            self.train(name, 0, ranks, expect='going on after step 3')
            self.check_equal(name, 'good')

    # ---- one rank per device ----

    def test_two_ranks_do_not_share_a_device(self):
        def train(name, ranks, devices, status, stop_at=1):
            return self.train(name, status, ranks, train__stop_at=stop_at,
                              environment={'DEFERRED_DEVICES': str(devices)})
        train('apart', 3, 3, 75)
        output = train('shared', 3, 2, 78)
        self.assertRegex(output, r'error: ranks 0 and 2 \(\S+, \S+\) compute on '
                         'the same device, device-0')
        self.assertIn('CUDA_VISIBLE_DEVICES', output)
        self.assertEqual(output.count('error: '), 1, output)
        # the device may be another one after a restart
        output = train('apart', 1, 1, 0, stop_at=0)
        self.assertNotIn('was computed on', output)
        with open(self.f.file('apart', 'run.json')) as f:
            self.assertNotIn('device-', f.read())

    # ---- pinned memory ----

    def test_all_images_come_from_pinned_memory(self):
        """Asserted by the backend: in training, in validation, in bench, and at
        close, when none must be pinned any more."""
        environment = {'DEFERRED_REQUIRES_PINNED': '1'}
        self.train('pinned', train__epochs=1, environment=environment)
        self.evaluate('pinned', 'cuda', environment=environment)
        self.call('bench', 'step', '--steps', '1',
                  *self.f.settings('bench', backend='cuda',
                                   backend_dir=DEFERRED),
                  environment=environment)

    # ---- evaluation ----

    def test_evaluation_is_bit_identical_at_any_number_of_threads(self):
        """The device has one net at a time, whatever the threads."""
        self.train('plain', train__epochs=1, backend='ref')
        rows = {}
        for backend, threads in ('ref', 1), ('cuda', 1), ('cuda', 3):
            table = self.evaluate('plain', backend, '--cpu.threads',
                                  str(threads), '--per-image', 'rows.csv')[0]
            with open(os.path.join(self.f.path, 'rows.csv')) as f:
                rows[backend, threads] = table, f.read()
        self.assertEqual(len(set(rows.values())), 1)
        # the training net is open as well
        self.train('device', train__epochs=1, cpu__threads=3)
        self.assertEqual(self.f.metrics_rows('device'),
                         self.f.metrics_rows('plain'))

    # ---- shared memory ----

    def test_missing_shared_memory_is_an_error(self):
        folder = os.path.join(self.f.path, 'missing')
        output = self.train('unshared', 71, 2, exchange__name='nccl',
                            environment={'DEFERRED_SHARED_DIR': folder},
                            expect='no shared memory: No such file')
        self.assertEqual(output.count('error: '), 1, output)

    # ---- time of the device ----

    CALL_MS = 10

    def test_bench_reports_the_time_of_the_device(self):
        """The phases are then times of the host, which are 0 in a replayed
        step except for the wait for results. Each call of the device takes
        CALL_MS longer, however fast the machine is."""
        environment = {'DEFERRED_CALL_MS': str(self.CALL_MS)}
        settings = self.f.settings('bench', backend='cuda',
                                   backend_dir=DEFERRED, train__replicas=1,
                                   log__level='warn')
        out = self.call('bench', 'step', '--steps', '1', *settings)[0]
        for row in 'forward, host', 'other, host', 'on the device':
            self.assertEqual(out.count('\n  %s ' % row), 2, out)
        out = self.call('bench', 'step', '--steps', '3', '--json', *settings,
                        environment=environment)[0]
        step = json.loads(out)['step']
        for images in 'synthetic', 'shards':
            device, phases = step[images]['device_ms'], step[images]['phases_ms']
            # forward, backward and update, at least
            self.assertGreaterEqual(device['min'], 3 * self.CALL_MS)
            self.assertLessEqual(device['min'], phases['total']['min'])
            self.assertLessEqual(device['max'], phases['total']['max'])
            self.assertEqual(phases['forward']['max'], 0)  # replayed


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
