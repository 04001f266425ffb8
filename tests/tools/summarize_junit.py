#!/usr/bin/env python3
"""Adds up CTest's JUnit files and prints 'N passed, N failed, N skipped' last.

    summarize_junit.py [--strict] RESULTS.xml...

Skipped are the tests that said so (exit code 77); each is named with its
reason, the last line it printed. One that crashed, ran out of time or could not
be started has failed. Fails where a test failed, a file is missing or none ran.
--strict (continuous integration) also fails where a test was skipped for any
reason but a missing GPU or missing real data: those tests have "gpu" or "real"
in their names.
"""
import sys
import xml.etree.ElementTree as ET


def verdict_of(case):
    """'passed', 'failed' or 'skipped', and the last line printed."""
    lines = (case.findtext('system-out') or '').split('\n')
    said = next((line for line in reversed(lines) if line.strip()), '')
    skip = case.find('skipped')
    if case.get('status') == 'run':
        return 'passed', said
    if skip is not None and skip.get('message', '').startswith('SKIP_'):
        return 'skipped', said
    return 'failed', said


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
            verdict, said = verdict_of(case)
            if verdict != 'passed':
                print(f'{path}: {name}: {verdict}: {said}')
            if strict and verdict == 'skipped' and not (
                    'gpu' in name or 'real' in name):
                print(f'{path}: {name}: skipping it is not allowed here')
                verdict = 'failed'
            count[verdict] += 1
    print('{passed} passed, {failed} failed, {skipped} skipped'.format(**count))
    return 0 if count['passed'] and not count['failed'] else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
