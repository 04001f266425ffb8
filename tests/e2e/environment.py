"""The environment of a run: its process name, variables that a site sets,
limits on threads. One process, backend ref.
"""
import os
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402

PROGRAM = os.environ['PROGRAM']


class Environment(unittest.TestCase):
    def setUp(self):
        self.f = jobs.ScratchFolder()
        self.addCleanup(self.f.remove)
        for name in ('OMP_WAIT_POLICY', 'OMP_NUM_THREADS'):
            os.environ.pop(name, None)

    def train(self, name, **options):
        options.setdefault('before', ())
        options.setdefault('backend', 'ref')
        options.setdefault('train__steps', 1)
        return self.f.train(0, name, **options).output

    def call(self, *words, status=0, **environment):
        done = subprocess.run([PROGRAM, *words], cwd=self.f.path, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=dict(os.environ, **environment), timeout=60)
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    # ---- process name ----

    def names(self, command, **environment):
        """comm and argv[0] of a run during training."""
        process = subprocess.Popen(
            [*command, *self.f.settings('a', backend='ref',
                                        train__epochs=10**5, log__every=1)],
            cwd=self.f.path, env=dict(os.environ, **environment),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            path = self.f.file('a', 'steps.jsonl')
            before = os.path.getsize(path) if os.path.exists(path) else 0
            end = time.monotonic() + 60
            while not os.path.exists(path) or os.path.getsize(path) <= before:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)
            found = []
            for which in 'comm', 'cmdline':  # what ps shows
                with open('/proc/%d/%s' % (process.pid, which)) as f:
                    found.append(re.split('[\0\n]', f.read())[0])
            return tuple(found)
        finally:
            process.kill()
            process.wait()

    def test_the_process_name_is_vocdist(self):
        link = os.path.join(self.f.path, 'vocdist-0.1')
        os.symlink(PROGRAM, link)
        for command, environment in (
                ([PROGRAM], {}), ([link], {}),
                ([PROGRAM], {'OMP_WAIT_POLICY': 'passive'}),
                ([link], {'OMP_WAIT_POLICY': 'passive'})):
            self.assertEqual(self.names(command, **environment),
                             ('vocdist', command[0]))

    # ---- variables of a site ----

    def test_variables_of_module_systems_are_ignored(self):
        modules = {'VOCDIST_' + word: '/opt/vocdist' for word in
                   ('ROOT', 'HOME', 'DIR', 'VERSION', 'LIB', 'INC', 'BASE',
                    'PREFIX')}
        output = self.call('--print-config', **modules)
        self.assertNotIn('/opt/vocdist', output)
        output = self.call('--print-config', '--log.level', 'debug', **modules)
        for name in modules:
            self.assertIn('debug: environment: %s=' % name, output)
        for wrong in 'VOCDIST_OPTIM_L', 'VOCDIST_ROOTS', 'VOCDIST_LIBS':
            output = self.call('--print-config', status=78, **{wrong: '1'})
            self.assertIn('unknown variable ' + wrong, output)

    def test_booleans_of_python_and_yaml_are_accepted(self):
        path = os.path.join(self.f.path, 'a.yaml')
        with open(path, 'w') as f:
            f.write('augment: {enable: False}\ndata: {shuffle: FALSE}\n')
        output = self.call('-c', path, '--print-config', VOCDIST_DATA_SHUFFLE='On')
        for line in ('enable: false', 'shuffle: true'):
            self.assertIn(line, output)
        with open(path, 'w') as f:
            f.write('augment: {enable: Falsch}\n')
        self.call('-c', path, '--print-config', status=78)

    # ---- threads ----

    def threads(self, name, **options):
        output = self.train(name, cpu__threads='auto', **options)
        return int(re.search(r'threads: (\d+) to', output).group(1)), output

    def test_omp_num_threads_limits_the_threads(self):
        cores = len(os.sched_getaffinity(0))
        if cores < 2:
            self.skipTest('one core')
        n, output = self.threads('all', environment={'OMP_NUM_THREADS': '9999'})
        self.assertNotIn('OMP_NUM_THREADS', output)
        one, output = self.threads('one', environment={'OMP_NUM_THREADS': '1,4'})
        self.assertEqual(one, 1)
        if n > 1:
            self.assertIn('auto is 1, not %d, by OMP_NUM_THREADS' % n, output)
            self.assertIn('--> give --cpu.threads N', output)
        # the first start fixes auto; an explicit number is not limited
        resumed, output = self.threads('one', train__steps=2)
        self.assertEqual(resumed, 1)
        self.assertNotIn('OMP_NUM_THREADS', output)
        output = self.train('given', cpu__threads=2,
                          environment={'OMP_NUM_THREADS': '1'})
        self.assertIn('threads: 2 to compute', output)
        self.assertNotIn('OMP_NUM_THREADS', output)


if __name__ == '__main__':
    unittest.main(argv=sys.argv, verbosity=2)
