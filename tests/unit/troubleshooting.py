"""Checks docs/troubleshooting.md against the sources: each quoted message
exists, with the exit code of its section, and every exit code has a message.

    troubleshooting.py SOURCE_FOLDER
"""
import glob
import os
import re
import sys

ROOT = sys.argv[1]
LITERAL = r'"((?:[^"\\\n]|\\.)*)"'
VALUE = '\0'  # replaces a printed value
# Functions that print messages: errors, warnings, diagnostics of vocpack. The
# exit code of wrappers of VD_FAIL is not visible in the call.
SPEAKERS = (r'\b(VD_FAIL|FAIL_AT|log_\w+|refuse\w*|memory_\w+|diagnostics_add|'
            r'text_add|fail_\w+|h5_fail\w*|H5_TRY_GOTO)\(')


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def exit_codes():
    """{'VD_DATA': 65, ...} from the table in base/err.h."""
    table = read('src/base/err.h')
    return {name: int(code) for name, code in
            re.findall(r'X\((VD_\w+), (\d+), "', table)}


def arguments(text, at):
    """The text between a call's parentheses; `at` is after the first."""
    depth, start = 1, at
    while depth:
        quoted = re.match(LITERAL, text[at:])
        if quoted:
            at += quoted.end()
            continue
        depth += {'(': 1, ')': -1}.get(text[at], 0)
        at += 1
    return text[start:at - 1]


def normal(literal):
    """The lines of a message with VALUE for each printed value."""
    text = literal.replace('\\"', '"').replace("\\'", "'")
    cause = text.split('\\n')
    return [re.sub(r'%[-+ #0-9.*]*(?:hh|h|ll|l|z)?[a-zA-Z]', VALUE, line)
            .replace('%%', '%') for line in cause]


def remedy_macros(text):
    """The literals of macros that are parts of messages of backends, whose
    plugins are not among the sources."""
    text = text.replace('\\\n', ' ')
    for macro in re.finditer(r'#define \w+_REMEDY\s+((?:' + LITERAL + r'\s*)+)',
                             text):
        yield ''.join(re.findall(LITERAL, macro.group()))


def messages():
    """(exit code or None, text) of all messages in the sources."""
    found, codes = [], exit_codes()
    for path in sorted(glob.glob(os.path.join(ROOT, 'src', '**', '*.[ch]'),
                                 recursive=True) +
                       glob.glob(os.path.join(ROOT, 'preprocess', '*.c')) +
                       glob.glob(os.path.join(ROOT, 'tools', '*', '*.c'))):
        # format macros of <inttypes.h> stand between literals
        text = re.sub(r'\bPRI[a-z]\d+\b', '"d"', read(path))
        for call in re.finditer(SPEAKERS, text):
            body = arguments(text, call.end())
            named = re.match(r'\s*(VD_\w+)', body)
            code = codes.get(named.group(1)) if named else None
            for run in re.finditer(LITERAL + r'(?:\s*' + LITERAL + ')*', body):
                literal = ''.join(re.findall(LITERAL, run.group()))
                for line in normal(literal):
                    found.append((code, line))
        found += [(None, line) for literal in remedy_macros(text)
                  for line in normal(literal)]
    return found


def page():
    """(section's exit code or None, message) of all entries, in order."""
    section, found = None, []
    for line in read('docs/troubleshooting.md').splitlines():
        if line.startswith('## '):
            code = re.match(r'## (\d+):', line)
            section = int(code.group(1)) if code else None
        elif line.startswith('- `'):
            other = re.search(r'\((\d+)\)$', line)
            for message in re.findall(r'`([^`]*)`', line):
                found.append((int(other.group(1)) if other else section,
                              message))
    return found


def said_by(message, sources):
    """The exit codes of all source messages that match this one."""
    message = re.sub(r'^\.\.\.: ', '', message)  # the place, mostly of a wrapper
    pieces = [re.escape(p) for p in message.split('...')]
    pattern = re.compile('.*'.join(pieces), re.DOTALL)
    if len(re.findall(r'[a-zA-Z]', message)) < 3:  # it would match anything
        return set()
    return {code for code, text in sources if pattern.search(text)}


def main():
    codes, sources, entries = exit_codes(), messages(), page()
    wrong = []
    for section, message in entries:
        found = said_by(message, sources)
        if not found:
            wrong.append('no such message in the sources: ' + message)
        elif section is not None and not found & {section, None}:
            wrong.append('%s: exit code %s, not %d' %
                         (message, sorted(found), section))
    for code in sorted(set(codes.values()) - {0}):
        if code not in {section for section, _ in entries}:
            wrong.append('exit code %d has no message' % code)
    # fails if the patterns no longer match anything
    if len(entries) < 60 or len(sources) < 200:
        wrong.append('%d messages of the page, %d of the sources' %
                     (len(entries), len(sources)))
    if wrong:
        sys.exit('docs/troubleshooting.md:\n  ' + '\n  '.join(wrong))


main()
