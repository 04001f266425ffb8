"""Job arrays on a real Slurm of two virtual nodes (cluster.py): each task is
stopped, requeued and resumed independently of the others.
"""
import os
import re
import shutil
import sys
import unittest

from restarts import jobs, script, start_cluster, wait_for

TASKS = range(3)
LONG = {'data__train': 'long', 'eval__every': 1000, 'train__epochs': 100000,
        'train__replicas': 1, 'train__global_batch': 16}


class Arrays(unittest.TestCase):
    def setUp(self):
        self.f = jobs.ScratchFolder()
        self.addCleanup(self.f.remove)
        self.cluster = start_cluster(self.f, self.f.measure_pace(1))
        self.addCleanup(self.cluster.end)

    def submit(self, *arguments):
        """The tasks of an array, submitted from outside the checkout."""
        array = self.cluster.sbatch(
            '--array=%d-%d' % (TASKS[0], TASKS[-1]), '--ntasks-per-node=1',
            '--requeue', '--open-mode=append',
            '--output=' + os.path.join(self.f.path, '%A_%a.out'), *arguments)
        return [type(array)(self.cluster, '%s_%d' % (array.number, k))
                for k in TASKS]

    def wait_for_state(self, task, state):
        wait_for(lambda: task.field('JobState') == state or
                 task.field('JobState') in ('FAILED', 'CANCELLED'), task.details)
        self.assertEqual(task.field('JobState'), state, task.details())

    def test_every_task_finds_its_files(self):
        tasks = self.submit(script('train.sh'), *self.f.settings('a'), '--',
                            '--dry-run')
        for task in tasks:
            self.wait_for_state(task, 'COMPLETED')
            self.assertIn('whole run', task.log())

    def write_wrapper(self):
        """Task 0 ends after one step, the others run long."""
        path = os.path.join(self.f.path, 'array.sh')
        with open(path, 'w') as f:
            f.write('#!/bin/bash\n'
                    '[ $SLURM_ARRAY_TASK_ID -gt 0 ] || short="--train.steps 1"\n'
                    'exec %s "$@" $short --train.name a$SLURM_ARRAY_TASK_ID\n' %
                    script('train.sh'))
        os.chmod(path, 0o755)
        return path

    def wait_for_checkpoint(self, task, times):
        text = r'saved \S*step-'
        wait_for(lambda: len(re.findall(r'\bjob \S+, restart', task.log())) >=
                 times and re.search(text, task.log().rpartition(', restart')[2]),
                 task.details)

    def test_a_task_is_requeued_and_its_siblings_are_not(self):
        self.f.shards('long', 400, 1000)
        tasks = self.submit(self.write_wrapper(),
                            *self.f.settings('a', checkpoint__every=100, checkpoint__keep=2, **LONG))
        done, sibling, stopped = tasks
        self.wait_for_state(done, 'COMPLETED')
        for task in (sibling, stopped):
            self.wait_for_checkpoint(task, 1)
        self.cluster.call('scancel', '--batch', '--signal=USR1',
                          stopped.number)
        wait_for(lambda: 'requeued' in stopped.log(), stopped.details)
        wait_for(lambda: stopped.field('Restarts') == '1', stopped.details)
        self.assertEqual(sibling.field('JobState'), 'RUNNING', sibling.details())
        wait_for(lambda: stopped.is_over() or
                 stopped.field('JobState') == 'RUNNING', stopped.details)
        self.wait_for_checkpoint(stopped, 2)
        saved = re.search(r'stopped after step (\d+) of', stopped.log())
        self.assertIn('going on after step %s of' % saved.group(1),
                      stopped.log())
        self.assertEqual(done.field('JobState'), 'COMPLETED')
        for task, restarts in ((done, '0'), (sibling, '0'), (stopped, '1')):
            self.assertEqual(task.field('Restarts'), restarts, task.details())
        for task in (sibling, stopped):
            self.cluster.call('scancel', task.number)
            self.wait_for_state(task, 'CANCELLED')


if __name__ == '__main__':
    if not shutil.which('sbatch'):
        print('no Slurm: scripts/install-deps.sh --test')
        sys.exit(77)
    unittest.main(argv=sys.argv, verbosity=2)
