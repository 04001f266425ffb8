"""The user's files: what a run reads, replaces and removes, and what it leaves
alone. One process, backend ref.
"""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402


class Files(unittest.TestCase):
    def setUp(self):
        self.f = jobs.Folder()
        self.addCleanup(self.f.remove)

    def train(self, name, status=0, *parts, **options):
        """Its output, in which each of `parts` must be."""
        options.setdefault('before', ())
        options.setdefault('backend', 'ref')
        output = self.f.train(0, name, status, **options).output
        for part in parts:
            self.assertIn(part, output)
        return output

    def checkpoints(self, name):
        return self.f.file(name, 'checkpoints')

    def names(self, name):
        return sorted(os.listdir(self.checkpoints(name)))

    def link(self, name, which):
        return os.readlink(os.path.join(self.checkpoints(name), which))

    # ---- checkpoints ----

    def run_with_an_early_best(self):
        """Its best checkpoint is not its last one, which alone is kept."""
        for epochs in range(4, 14):
            self.train('whole', train__epochs=epochs, optim__lr=0.02,
                       optim__schedule_steps=12, checkpoint__keep=1)
            if self.link('whole', 'best') != self.link('whole', 'last'):
                return epochs
        self.fail('every epoch was better than the one before')

    def copy(self, name, names):
        """The run `whole` as copies without links have it."""
        shutil.copytree(self.f.file('whole'), self.f.file(name), symlinks=True)
        for which in ('last', 'best'):
            os.unlink(os.path.join(self.checkpoints(name), which))
        for which in names:
            shutil.copy(os.path.join(self.checkpoints('whole'), which),
                        os.path.join(self.checkpoints(name), which))

    def test_a_copy_without_links_keeps_the_best(self):
        epochs = self.run_with_an_early_best()
        best = self.link('whole', 'best')
        for name, names in (('none', []), ('files', ['last', 'best'])):
            self.copy(name, names)
            self.train(name, train__epochs=epochs + 1, optim__lr=0.02,
                       optim__schedule_steps=12, checkpoint__keep=1,
                       train__stop_at=1)
            files = self.names(name)
            self.assertIn(best, files)
            self.assertIn(self.link(name, 'last'), files)
            # unless the epoch after it was better
            if self.link(name, 'best') != self.link(name, 'last'):
                self.assertEqual(self.link(name, 'best'), best)

    def test_the_users_files_among_checkpoints_are_left_alone(self):
        options = {'train__epochs': 4, 'checkpoint__every': 2,
                   'checkpoint__keep': 1}
        self.train('a', 75, train__stop_at=4, **options)
        mine = ['step-keep.h5', 'step-00000004-good.h5', 'step-4.h5',
                'step-00000004.h5.orig']
        for name in mine:
            shutil.copy(os.path.join(self.checkpoints('a'), 'step-00000004.h5'),
                        os.path.join(self.checkpoints('a'), name))
        self.train('a', 75, 'after step 4 of', train__stop_at=8, **options)
        self.train('a', 0, 'after step 8 of', **options)
        self.assertEqual([n for n in mine if n not in self.names('a')], [])


if __name__ == '__main__':
    unittest.main(argv=sys.argv, verbosity=2)
