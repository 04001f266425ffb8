"""Base class of tests that start programs in a folder of their own."""
import os
import shutil
import subprocess
import tempfile
import unittest


class ScratchCase(unittest.TestCase):
    """The current folder has data/train and data/val, and is removed."""
    make_shards = ''  # the program; set by subclasses
    n_train = 22

    def setUp(self):
        old = os.getcwd()
        self.folder = tempfile.mkdtemp(prefix='vocdist-e2e-')
        self.addCleanup(shutil.rmtree, self.folder)
        self.addCleanup(os.chdir, old)
        os.chdir(self.folder)
        self.shards('data/train', self.n_train, 0)
        self.shards('data/val', 10, 100)

    def shards(self, folder, n, first, size=32):
        """Writes `n` images, with the numbers from `first` on."""
        subprocess.run([self.make_shards, folder, str(n), str(size),
                        str(first)], check=True)
