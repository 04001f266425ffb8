"""Injects faults at every site of a run, on rank 0 and on another of 3 ranks:
the job ends within a time limit, with the right exit code and one error
message, and the last checkpoint is valid. This limit and the timeouts of the
ranks are derived from the measured times of a run.

    fault_injection.py BACKEND [full|collective]

full: all actions, sites and ranks; collective: only failures in means that the
backend's plugin computes, with two steps in flight
"""
import os
import re
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402

ARGUMENTS = sys.argv[1:]
FULL = 'full' in ARGUMENTS
IS_DEFERRED = jobs.use_backend(ARGUMENTS[0] if ARGUMENTS else 'ref')

RANKS = 3
END_LIMIT_S = 120  # least time limit for the end of a failed job
# Jobs in parallel: a failing job mostly waits, because mpirun gives its ranks
# one second to end.
AT_ONCE = 4
# Sites that `train` does not reach.
OTHER_SITES = ('pack',)
# Exit codes and numbers of error lines per injected action. A job with a
# hanging rank ends by the other ranks' time limit or by the watchdog of that
# rank.
STATUS = {'error': {70}, 'exit': {70}, 'kill': {137}, 'hang': {69, 70}}
ERRORS = {'error': {1}, 'exit': {0}, 'kill': {0}, 'hang': {1, 2}}


def sites():
    header = os.path.join(os.path.dirname(__file__), '..', '..', 'src', 'base',
                          'fault.h')
    with open(header) as f:
        return re.findall(r'X\(SITE_\w+, "([\w-]+)"', f.read())


def count_errors(output):
    return len(re.findall(r'(?:\]|vocdist:|vocpack:) error: ', output))


def make_voc(folder):
    """The smallest VOC folder: one image with one object."""
    from PIL import Image
    for name in ('Annotations', 'JPEGImages'):
        os.makedirs(os.path.join(folder, name))
    Image.new('RGB', (40, 30), 'red').save(
        os.path.join(folder, 'JPEGImages', 'a.jpg'))
    with open(os.path.join(folder, 'Annotations', 'a.xml'), 'w') as f:
        f.write('<annotation><filename>a.jpg</filename><size><width>40</width>'
                '<height>30</height><depth>3</depth></size><object><name>cat'
                '</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>20</xmax>'
                '<ymax>20</ymax></bndbox></object></annotation>')


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A run of 5 steps, and one of the same bits stopped after 2."""
        cls.f = jobs.ScratchFolder()
        cls.choose_limits(cls.f.measure_pace(RANKS))
        cls.f.train(1, 'good', checkpoint__every=1)
        cls.f.train(1, 'base', 75, train__stop_at=2)
        cls.good = {step: cls.f.weights('good', 'step-%08d.h5' % step)
                    for step in range(1, 6)}

    @classmethod
    def choose_limits(cls, timing):
        """Timeouts of the ranks. `short`, for ranks that hang: longer than a
        working rank is late. `long`, for the other actions: a job that ends by
        it exceeds `end_limit_s`."""
        step_s = max(2, 3 * AT_ONCE * timing.step_s)
        setup_s = max(2, AT_ONCE * timing.start_s)
        cls.short = cls.limits(setup_s, step_s)
        cls.end_limit_s = max(END_LIMIT_S, 10 * timing.run_s(5, AT_ONCE),
                              5 * max(setup_s, step_s))
        cls.long = cls.limits(3 * cls.end_limit_s, 3 * cls.end_limit_s)
        print('%s: timeouts for ranks that hang: %.1f s to start, %.1f s for a '
              'step; a failed job must end within %.0f s' % (
                  timing, setup_s, step_s, cls.end_limit_s))

    @staticmethod
    def limits(setup_s, step_s):
        return {'timeout__setup': setup_s, 'timeout__step': step_s,
                'timeout__checkpoint': step_s}

    @classmethod
    def tearDownClass(cls):
        cls.f.remove()

    def copy_base_run(self, name):
        subprocess.check_call(['cp', '-a', self.f.file('base'),
                               self.f.file(name)])

    def check_last_checkpoint(self, name):
        last = os.path.realpath(self.f.file(name, 'checkpoints', 'last'))
        step = int(re.search(r'step-(\d+)\.h5', last).group(1))
        self.assertGreaterEqual(step, 2)
        self.assertEqual(self.f.weights(name), self.good[step], name)

    def check_resumes(self, name):
        self.f.train(2, name)
        self.assertEqual(self.f.weights(name), self.good[5], name)
        self.assertEqual(self.f.metrics_rows(name), self.f.metrics_rows('good'), name)

    def check_job(self, job, what, action, site):
        """Checks a job with a fault; False if the fault was not reached."""
        if job.status == 0:
            return False
        text = '%s: status %d, %.1f s:\n%s' % (what, job.status, job.seconds,
                                               job.output)
        self.assertIn(job.status, STATUS[action], text)
        self.assertIn(count_errors(job.output), ERRORS[action], text)
        self.assertLess(job.seconds, self.end_limit_s, text)
        if action == 'error':
            self.assertIn('injected fault at ' + site, job.output)
        return True

    def inject(self, site, rank, action, visit=1, **options):
        """A resumed run with a fault; True if it was reached."""
        what = '%s:%d:%s:%d' % (site, rank, action, visit)
        name = what.replace(':', '-')
        self.copy_base_run(name)
        options = dict({'checkpoint__every': 1}, **options)
        options.update(self.short if action == 'hang' else self.long)
        job = self.f.run(RANKS, name, environment={'VOCDIST_FAULT': what},
                         **options)
        reached = self.check_job(job, what, action, site)
        if reached:
            self.check_last_checkpoint(name)
        return reached

    def inject_all(self, cases):
        """inject() for each case; the cases whose faults were reached."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            reached = pool.map(lambda case: self.inject(*case), cases)
            return [case for case, hit in zip(cases, reached) if hit]

    def test_an_error_at_any_site_ends_the_job(self):
        cases = [(site, rank, 'error') for site in sites() for rank in (0, 2)]
        self.assertEqual(self.inject_all(cases),
                         [c for c in cases if c[0] not in OTHER_SITES],
                         'OTHER_SITES is not the list of unreached sites')

    def test_an_error_at_the_second_visit_ends_the_job(self):
        cases = [(site, 1, 'error', 2)
                 for site in ('step', 'reduce', 'flags', 'checkpoint', 'eval')]
        self.assertEqual(self.inject_all(cases), cases)

    def test_a_rank_that_exits_or_is_killed_ends_the_job(self):
        cases = [(site, rank, action)
                 for site in (sites() if FULL else
                              ('data', 'reduce', 'checkpoint'))
                 if site not in OTHER_SITES
                 for rank, action in ((1, 'exit'), (0, 'kill'))]
        self.assertEqual(self.inject_all(cases), cases)

    def test_a_rank_that_hangs_ends_the_job(self):
        cases = [(site, rank, 'hang')
                 for site in (sites() if FULL else
                              ('init', 'weights', 'step', 'reduce',
                               'shutdown'))
                 if site not in OTHER_SITES
                 for rank in ((0, 2) if FULL else (2,))]
        self.assertEqual(self.inject_all(cases), cases)

    def test_the_watchdog_ends_a_single_rank_that_hangs(self):
        """Also at the start and the end of MPI, and in eval."""
        options = ['--checkpoint', 'runs/base', '--data', 'val']
        options += ['--timeout.setup', str(self.short['timeout__setup'])]
        for site, arguments in (('init', ()), ('shutdown', ()),
                                ('init', ['eval', *options]),
                                ('eval', ['eval', *options])):
            self.copy_base_run('alone')
            fault = {'VOCDIST_FAULT': site + ':0:hang'}
            start = time.monotonic()
            command = [os.environ['PROGRAM'], *(
                arguments or self.f.settings('alone', **self.short))]
            job = jobs.Job(subprocess.Popen(
                command, cwd=self.f.path, text=True, stderr=subprocess.STDOUT,
                stdout=subprocess.PIPE, env=dict(os.environ, **fault)), start)
            self.assertEqual(job.status, 70, job.output)
            self.assertIn('watchdog: no progress for', job.output)
            self.assertLess(job.seconds, self.end_limit_s)
            subprocess.check_call(['rm', '-r', self.f.file('alone')])

    def test_a_late_rank_is_named(self):
        self.copy_base_run('late')
        job = self.f.run(RANKS, 'late',
                         environment={'VOCDIST_FAULT': 'reduce:1:hang'},
                         **self.short)
        self.assertRegex(job.output, r'rank 1 \(|\[rank 1/3', job.output)
        self.assertIn('computing a step' if IS_DEFERRED else
                      'averaging gradients', job.output)

    @unittest.skipUnless(IS_DEFERRED, 'only for a plugin with a collective')
    def test_a_rank_that_fails_with_steps_in_flight_ends_the_job(self):
        """Rank 1 does not launch step 5; the others have launched it, and step 4
        is in flight on all ranks."""
        for action in 'hang', 'exit', 'kill':
            name = 'inflight-' + action
            self.copy_base_run(name)
            fault = {'VOCDIST_FAULT': 'reduce:1:%s:3' % action}
            limits = self.short if action == 'hang' else self.long
            job = self.f.run(RANKS, name, environment=fault,
                             exchange__name='nccl', checkpoint__every=10,
                             train__epochs=4, **limits)
            self.assertIn('exchange nccl', job.output)
            self.assertTrue(self.check_job(job, name, action, 'reduce'))
            if action == 'hang':
                self.assertEqual(job.status, 69, job.output)
                self.assertRegex(job.output,
                                 r'1 of 3 ranks did not arrive within [^\n]* '
                                 r'while computing a step: rank 1 \(')

    def test_a_failed_run_resumes_bit_identical(self):
        for site in ('reduce', 'checkpoint', 'shutdown'):
            self.assertTrue(self.inject(site, 1, 'error', 1,
                                       train__epochs=2), site)
            self.check_resumes('%s-1-error-1' % site)

    def test_a_non_finite_loss_ends_the_job(self):
        what = {'VOCDIST_FAULT': 'step:1:nan:3'}
        self.copy_base_run('nan')
        job = self.f.run(RANKS, 'nan', environment=what, checkpoint__every=1)
        self.assertEqual(job.status, 76, job.output)
        self.assertEqual(count_errors(job.output), 1, job.output)
        self.assertRegex(job.output, r'error: step 3: the loss is not '
                                     r'finite; rank 1 \([^\n]*: tiny_\d+\n')
        self.check_last_checkpoint('nan')
        self.check_resumes('nan')

    def test_an_error_in_other_commands_ends_the_job(self):
        commands = {
            'report': [os.environ['PROGRAM'], 'eval', '--checkpoint',
                       'runs/good', '--data', 'val'],
            'pack': [os.environ['PACKER'], 'pack', 'voc', '-o', 'packed'],
        }
        make_voc(os.path.join(self.f.path, 'voc'))
        mpirun = os.environ['MPIEXEC'].split()
        for site, command in commands.items():
            for rank in (0, 2):
                what = '%s:%d' % (site, rank)
                start = time.monotonic()
                job = jobs.Job(subprocess.Popen(
                    mpirun + ['3'] + command, cwd=self.f.path, text=True,
                    env=dict(os.environ, VOCDIST_FAULT=what),
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT), start)
                self.assertTrue(self.check_job(job, what, 'error', site), what)


if __name__ == '__main__':
    only = ['Faults.test_a_rank_that_fails_with_steps_in_flight_ends_the_job']
    unittest.main(argv=sys.argv[:1] + (only if 'collective' in ARGUMENTS else
                                       []), verbosity=2)
