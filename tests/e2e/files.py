"""The user's files: which files a run reads, replaces and removes, and which
it does not touch. One process, backend ref.
"""
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402


class Files(unittest.TestCase):
    def setUp(self):
        self.f = jobs.ScratchFolder()
        self.addCleanup(self.f.remove)

    def train(self, name, status=0, *parts, **options):
        """Trains; returns the output, which must contain each of `parts`."""
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
        """Trains with keep = 1 until the best checkpoint is not the last."""
        for epochs in range(4, 14):
            self.train('whole', train__epochs=epochs, optim__lr=0.02,
                       optim__schedule_steps=12, checkpoint__keep=1)
            if self.link('whole', 'best') != self.link('whole', 'last'):
                return epochs
        self.fail('the last checkpoint was the best after every epoch')

    def copy(self, name, names):
        """Copies the run `whole` without the links last and best; copies of
        the checkpoints have those of `names` as files."""
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

    def test_user_files_among_the_checkpoints_are_kept(self):
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

    # ---- a suspended process ----

    def test_a_suspended_process_does_not_write_into_a_resumed_run(self):
        options = {'checkpoint__every': 5, 'log__every': 1,
                   'train__epochs': 10**5, 'eval__every': 10**6}
        old = self.f.start(0, 'a', before=(), backend='ref', **options)
        self.wait_for_rows('a')
        old.send_signal(signal.SIGSTOP)
        while self.f.temporary_files('a'):  # in the middle of a checkpoint
            old.send_signal(signal.SIGCONT)
            time.sleep(0.02)
            old.send_signal(signal.SIGSTOP)
        self.train('a', 73, 'in use by process %d on ' % old.pid)
        os.unlink(self.f.file('a', '.lock'))
        self.train('a', 75, train__stop_at=80, **options)
        last, rows = self.link('a', 'last'), self.f.steps_rows('a')
        old.send_signal(signal.SIGCONT)
        output = old.communicate(timeout=60)[0]
        self.assertEqual(old.returncode, 73, output)
        self.assertIn('runs/a: taken over by process', output)
        self.assertEqual(self.link('a', 'last'), last)
        self.assertEqual(self.f.steps_rows('a'), rows)
        self.train('a', 75, 'after step 80 of', train__stop_at=81, **options)

    # ---- files that are not regular ----

    def check_refused(self, status, *parts, **options):
        """Training must fail without a hang and with one error message."""
        output = self.train('a', status, *parts, **options)
        self.assertEqual(output.count('error: '), 1, output)
        self.assertNotIn('KILLED', output)

    def own_files(self):
        return ('.lock', 'log.txt', 'metrics.csv', 'steps.jsonl',
                'config.yaml', 'run.json')

    def test_a_link_in_place_of_a_run_s_file_is_not_followed(self):
        mine = os.path.join(self.f.path, 'mine')
        for started in (False, True):
            for name in self.own_files():
                path = self.f.file('a', name)
                os.makedirs(self.f.file('a'), exist_ok=True)
                if started and os.path.exists(path):
                    os.unlink(path)
                with open(mine, 'w') as f:
                    f.write('my own text, longer than any lock\n' * 9)
                os.symlink(mine, path)
                self.check_refused(73, name + ': a symbolic link', '--->')
                with open(mine) as f:
                    self.assertEqual(f.read(),
                                     'my own text, longer than any lock\n' * 9)
                os.unlink(path)
            self.train('a', 75 if not started else 65, train__stop_at=2)

    def test_a_fifo_in_place_of_a_run_s_file_is_not_waited_for(self):
        os.makedirs(self.f.file('a'))
        for name in self.own_files():
            path = self.f.file('a', name)
            os.mkfifo(path)
            self.check_refused(73, name + ': not a regular file, but a FIFO')
            os.unlink(path)

    def fifo(self, *parts):
        path = os.path.join(self.f.path, *parts)
        if os.path.exists(path):
            os.unlink(path)
        os.mkfifo(path)
        return path

    def test_a_fifo_in_place_of_an_input_is_not_waited_for(self):
        message = 'not a regular file, but a FIFO'
        self.train('done', train__steps=1)
        fifo = self.fifo('fifo')
        self.check_refused(65, message, model__weights=fifo)
        self.check_refused(65, message, resume=fifo)
        for arguments in (
                ['train', '-c', fifo], ['eval', '--weights', fifo],
                ['eval', '--checkpoint', fifo],
                ['export', '--checkpoint', fifo, '-o', 'x']):
            job = subprocess.run(
                [os.environ['PROGRAM'], *arguments], cwd=self.f.path,
                capture_output=True, text=True, timeout=60)
            self.assertEqual(job.returncode, 65, job.stderr)
            self.assertIn(message, job.stderr)
        self.fifo('val', 'pack.json')
        self.check_refused(65, message)
        self.fifo('train', 'shard-00000.h5')
        self.check_refused(65, message)

    def test_the_packer_does_not_wait_for_a_fifo(self):
        def pack(status, *words):
            job = subprocess.run([os.environ['PACKER'], *words],
                                 cwd=self.f.path, capture_output=True,
                                 text=True, timeout=60)
            self.assertEqual(job.returncode, status, job.stderr)
            return job.stderr
        pack(0, 'demo', 'voc', '--images', '8')
        pack_ = ['pack', 'voc', '--split', 'train', '--size', '32', '-o']
        for k, parts in enumerate((('Annotations', '000000.xml'),
                                   ('JPEGImages', '000000.jpg'),
                                   ('ImageSets', 'Main', 'train.txt'))):
            path = os.path.join(self.f.path, 'voc', *parts)
            os.rename(path, path + '.mine')
            self.fifo('voc', *parts)
            output = pack(65, *pack_, 'out%d' % k)
            self.assertIn(parts[-1], output)
            self.assertIn('not a regular file, but a FIFO', output)
            os.unlink(path)
            # vocpack does not write through a link
            os.symlink(path + '.mine', path)
            with open(path + '.mine', 'rb') as f:
                before = f.read()
            pack(73, 'demo', 'voc', '--images', '8', '--seed', '9')
            with open(path + '.mine', 'rb') as f:
                self.assertEqual(f.read(), before)
            os.unlink(path)
            os.rename(path + '.mine', path)

    def wait_for_rows(self, name):
        path = self.f.file(name, 'steps.jsonl')
        for _ in range(1200):
            if os.path.exists(path) and os.path.getsize(path):
                return os.path.getsize(path)
            time.sleep(0.05)
        self.fail('no step after 60 s')

    def test_a_limit_of_file_sizes_is_a_write_error(self):
        """The limit is set during the run: MPI would not start under it."""
        for run, more, name in (('rows', 10, 'steps.jsonl'),
                                ('checkpoint', 100000, 'step-')):
            process = self.f.start(
                0, run, before=(), backend='ref', log__every=1,
                train__epochs=10**5, train__global_batch=8,
                train__replicas=4)
            limit = self.wait_for_rows(run) + more
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                             (limit, limit))
            output = process.communicate(timeout=60)[0]
            self.assertEqual(process.returncode, 74, output)
            self.assertRegex(output, r'error: \S*%s.*File too large' % name)
            self.assertEqual(self.f.temporary_files(run), [])
            self.train(run, 75, train__stop_at=10**5 - 1, train__max_time=1e-9,
                       train__epochs=10**5, train__global_batch=8,
                       train__replicas=4)


if __name__ == '__main__':
    unittest.main(argv=sys.argv, verbosity=2)
