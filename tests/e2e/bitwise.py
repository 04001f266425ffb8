"""Same bits at any rank count: the trained weights and the reported metrics do
not depend on ranks, loader threads, stops or restarts; the last tests check
that other settings do change them.

    bitwise.py BACKEND [full|quick] [tuned]

With deferred, gradients are averaged by the collective of the plugin (exchange
nccl) unless a test gives another exchange. With `tuned` all runs use one tuning
plan; the backend must be able to tune.
"""
import os
import signal
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402

ARGUMENTS = sys.argv[1:]
BACKEND = ARGUMENTS[0] if ARGUMENTS else 'ref'
FULL = 'full' in ARGUMENTS
QUICK = 'quick' in ARGUMENTS
QUICK_TESTS = ['BitwiseEquality.test_bits_are_equal_at_any_number_of_ranks',
               'BitwiseEquality.test_every_exchange_gives_the_same_bits']
RANKS = range(2, 9) if FULL else (2, 5) if QUICK else (2, 3, 4, 5, 8)
TUNED = 'tuned' in ARGUMENTS
IS_DEFERRED = jobs.use_backend(BACKEND)
SIGNALLED_S = 10  # long enough to be in progress when a signal comes
ONECYCLE = {'optim__schedule': 'onecycle'}


class BitwiseEquality(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f = jobs.ScratchFolder()
        if TUNED:
            cls.f.train(2, 'tuned', tune='on')
            jobs.SMALL['tune'] = 'runs/tuned/plan.json'
        cls.f.train(1, 'one')
        cls.expected = cls.f.weights('one')
        cls.pace = cls.f.measure_pace(3)

    @classmethod
    def tearDownClass(cls):
        cls.f.remove()

    def check(self, name, reference='one'):
        self.assertEqual(self.f.weights(name), self.f.weights(reference), name)
        self.assertEqual(self.f.metrics_rows(name), self.f.metrics_rows(reference), name)

    def test_bits_are_equal_at_any_number_of_ranks(self):
        for ranks in RANKS:
            name = 'ranks%d' % ranks
            self.f.train(ranks, name)
            self.check(name)

    @unittest.skipUnless(IS_DEFERRED, 'only for backends built on ref')
    def test_a_backend_built_on_ref_equals_ref(self):
        for ranks in (1, 3):
            name = 'plain%d' % ranks
            self.f.train(ranks, name, backend='ref', tune='off')
            if TUNED:
                self.assertNotEqual(self.f.weights(name), self.expected)
            else:
                self.check(name)

    @unittest.skipUnless(FULL and not TUNED, 'full only, of another network')
    def test_bits_are_equal_for_the_full_network(self):
        options = {'model__width': 64, 'model__blocks': '3,4,6,3',
                   'train__steps': 2, 'data__val': ''}
        self.f.train(1, 'full1', **options)
        for ranks in (2, 3):
            self.f.train(ranks, 'full%d' % ranks, **options)
            self.check('full%d' % ranks, 'full1')

    def test_epoch_checkpoints_are_bitwise_equal(self):
        self.f.train(3, 'three')
        for step in (3, 5):
            which = 'step-%08d.h5' % step
            self.assertEqual(self.f.weights('three', which),
                             self.f.weights('one', which))

    def test_every_exchange_gives_the_same_bits(self):
        """Also with buckets of 2.5 thousand elements."""
        cases = [(1, 'mpi', 4), (3, 'mpi', 4), (3, 'mpi', 0.01)]
        if IS_DEFERRED:
            cases += [(1, 'nccl', 4), (3, 'nccl', 0.01)]
        for ranks, exchange, bucket in cases:
            name = '%s%d-%g' % (exchange, ranks, bucket)
            self.f.train(ranks, name, exchange__name=exchange,
                         exchange__bucket=bucket)
            self.check(name)

    def test_auto_is_the_collective_of_the_plugin(self):
        if IS_DEFERRED:
            expected = {1: 'none', 2: 'nccl'}
        else:
            expected = {1: 'none', 2: 'mpi'}
        for ranks, exchange in expected.items():
            job = self.f.train(ranks, 'auto%d' % ranks)
            self.assertIn('exchange ' + exchange, job.output)

    def test_bits_are_equal_at_any_number_of_loader_threads(self):
        self.f.train(2, 'loaders', data__loader_threads=4)
        self.check('loaders')

    def test_a_run_resumed_on_other_ranks_is_bit_identical(self):
        self.f.train(1, 'cycle', **ONECYCLE)
        self.assertNotEqual(self.f.weights('cycle'), self.expected)
        ranks = [1, 2, 3, 4, 5]
        for stop in range(1, 5):  # step 3 ends epoch 1, 1, 2 and 4 are inside
            name = 'stop%d' % stop
            self.f.train(ranks[stop], name, 75, train__stop_at=stop, **ONECYCLE)
            self.f.train(ranks[stop - 1], name, **ONECYCLE)
            self.check(name, 'cycle')
        for stop in range(1, 5):  # one run stopped at every step
            self.f.train(ranks[stop], 'often', 75, train__stop_at=stop,
                         **ONECYCLE)
        self.f.train(3, 'often', **ONECYCLE)
        self.check('often', 'cycle')

    def run_with_signal(self, name, ranks, number, delay, **options):
        """A run that gets a signal `delay` seconds after it has saved a
        checkpoint."""
        def saved():
            folder = self.f.file(name, 'checkpoints')
            return os.path.isdir(folder) and sorted(os.listdir(folder))
        before = saved()
        process = self.f.start(ranks, name, **options)
        start = time.monotonic()
        pace.wait_for(lambda: saved() not in (False, [], before) or
                      process.poll() is not None,
                      lambda: 'a checkpoint of ' + name, poll_s=0.005)
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(number)
        return jobs.Job(process, start)

    def test_a_run_stopped_by_signals_is_bit_identical(self):
        # a checkpoint after each epoch of two or three steps
        epochs = self.pace.steps_in(SIGNALLED_S, 20, 1000) * 2 // 5
        options = {'train__epochs': epochs, 'optim__schedule': 'cosine'}
        self.f.train(1, 'long', **options)
        stopped = 0
        for i in range(5):
            # mpirun forwards USR1 and USR2 to its ranks
            number = (signal.SIGUSR1, signal.SIGUSR2)[i % 2]
            job = self.run_with_signal('signalled', 1 + i % 3, number,
                                       0.04 * i, **options)
            # mpirun no longer handles signals when its ranks have ended
            late = 'weights for other programs' in job.output
            self.assertIn(job.status, (0, 75, -number if late else 0),
                          job.output)
            stopped += job.status == 75
        self.assertGreaterEqual(stopped, 2)
        if self.f.run(2, 'signalled', **options).status != 0:
            self.fail('the last part of the run failed')
        self.check('signalled', 'long')

    def test_an_extended_run_is_bit_identical(self):
        self.f.train(2, 'four', train__epochs=4)
        self.f.train(1, 'extended')
        self.f.train(3, 'extended', train__epochs=4)
        self.check('extended', 'four')

    def test_the_saved_configuration_reproduces_the_run(self):
        self.f.train(2, 'again',
                     arguments=['-c', 'runs/one/config.yaml'])
        self.check('again')

    def test_step_rows_are_equal_at_any_number_of_ranks(self):
        for ranks in (1, 3):
            self.f.train(ranks, 'rows%d' % ranks, log__every=1)
        with open(self.f.file('rows1', 'steps.jsonl')) as one:
            with open(self.f.file('rows3', 'steps.jsonl')) as three:
                def lines(f):
                    return [line.split(', "images_per_s"')[0] for line in f]
                rows = lines(one)
                self.assertEqual(rows, lines(three))
                self.assertEqual(len(rows), 5)

    # ---- other settings give other bits ----

    @unittest.skipIf(TUNED, 'the plan is for other settings')
    def test_other_seeds_replicas_rates_and_pixels_change_the_weights(self):
        others = {
            'seed': {'train__seed': 2},
            'replicas': {'train__replicas': 4},
            'lr': {'optim__lr': 1.0001e-3},
        }
        for name, options in others.items():
            self.f.train(2, name, **options)
            self.assertNotEqual(self.f.weights(name), self.expected, name)
        self.f.shards('pixel', 40, 0, 17)
        self.f.train(2, 'pixel', data__train='pixel')
        self.assertNotEqual(self.f.weights('pixel'), self.expected)

    @unittest.skipIf(TUNED, 'the plan is for other settings')
    def test_the_mean_gradient_equals_that_of_ref(self):
        """One step of SGD moves the weights by lr times the mean gradient."""
        self.f.shards('large', 64, 0, size=64)
        options = {'train__steps': 1, 'optim__name': 'sgd', 'data__val': '',
                   'data__train': 'large', 'train__global_batch': 64}

        def weights(ranks, name, **more):
            self.f.train(ranks, name, **dict(options, **more))
            param = self.f.arrays(name)['param']
            return struct.unpack('<%df' % (len(param) // 4), param)

        start = weights(1, 'sgdstart', optim__lr=0)
        ours = weights(3, 'sgd', optim__lr=1e-3)
        ref = weights(1, 'sgdref', optim__lr=1e-3, backend='ref')
        apart = sum((x - y) ** 2 for x, y in zip(ours, ref)) ** 0.5
        moved = sum((x - y) ** 2 for x, y in zip(ref, start)) ** 0.5
        self.assertTrue(apart <= 1e-3 * moved, (apart, moved))
        self.assertTrue(moved > 1e-3, moved)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + (QUICK_TESTS if QUICK else []),
                  verbosity=2)
