#!/usr/bin/env python3
"""Adds up CTest's JUnit files and prints 'N passed, N failed, N skipped' last.

    summarize_junit.py [--strict] RESULTS.xml...

A test is skipped if it exits with code 77; it is printed with its reason,
which is the last line of its output. A test that crashed, timed out or could
not be started has failed. The exit code is 1 if a test failed, a file is
missing or no test passed. --strict (continuous integration) also fails for
skipped tests, except those that need a GPU or real data, which have "gpu" or
"real" in their names.
"""
import sys
import xml.etree.ElementTree as ET


def verdict_of(case):
    """'passed', 'failed' or 'skipped', and the last line printed."""
    lines = (case.findtext('system-out') or '').split('\n')
    last_line = next((line for line in reversed(lines) if line.strip()), '')
    skip = case.find('skipped')
    if case.get('status') == 'run':
        return 'passed', last_line
    if skip is not None and skip.get('message', '').startswith('SKIP_'):
        return 'skipped', last_line
    return 'failed', last_line


def main(arguments):
    strict = arguments[:1] == ['--strict']
    count = {'passed': 0, 'failed': 0, 'skipped': 0}
    for path in arguments[strict:]:
        try:
            cases = list(ET.parse(path).getroot().iter('testcase'))
        except (OSError, ET.ParseError) as error:
            print(f'{path}: {error}')
            count['failed'] += 1
            continue
        for case in cases:
            name = case.get('name')
            verdict, last_line = verdict_of(case)
            if verdict != 'passed':
                print(f'{path}: {name}: {verdict}: {last_line}')
            if strict and verdict == 'skipped' and not (
                    'gpu' in name or 'real' in name):
                print(f'{path}: {name}: must not be skipped here')
                verdict = 'failed'
            count[verdict] += 1
    print('{passed} passed, {failed} failed, {skipped} skipped'.format(**count))
    return 0 if count['passed'] and not count['failed'] else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
