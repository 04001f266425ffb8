"""Simulates power loss at random moments (needs root). The runs are on a file
system in an image file. While a run writes, the image file is copied; the copy
is the state on disk after a power loss. It is mounted in place of the original.
Every checkpoint that was reported as saved must be there, and the resumed run
must end like an undisturbed run.

    power_loss.py BACKEND [CUTS [SEED]]
"""
import os
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402

BACKEND = sys.argv[1]
CUTS = int(sys.argv[2]) if len(sys.argv) > 2 else 25
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
# ext4 without its early writes for programs that do not call fsync.
MOUNT = 'loop,noauto_da_alloc,commit=5'
SETTINGS = {'backend': BACKEND, 'model__width': 16, 'checkpoint__every': 1,
            'checkpoint__keep': 2}
RUN_S = 30  # time of a run, if steps are slow
BUDGET_S, LEAST_CUTS = 3600, 10  # time of all cuts; least number of cuts
os.environ['OMPI_MCA_ess_singleton_isolated'] = '1'  # as in syscalls.py


class Disk:
    """A file system in an image file, mounted at `runs`."""

    def __init__(self, folder):
        self.runs, self.image = folder.file(), folder.path + '.img'
        os.makedirs(self.runs, exist_ok=True)
        with open(self.image, 'wb') as f:
            f.truncate(96 << 20)
        subprocess.check_call(['mkfs.ext4', '-q', '-F', self.image])

    def mount(self):
        done = subprocess.call(['mount', '-o', MOUNT, self.image, self.runs],
                               stderr=subprocess.DEVNULL)
        return done == 0

    def unmount(self):
        if os.path.ismount(self.runs):
            subprocess.check_call(['umount', self.runs])

    def snapshot(self):
        """Copies the image as it is now; restore_snapshot() puts it back."""
        shutil.copyfile(self.image, self.image + '.cut')

    def restore_snapshot(self):
        os.replace(self.image + '.cut', self.image)

    def remove(self):
        os.remove(self.image)


def last_reported(folder):
    """The step of the newest checkpoint reported before the power loss."""
    checker = jobs.ResumeChecker(folder, 'run')
    if os.path.exists(folder.file('run')):
        checker.check_resume()
    return checker.reported


def cut_power(f, good, moment):
    """The reported step, and the step from which the run resumed."""
    disk = Disk(f)
    if not disk.mount():
        disk.remove()
        print('skipped: cannot mount a loop device')
        sys.exit(77)
    process = None
    try:
        process = f.start(1, 'run', before=[], **SETTINGS)
        time.sleep(moment)
        reported = last_reported(f)
        disk.snapshot()
        process.kill()
        process.communicate()
        disk.unmount()
        disk.restore_snapshot()
        if not disk.mount():
            sys.exit('the file system is damaged')
        job = f.train(1, 'run', before=[], **SETTINGS)
        started = jobs.ResumeChecker.STARTED.search(job.output)
        at = int(started.group(1) or 0) if started else -1
        if at < reported or 'trying the checkpoint' in job.output:
            sys.exit('step %d was reported:\n%s' % (reported, job.output))
        mine = f.outcome('run')
        for key, value in good.items():
            if key != 'config.yaml' and mine[key] != value:
                sys.exit('%s differs' % key)
    finally:
        if process and process.poll() is None:
            process.kill()
            process.communicate()
        disk.unmount()
        disk.remove()
    return reported, at


def main():
    if os.geteuid() or not os.path.exists('/dev/loop-control'):
        print('skipped: needs root and loop devices')
        sys.exit(77)
    f = jobs.ScratchFolder()
    timing = f.measure_pace(1, before=[], **SETTINGS)
    SETTINGS['train__steps'] = timing.steps_in(RUN_S, 8, 25)
    whole = f.train(1, 'good', before=[], **SETTINGS).seconds
    good = f.outcome('good')
    shutil.rmtree(f.file('pace'))
    shutil.rmtree(f.file('good'))
    moments = random.Random(SEED)
    moments = pace.sample_cases('cuts', [moments.random() for _ in range(CUTS)],
                                2 * whole, BUDGET_S, LEAST_CUTS)
    pairs = [cut_power(f, good, whole * moment) for moment in moments]
    print('%d cuts, seed %d: resumed from the reported step: %d, from a newer '
          'step: %d; reported and resumed steps: %s' % (
              len(pairs), SEED, sum(a == b for a, b in pairs),
              sum(a < b for a, b in pairs), pairs))
    f.remove()


if __name__ == '__main__':
    main()
