"""A stopped terminal (Ctrl-S) or a full pipe does not block a run: it trains
for three time limits, to its end, with exit code 0.

The output is blocked from the first line on. If the run waited for it, the
first time limit would end the run with exit code 70.
"""
import os
import subprocess
import sys
import termios

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'tools'))
import jobs  # noqa: E402
import pace  # noqa: E402


def stopped_terminal():
    master, slave = os.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    return master, slave


def full_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b'.' * 4096):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    return reader, writer


def train(f, name, output, timing):
    reader, writer = output
    limit_s = max(2.0, 20 * timing.step_s)
    steps = pace.clamp(int(3 * limit_s / timing.step_s), 20, 5000)
    limits = {f'timeout__{part}': limit_s
              for part in ('setup', 'step', 'checkpoint')}
    command = [os.environ['PROGRAM'],
               *f.settings(name, train__steps=steps, log__every=1, **limits)]
    process = subprocess.Popen(command, cwd=f.path, stderr=writer,
                               stdout=subprocess.DEVNULL)
    status = process.wait(pace.limit_s(timing.run_s(steps)))
    os.close(writer)
    os.close(reader)
    rows = len(f.steps_rows(name))
    if status != 0 or rows != steps:
        sys.exit(f'{name}: exit code {status}, {rows} of {steps} steps')
    with open(f.file(name, 'log.txt')) as log:
        log_text = log.read()
    if f'step-{steps:08}.h5' not in log_text:
        sys.exit(f'{name}: the last checkpoint is not in log.txt:\n{log_text}')
    print(f'{name}: {steps} steps with time limits of {limit_s:.1f} s')


def main():
    f = jobs.ScratchFolder()
    timing = f.measure_pace(1)
    train(f, 'stopped-terminal', stopped_terminal(), timing)
    train(f, 'full-pipe', full_pipe(), timing)
    f.remove()


main()
