"""slurm/train.sh, eval.sh and pack.sh on a real Slurm of two virtual nodes
(cluster.py): jobs are stopped in every way that Slurm has and requeued until
the run is complete; its weights are those of an undisturbed run. The length of
the run and the time that a job has to save follow the measured times of steps
and jobs.
"""
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402
from pace import wait_for  # noqa: E402

# One rank on each of the nodes.
BOTH = ['--nodes=2', '--ntasks-per-node=1']
LONG = {'data__train': 'long', 'eval__every': 20, 'checkpoint__keep': 3}
LONG_S = 10  # at least, so that Slurm acts in the middle of the run
LAUNCHERS = ('srun', 'mpirun')
# Any other state, also one that scontrol shows for a moment (SIGNALING,
# REQUEUED), is of a job that goes on.
ENDED = ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL',
         'OUT_OF_MEMORY', 'PREEMPTED', 'DEADLINE', 'BOOT_FAIL')
ENVIRONMENT = {'OMPI_MCA_btl': 'self,tcp', 'OMPI_MCA_btl_tcp_if_include': 'lo',
               'OMPI_ALLOW_RUN_AS_ROOT': '1',
               'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1',
               'PRTE_ALLOW_RUN_AS_ROOT': '1',
               'PRTE_ALLOW_RUN_AS_ROOT_CONFIRM': '1',
               'VOCDIST': os.environ['PROGRAM']}


def script(name):
    return os.path.join(CHECKOUT, 'slurm', name)


class Cluster:
    """The cluster, and the commands of its users."""

    def __init__(self, folder, save_s):
        self.home = folder
        self.folder = os.path.join(folder, 'cluster')
        os.mkdir(self.folder)
        # In its own session: Ctrl-C ends it by closing its input.
        self.process = subprocess.Popen(
            [sys.executable, '-B', os.path.join(HERE, 'cluster.py'),
             self.folder, str(save_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True)
        line = self.process.stdout.readline()
        self.environment = dict(os.environ, **ENVIRONMENT)
        self.environment['SLURM_CONF'] = line.strip().rpartition('=')[2]
        if not line:
            sys.exit('no cluster: status %d' % self.process.wait())

    def end(self):
        self.process.stdin.close()
        self.process.wait()

    def call(self, *command, cwd=None, **environment):
        result = subprocess.run(command, cwd=cwd or self.home, text=True,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT,
                                env=dict(self.environment, **environment))
        if result.returncode != 0:
            raise AssertionError('%s: %s' % (' '.join(command), result.stdout))
        return result.stdout.strip()

    def set_user_signal(self, on):
        """Whether Slurm preempts with the signal of sbatch's --signal."""
        path = os.path.join(self.folder, 'slurm.conf')
        with open(path) as f:
            text = f.read()
        with open(path, 'w') as f:
            f.write(re.sub(r'(?m)^#?(.*send_user_signal)$',
                           r'\1' if on else r'#\1', text))
        self.call('scontrol', 'reconfigure')

    def empty_job_s(self):
        """Seconds for a job on all nodes that does nothing."""
        start = time.monotonic()
        self.sbatch('--nodes=2', '--wrap', 'srun true').end()
        return time.monotonic() - start

    def sbatch(self, *arguments, cwd=None, **environment):
        return Job(self, self.call(
            'sbatch', '--parsable',
            '--output=' + os.path.join(self.home, '%j.out'),
            *map(str, arguments), cwd=cwd, **environment))


class Job:
    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number

    def show(self):
        return self.cluster.call('scontrol', 'show', 'job', self.number)

    def field(self, name):
        """A field of scontrol show job, such as JobState."""
        return re.search(r'\b%s=(\S*)' % name, self.show()).group(1)

    def log(self):
        try:
            with open(os.path.join(self.cluster.home,
                                   self.number + '.out')) as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def details(self):
        return self.show() + '\n' + self.log()[-5000:]

    def is_cleaned_up(self):
        """True if the files of the previous start are gone from the nodes. A
        step left there has the number of the next start's step, and a late
        removal of the batch script would remove the next start's. Slurm itself
        waits two minutes before a restart."""
        trace = re.compile(r'(?<!\d)%s\.\d|^job0*%s$' % ((self.number,) * 2))
        return not any(
            trace.search(name)
            for where in os.listdir(self.cluster.folder)
            if where.startswith(('spool.', 'tmp.'))
            for name in os.listdir(os.path.join(self.cluster.folder, where)))

    def is_over(self):
        if self.field('Reason') == 'BeginTime' and self.is_cleaned_up():
            # Slurm rejects a credential of the new start that is created in
            # the same second in which the previous start ended.
            time.sleep(1)
            self.cluster.call('scontrol', 'update', 'JobId=' + self.number,
                              'StartTime=now')
        return self.field('JobState') in ENDED

    def end(self, state='COMPLETED', code='0:0'):
        """Waits for the end of the job, over all its restarts."""
        wait_for(self.is_over, self.details)
        found = self.field('JobState'), self.field('ExitCode')
        if found != (state, code):
            raise AssertionError('%s:\n%s' % (found, self.details()))


def start_cluster(folder, timing):
    """A cluster whose jobs have time to save when they must stop: they finish
    the current step and one more."""
    stop_s = 2 * timing.step_s + timing.checkpoint_s
    return Cluster(folder.path, round(10 * stop_s))


class Restarts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f = jobs.ScratchFolder()
        cls.f.shards('long', 400, 200)
        cls.pace = cls.f.measure_pace(2, **LONG)
        cls.cluster = start_cluster(cls.f, cls.pace)
        cls.addClassCleanup(cls.cluster.end)
        cls.choose_length()
        cls.f.train(1, 'reference', **LONG)

    @classmethod
    def choose_length(cls):
        """Steps of a run with about twenty checkpoints, from a shorter run."""
        steps = cls.pace.steps_in(LONG_S / 4, 8, 500)
        job = cls.f.train(2, 'short', train__steps=steps, **LONG)
        step_s = max(job.seconds - cls.pace.start_s, job.seconds / 10) / steps
        empty_job_s = cls.cluster.empty_job_s()
        steps = int(max(LONG_S, 5 * empty_job_s) / step_s)
        LONG['train__steps'] = pace.clamp(steps, 12, 25000)
        LONG['checkpoint__every'] = pace.clamp(steps // 20, 1, 25)
        print('%s; a step of a long run %.3f s, an empty Slurm job %.1f s: '
              'runs of %d steps' % (
                  cls.pace, step_s, empty_job_s, LONG['train__steps']))

    @classmethod
    def tearDownClass(cls):
        cls.cluster.end()
        cls.f.remove()

    # ---- training ----

    def saved(self, run):
        """The step of the last checkpoint; 0 without one."""
        try:
            last = os.readlink(self.f.file(run, 'checkpoints', 'last'))
        except OSError:
            return 0
        return int(re.search(r'step-(\d+)\.h5', last).group(1))

    def train(self, run, launcher, *sbatch, **options):
        """Submits a job of the run."""
        return self.cluster.sbatch(
            *BOTH, *sbatch, script('train.sh'),
            *self.f.settings(run, **dict(LONG, **options)),
            VOCDIST_LAUNCHER=launcher)

    def wait_for_checkpoint(self, job, run):
        wait_for(lambda: self.saved(run), job.details)
        self.assertEqual(job.field('JobState'), 'RUNNING', job.details())

    def start_with_all_launchers(self, name):
        """Starts a job per launcher; each has saved a checkpoint."""
        started = {launcher: self.train(name + launcher, launcher)
                   for launcher in LAUNCHERS}
        for launcher, job in started.items():
            self.wait_for_checkpoint(job, name + launcher)
        return started

    def check_restarted_once(self, job, run, saved_at_stop=True):
        """One restart, and the results of an undisturbed run."""
        self.assertEqual(job.field('Restarts'), '1', job.details())
        log = job.log()
        self.assertEqual(log.count('requeued'), 1, log)
        resumed = re.findall(r'going on after step (\d+)', log)
        self.assertEqual(len(resumed), 1, log)
        if saved_at_stop:
            self.assertIn('stopped after step %s of ' % resumed[0], log)
        self.assertEqual(self.f.weights(run), self.f.weights('reference'))
        self.assertEqual(self.f.metrics_rows(run), self.f.metrics_rows('reference'))

    def preempt(self, name):
        """Preempts jobs by a job that needs the whole cluster."""
        preempted = self.start_with_all_launchers(name)
        other = self.cluster.sbatch('--partition=high', '--nodes=2',
                                    '--ntasks-per-node=2', '--wrap', 'true')
        other.end()
        for job in preempted.values():
            wait_for(lambda: job.field('Restarts') == '1' or job.is_over(),
                     job.details)
        for job in preempted.values():
            job.end()
        return preempted

    def test_a_job_preempted_with_the_signal_of_the_script_resumes(self):
        for launcher, job in self.preempt('signal-').items():
            with self.subTest(launcher):
                self.check_restarted_once(job, 'signal-' + launcher)
        self.evaluate('signal-srun')

    def test_a_job_preempted_with_TERM_resumes(self):
        """Under mpirun TERM kills the ranks."""
        self.cluster.set_user_signal(False)
        self.addCleanup(self.cluster.set_user_signal, True)
        for launcher, job in self.preempt('TERM-').items():
            with self.subTest(launcher):
                self.check_restarted_once(job, 'TERM-' + launcher,
                                          launcher == 'srun')

    def test_a_job_at_its_time_limit_resumes(self):
        """Slurm checks its jobs twice a minute and sends the signal then. The
        signal must not be due immediately: sent before the script has started,
        it would be lost, and the job would run into its limit."""
        begun_s = max(10, int(5 * self.pace.start_s))
        minutes = 2 + int(begun_s + 20 * self.pace.step_s) // 60
        job = self.train('time', 'srun', '--time=%d' % minutes,
                         '--signal=B:USR1@%d' % (60 * minutes - begun_s),
                         train__steps=10**7)
        resumed = r'(?s)stopped after step (\d+) .* going on after step \1 '
        wait_for(lambda: job.is_over() or re.search(resumed, job.log()),
                 job.details)
        self.assertRegex(job.log(), resumed, job.show())
        self.cluster.call('scancel', job.number)

    def test_a_cancelled_job_is_not_requeued(self):
        started = self.start_with_all_launchers('cancel-')
        for job in started.values():
            self.cluster.call('scancel', job.number)
        for launcher, job in started.items():
            job.end('CANCELLED', '75:0' if launcher == 'srun' else '1:0')
            self.assertEqual(job.field('Restarts'), '0')
        self.assertIn('stopped after step %d of ' %
                      self.saved('cancel-srun'), started['srun'].log())

    def test_failures_end_the_job_with_their_exit_code(self):
        for code, environment, options in (
                (64, {}, ['--train.epoch', '3']),
                (70, {'VOCDIST_FAULT': 'step:1:error:3'}, [])):
            job = self.cluster.sbatch(
                *BOTH, script('train.sh'), *self.f.settings('failed'), *options,
                **environment)
            job.end('FAILED', '%d:0' % code)
            self.assertEqual(job.field('Restarts'), '0')
            causes = re.findall(r'(?:\]|vocdist:) error: ', job.log())
            self.assertEqual(len(causes), 1, job.log())

    # ---- evaluation and packing ----

    def evaluate(self, run):
        options = ['--checkpoint', 'runs/' + run, '--data', 'val',
                   '--per-image']
        job = self.cluster.sbatch(*BOTH, script('eval.sh'), *options,
                                  'ranks.csv')
        self.cluster.call(os.environ['PROGRAM'], 'eval', *options, 'one.csv')
        job.end()
        self.check_same_file('ranks.csv', 'one.csv')

    def check_same_file(self, *names):
        contents = []
        for name in names:
            with open(os.path.join(self.f.path, name), 'rb') as f:
                contents.append(f.read())
        self.assertTrue(contents[0] == contents[1] != b'', names)

    def test_packing_in_a_job_gives_the_same_files(self):
        """Submitted in the checkout; the program is found in PATH."""
        packer = os.environ['PACKER']
        voc, one, ranks = [os.path.join(self.f.path, name)
                           for name in ('voc', 'one', 'ranks')]
        self.cluster.call(packer, 'demo', voc, '--images', '40')
        options = [voc, '--size', '32', '--shard-size', '1', '-o']
        self.cluster.call(packer, 'pack', *options, one)
        job = self.cluster.sbatch(
            *BOTH, 'slurm/pack.sh', *options, ranks, cwd=CHECKOUT,
            PATH=os.path.dirname(packer) + ':' + os.environ['PATH'])
        job.end()
        names = sorted(os.listdir(one))
        self.assertEqual(names, sorted(os.listdir(ranks)))
        self.assertIn('shard-00000.h5', names)
        for name in names:
            self.check_same_file('one/' + name, 'ranks/' + name)


if __name__ == '__main__':
    if not shutil.which('sbatch'):
        print('no Slurm: scripts/install-deps.sh --test')
        sys.exit(77)
    unittest.main(argv=sys.argv, verbosity=2)
