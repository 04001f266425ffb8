#!/usr/bin/env python3
"""Checks the structure of the C sources that CONTRIBUTING.md describes.

Prints one line per violation and fails; prints nothing if all rules hold:

- A module includes only modules before it in MODULES.
- No dependency cycles. A unit is X.c with X.h and X_internal.h; a unit uses
  another if it includes its header or calls a function that it defines.
- What X.h declares is defined in X.c or X_*.c.
- A .c or .cu file of more than 150 lines starts with a comment of 3 to 15 lines.
- Names, comments and messages do not use the words of WORDS.
"""
import collections
import os
import re
import subprocess
import sys

MODULES = ("base config comm store image data model backend exchange eval run "
           "train bench cli preprocess tools").split()
FRONT = "preprocess/main.c"  # vocpack's main() may include every module
# Implements err.h, log.h and memory.h a second time, for plugins only.
PLUGIN_BASE = "src/backend/plugin_base.c"
# Private vocabulary of earlier versions, no ordinary words.
WORDS = re.compile(r"\b(knobs|gist|anew|goes_on|comm_same|lanes_\w+|places_\w+|"
                   r"tree_plan\w*|feed_\w+|account_\w+|books_\w+|series_\w+|"
                   r"trial_\w+|restore_\w+|stop_watch|left_overs)\b")
INCLUDE = re.compile(r"^#include \"([^\"]+)\"", re.M)
NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'
                     r"'(?:\\.|[^'\\\n])*'", re.S)
TYPES = re.compile(r"\b(?:struct|enum|union)\s+\w+")

violations = []


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def unit_of(path):
    stem = os.path.splitext(path)[0]
    return stem[:-len("_internal")] if stem.endswith("_internal") else stem


def tags(files):
    """(name, path, kind, is static) of functions and their declarations."""
    out = subprocess.run(
        ["ctags", "-f", "-", "--kinds-C=pf", "--fields=+f", "--map-C=+.h", "--languages=C",
         *files], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        name, path, _, kind, *fields = line.split("\t")
        yield name, path, kind, "file:" in fields


def resolve(include, path, files):
    for folder in ("src/", "", os.path.dirname(path) + "/"):
        if folder + include in files:
            return folder + include
    return None


def module_of(path):
    folders = path.split("/")
    return folders[1] if folders[0] == "src" else folders[0]


def check_modules(path, target):
    source, used = module_of(path), module_of(target)
    if path == FRONT or source not in MODULES:
        return
    if MODULES.index(used) > MODULES.index(source):
        violations.append(f"{path}: module {source} may not use {used}")


def uses(files, defined):
    """unit -> the units that it uses."""
    graph = collections.defaultdict(set)
    for path in files:
        text = read(path)
        for include in INCLUDE.findall(text):
            target = resolve(include, path, files)
            if target:
                check_modules(path, target)
                graph[unit_of(path)].add(unit_of(target))
        if path.endswith(".c"):
            text = TYPES.sub(" ", NO_CODE.sub(" ", text))
            for name in set(re.findall(r"(?<![.>\w])\w+", text)):
                graph[unit_of(path)] |= defined.get(name, set())
    for unit in graph:
        graph[unit].discard(unit)
    return graph


def find_cycles(graph):
    """Strongly connected components of more than one unit (Tarjan)."""
    index, low, stack, cycles = {}, {}, [], []

    def visit(unit):
        index[unit] = low[unit] = len(index)
        stack.append(unit)
        for used in sorted(graph.get(unit, ())):
            if used not in index:
                visit(used)
                low[unit] = min(low[unit], low[used])
            elif used in stack:
                low[unit] = min(low[unit], index[used])
        if low[unit] == index[unit]:
            at = stack.index(unit)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                cycles.append(sorted(component))

    for unit in sorted(graph):
        if unit not in index:
            visit(unit)
    return cycles


def check_declarations(declared, defined_in):
    for name, header in sorted(declared.items()):
        stem = unit_of(header)
        paths = defined_in.get(name, [])
        if not all(p == stem + ".c" or p.startswith(stem + "_")
                   for p in paths):
            violations.append(f"{header}: {name}() is defined in "
                              f"{', '.join(paths)}")


def check_head(path, text):
    if text.count("\n") <= 150:
        return
    comment = re.match(r"/\*.*?\*/", text, re.S)
    lines = comment.group().count("\n") + 1 if comment else 0
    if not 3 <= lines <= 15:
        violations.append(f"{path}: starts with a comment of {lines} lines, "
                          "3 to 15 expected")


def main():
    files = [path for path in sys.argv[1:] if path != PLUGIN_BASE]
    defined, defined_in, declared = {}, collections.defaultdict(list), {}
    for name, path, kind, static in tags(files):
        if kind in ("p", "prototype") and path.endswith(".h"):
            declared[name] = path
        elif kind in ("f", "function") and path.endswith(".c") and not static:
            defined.setdefault(name, set()).add(unit_of(path))
            defined_in[name].append(path)
    # A call of a function with several definitions (mpi and serial) adds no edge.
    defined = {n: u for n, u in defined.items() if len(u) == 1}
    check_declarations(declared, defined_in)
    for cycle in find_cycles(uses(set(files), defined)):
        violations.append("dependency cycle: " + " ".join(cycle))
    for path in files:
        text = read(path)
        if path.endswith((".c", ".cu")):
            check_head(path, text)
        for word in sorted(set(WORDS.findall(text))):
            violations.append(f"{path}: the banned word {word}")
    print("\n".join(violations), end="\n" if violations else "")
    return 1 if violations else 0


sys.exit(main())
