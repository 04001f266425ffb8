"""The points in which a backend on an accelerator differs from one on the host,
on backend deferred, a plugin that is called cuda here.
"""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402

DEFERRED = os.path.join(os.environ['PLUGINS'], 'deferred')


class Accelerator(unittest.TestCase):
    def setUp(self):
        self.f = jobs.ScratchFolder()
        self.addCleanup(self.f.remove)

    def train(self, name, status=0, ranks=1, expect='', **options):
        """Trains on the device; returns the output, which contains `expect`."""
        options.setdefault('backend', 'cuda')
        options.setdefault('backend_dir', DEFERRED)
        output = self.f.train(ranks, name, status, **options).output
        self.assertIn(expect, output)
        return output

    def call(self, *words, status=0):
        """Runs a subcommand; returns standard output and standard error."""
        p = subprocess.run([os.environ['PROGRAM'], *words], text=True,
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
            self.train('bf16', 69, backend=backend, train__precision='bf16',
                       expect='backend cuda computes in fp32, fp16 only, not '
                       'in bf16')
        self.train('fp16', 69, backend='ref', train__precision='fp16',
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


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
