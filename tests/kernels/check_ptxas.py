"""Registers and spills of every kernel, from nvcc's reports (-Xptxas -v).

check_ptxas.py ARCHITECTURES REPORT...: prints one line per kernel and fails if
one spills registers, uses local memory, or was not compiled for each of the
ARCHITECTURES (comma-separated, "80,90").
"""
import collections
import os
import re
import sys

ENTRY = re.compile(r"Compiling entry function '_Z(\d+)(\w+)' for 'sm_(\d+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                   r"(\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


def kernels_of(path):
    """(kernel, architecture) -> [registers, stack, stores, loads]"""
    found, entry = {}, None
    with open(path, encoding="utf-8") as f:
        for line in f:
            if match := ENTRY.search(line):
                entry = match[2][:int(match[1])], match[3]
                found[entry] = [None] * 4
            elif match := STACK.search(line):
                if entry:
                    found[entry][1:] = map(int, match.groups())
            elif match := REGISTERS.search(line):
                found[entry][0] = int(match[1])
    return found


def main():
    wanted, errors = sys.argv[1].split(","), []
    for path in sys.argv[2:]:
        name, table = os.path.basename(path), collections.defaultdict(dict)
        for (kernel, arch), values in kernels_of(path).items():
            table[kernel][arch] = values
        if not table:
            errors.append(f"{path}: no kernels")
        for kernel, by_arch in sorted(table.items()):
            print(f"{name[:-4]:12} {kernel:28} registers " + " ".join(
                f"{by_arch[a][0]:3}" for a in wanted if a in by_arch))
            for arch in wanted:
                values = by_arch.get(arch)
                if values is None or None in values:
                    errors.append(f"{kernel}: not compiled for sm_{arch}")
                elif any(values[1:]):
                    errors.append(
                        "%s, sm_%s: %d registers, %d bytes of stack, spills "
                        "%d stored, %d loaded" % (kernel, arch, *values))
    print("\n".join(errors))
    return 1 if errors else 0


sys.exit(main())
