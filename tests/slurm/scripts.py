"""slurm/train.sh, eval.sh and pack.sh without Slurm: their output and
decisions, with stubs for the programs and for the commands of Slurm.
"""
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

CHECKOUT = os.path.realpath(os.path.join(os.path.dirname(__file__), '..', '..'))

COMMANDS = {
    'srun': '''
if [ "$1" = --mpi=list ]; then echo "plugins: ${PLUGINS:-none pmix}" >&2; exit
fi
echo "srun $*, $SRUN_CPUS_PER_TASK cores" >>called
shift 2
"$@"''',
    'mpirun': '''
echo "mpirun $*" >>called
shift 11
"$@"''',
    'scontrol': '''
case "$1 $2" in
'show job')
  [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || echo "scontrol show $3" >>called
  [ -z "${MUTE:-}" ] || exit 1
  echo "   JobState=${STATE:-RUNNING} Requeue=1 PreemptTime=${PREEMPTED:-None}" ;;
'show config')
  printf 'PreemptType             = preempt/%s\\n' "${PLUGIN:-partition_prio}"
  echo "SLURM_VERSION           = ${VERSION:-22.05.8}" ;;
'show partition')
  echo "   DefaultTime=NONE GraceTime=${GRACE:-20} PreemptMode=${MODE:-REQUEUE}" ;;
*) echo "scontrol $*" >>called ;;
esac''',
    'vocdist': '''
case $* in
*--wrong*) exit 64 ;;
*--print-config)
  printf 'model:\\n  name: no    # default\\ntrain:\\n'
  printf '  steps: auto       # default\\n  name: "a run"    # command line\\n'
  printf '  dir: runs      # default\\ncpu:\\n  name: no     # default\\n' ;;
*)
  if [ -n "${SAVES:-}" ]; then
    mkdir -p "runs/a run/checkpoints"
    ln -sfn "$SAVES" "runs/a run/checkpoints/last"
  fi
  exit "${STATUS:-0}" ;;
esac''',
    'vocpack': '',
}


class Scripts(unittest.TestCase):
    def setUp(self):
        """PATH is one folder with everything that the scripts may call."""
        self.folder = tempfile.mkdtemp(prefix='vocdist test ')
        self.addCleanup(shutil.rmtree, self.folder)
        self.bin = os.path.join(self.folder, 'bin')
        os.mkdir(self.bin)
        for name, text in COMMANDS.items():
            path = os.path.join(self.bin, name)
            with open(path, 'w') as f:
                f.write('#!/bin/bash\n' + text + '\n')
            os.chmod(path, 0o755)
        for name in ('bash', 'env', 'sed', 'dirname', 'date', 'readlink',
                     'mkdir', 'ln'):
            os.symlink(shutil.which(name), os.path.join(self.bin, name))

    def call(self, script, *arguments, status=0, job='7', **environment):
        """Output of the script; with `job` it runs as that Slurm job."""
        environment['PATH'] = self.bin
        if job:
            environment.update(SLURM_JOB_ID=job, SLURM_CPUS_PER_TASK='3')
        result = subprocess.run(
            [os.path.join(CHECKOUT, 'slurm', script), *arguments],
            cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(result.returncode, status, result.stdout)
        return result.stdout

    def take_calls(self):
        """Calls of the stubs since the last take_calls()."""
        path = os.path.join(self.folder, 'called')
        if not os.path.exists(path):
            return []
        with open(path) as f:
            lines = f.read().splitlines()
        os.remove(path)
        return lines

    def program(self, name):
        return os.path.join(self.bin, name)

    # ---- the command ----

    def test_a_dry_run_prints_the_command_and_does_nothing(self):
        for script, words in (
                ('train.sh', ['vocdist', 'train', '--resume', 'auto']),
                ('eval.sh', ['vocdist', 'eval']),
                ('pack.sh', ['vocpack', 'pack'])):
            for job in ('', '7'):
                before = os.listdir(self.folder)
                output = self.call(script, '-x', 'a b', '--dry-run', 'c', job=job)
                export, command = output.splitlines()
                self.assertEqual(export, 'export SRUN_CPUS_PER_TASK=%s' %
                                 ('3' if job else '1'))
                self.assertEqual(
                    shlex.split(command),
                    ['srun', '--mpi=pmix', '--kill-on-bad-exit=1',
                     self.program(words[0]), *words[1:], '-x', 'a b', 'c'])
                self.assertEqual(os.listdir(self.folder), before)

    def test_the_log_shows_the_command_that_runs(self):
        for plugins in ('pmix_v4', 'pmi2'):
            output = self.call('train.sh', '--dry-run', '-c', 'x', PLUGINS=plugins)
            command = output.splitlines()[1]
            self.assertEqual(command.split()[0],
                             'srun' if plugins == 'pmix_v4' else 'mpirun')
            self.assertIn('\n' + command + '\n',
                          self.call('train.sh', '-c', 'x', PLUGINS=plugins))
            self.assertEqual(self.take_calls()[0].partition(',')[0],
                             ' '.join(shlex.split(command)))

    def test_options_after_two_dashes_go_to_the_program(self):
        output = self.call('train.sh', '-c', 'x', '--', '--dry-run', '--')
        self.assertIn('auto -c x --dry-run --\n', output)
        self.assertEqual(len(self.take_calls()), 1)

    def test_a_launcher_can_be_chosen(self):
        output = self.call('eval.sh', '--dry-run', VOCDIST_LAUNCHER='mpirun')
        self.assertIn('mpirun --bind-to none --mca oob_tcp_keepalive_time 3 '
                      '--mca oob_tcp_keepalive_intvl 1 '
                      '--mca oob_tcp_keepalive_probes 3 ', output)
        self.assertIn('VOCDIST_LAUNCHER=x: must be srun or mpirun',
                      self.call('eval.sh', status=64, VOCDIST_LAUNCHER='x'))

    def test_restarts_resume_from_the_last_checkpoint(self):
        def launch_command(count):
            self.call('train.sh', '--resume', 'old', SLURM_RESTART_COUNT=count)
            return self.take_calls()[0].partition(',')[0]
        self.assertTrue(launch_command('0').endswith('auto --resume old'))
        self.assertTrue(launch_command('1').endswith('auto --resume old'),
                        '--resume was dropped before a checkpoint exists')
        self.call('train.sh', STATUS='75', SAVES='a', status=75)
        self.take_calls()
        self.assertTrue(launch_command('1').endswith('old --resume auto'))

    def test_a_stopped_overfit_batch_is_not_requeued(self):
        before = os.listdir(self.folder)
        self.call('train.sh', '--', '--overfit-batch', '9', STATUS='75',
                  status=75)
        self.assertEqual(len(self.take_calls()), 1, 'only srun was called')
        self.assertEqual(os.listdir(self.folder), before)

    def test_a_job_is_requeued_if_the_controller_does_not_answer(self):
        self.call('train.sh', STATUS='75', SAVES='a', MUTE='1', status=75)
        self.assertIn('scontrol requeue 7', self.take_calls())

    def test_the_program_is_found(self):
        build = os.path.join(self.folder, 'build', 'release', 'src', 'cli')
        os.makedirs(build)
        os.rename(self.program('vocdist'), os.path.join(build, 'vocdist'))
        mine = self.program('mine')
        os.symlink(os.path.join(build, 'vocdist'), mine)
        submitted = {'SLURM_SUBMIT_DIR': self.folder}
        self.assertIn('/build/release/src/cli/vocdist eval',
                      self.call('eval.sh', '--dry-run', **submitted))
        self.assertIn('/bin/mine eval', self.call(
            'eval.sh', '--dry-run', VOCDIST=mine, **submitted))

    def test_a_copied_script_finds_its_files_in_the_submit_folder(self):
        """Copied by Slurm; here scontrol does not know the original path."""
        copy = os.path.join(self.folder, 'slurm_script')
        shutil.copy(os.path.join(CHECKOUT, 'slurm', 'eval.sh'), copy)
        self.assertIn('vocdist eval', self.call(copy, '--dry-run',
                                                SLURM_SUBMIT_DIR=CHECKOUT))

    # ---- errors ----

    def test_a_script_outside_a_job_prints_how_to_submit_it(self):
        for script in ('train.sh', 'eval.sh', 'pack.sh'):
            self.assertIn('sbatch slurm/' + script,
                          self.call(script, status=64, job=''))
        self.assertEqual(self.take_calls(), [])

    def test_a_missing_program_is_an_error_with_a_remedy(self):
        os.remove(self.program('vocdist'))
        scripts = os.path.join(self.folder, 'slurm')
        shutil.copytree(os.path.join(CHECKOUT, 'slurm'), scripts)
        script = os.path.join(scripts, 'train.sh')
        self.assertIn('set VOCDIST to its path', self.call(script, status=69))
        self.assertIn('\nsrun --mpi=pmix --kill-on-bad-exit=1 vocdist train',
                      self.call(script, '--dry-run'))

    def test_a_wrong_option_starts_no_ranks(self):
        self.call('train.sh', '--wrong', status=64)
        self.assertEqual(self.take_calls(), [])

    # ---- requeue ----

    def check_requeue(self, script, status, again, **environment):
        output = self.call(script, status=status, **environment)
        self.assertEqual(self.take_calls()[1:], ['scontrol requeue 7'] * again,
                         output)
        return output

    def test_only_a_stopped_job_is_requeued(self):
        for status in (0, 1, 64, 70, 74, 76, 137, 139):
            self.check_requeue('train.sh', status, 0, STATUS=str(status))
        self.check_requeue('train.sh', 75, 1, STATUS='75', SAVES='step-1')
        for script in ('train.sh', 'eval.sh'):
            # killed by preemption
            for launcher, status in (('srun', '205'), ('mpirun', '205'),
                                     ('mpirun', '0'), ('mpirun', '1')):
                self.check_requeue(script, 75, 1, STATUS=status,
                                   SAVES=launcher + status, VOCDIST_LAUNCHER=launcher,
                                   PREEMPTED='2026-11-25T00:25:24')
            for launcher in 'srun', 'mpirun':
                self.check_requeue(script, 0, 0, VOCDIST_LAUNCHER=launcher)
            self.check_requeue(script, 0, 0, PREEMPTED='2026-11-25T00:25:24')
            self.check_requeue(script, 74, 0, STATUS='74',
                               PREEMPTED='2026-11-25T00:25:24')

    def test_an_array_task_requeues_only_itself(self):
        task = {'SLURM_ARRAY_JOB_ID': '7', 'SLURM_ARRAY_TASK_ID': '2'}
        for script in ('train.sh', 'eval.sh'):
            output = self.call(script, STATUS='75', SAVES=script, status=75,
                             **task)
            self.assertEqual(set(self.take_calls()[1:]),
                             {'scontrol show 7_2', 'scontrol requeue 7_2'})
            self.assertIn(' job 7_2, ', output)
        with open(os.path.join(self.folder, 'runs/a run/slurm-lives')) as f:
            self.assertEqual(f.read(), '7_2 0\n')

    def test_a_job_that_slurm_signals_is_requeued(self):
        self.check_requeue('train.sh', 75, 1, STATUS='75', STATE='SIGNALING')

    def test_a_job_that_slurm_is_ending_is_not_requeued(self):
        output = self.check_requeue('train.sh', 75, 0, STATUS='75', STATE='COMPLETING')
        self.assertIn('Slurm is ending the job', output)

    def test_a_job_that_slurm_requeues_is_not_requeued_twice(self):
        stopped = {'STATUS': '75', 'VERSION': '24.05.0',
                   'PREEMPTED': '2026-11-25T00:25:24'}
        for again, change in (
                (0, {}), (0, {'VERSION': '24.11.5'}), (0, {'VERSION': '25.05'}),
                (1, {'VERSION': '23.11.10'}), (1, {'PREEMPTED': 'None'}),
                (1, {'PLUGIN': 'qos'}), (1, {'MODE': 'CANCEL'}),
                (1, {'GRACE': '0'})):
            output = self.check_requeue('eval.sh', 75, again, **dict(stopped, **change))
            self.assertIn('requeued by Slurm' if again == 0 else
                          'requeued', output)

    def test_starts_without_a_checkpoint_are_limited(self):
        for saves in ('', '', 'step-1', '', ''):
            self.check_requeue('train.sh', 75, 1, STATUS='75', SAVES=saves)
        output = self.check_requeue('train.sh', 70, 0, STATUS='75')
        self.assertIn('3 starts in a row saved no checkpoint', output)
        # submitting it again resets the count
        self.call('train.sh', status=75, job='8', STATUS='75')


if __name__ == '__main__':
    unittest.main(argv=sys.argv, verbosity=2)
