# SPDX-License-Identifier: Apache-2.0
"""
What an idle sandbox takes, all memory counted: the kernel's (slab, page tables, stacks, per-CPU) and
that of its processes that is not shared. The sandboxes are made, nothing is run in them, and the
host's counters are read before and after; the growth of what the server and launcher hold is in it.
"""

import re
import subprocess
import time
from pathlib import Path

from lib.bench import PROGRAMS, main
from lib.samples import table

COUNTERS = ("Slab", "PageTables", "KernelStack", "Percpu", "AnonPages", "Shmem")


def counters():
    text = Path("/proc/meminfo").read_text()
    return {name: int(re.search(rf"^{name}:\s*(\d+)", text, re.M).group(1)) for name in COUNTERS}


def settled():
    """The counters once the kernel has freed what it frees late."""
    best = None
    for _ in range(4):
        time.sleep(0.5)
        now = counters()
        best = now if best is None or sum(now.values()) < sum(best.values()) else best
    return best


def held(bench, server, count):
    before = settled()
    host, port = server.address
    command = [str(PROGRAMS / "crowd"), host, str(port), server.key, "hold", "4", str(count)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    start = time.monotonic()
    line = program.stdout.readline().split()
    took = time.monotonic() - start
    after = settled()
    program.stdin.close()
    if program.wait() != 0 or line[2:] != ["1"]:
        raise SystemExit(f"bench: {count} sandboxes could not be held: {line}")
    each = {name: (after[name] - before[name]) / count for name in COUNTERS}
    bench.keep(**{f"kib each of {count}": each})
    cells = [f"{each[name]:.0f}" for name in COUNTERS]
    return [count, *cells, f"{sum(each.values()):.0f}", f"{took:.1f}"]


def run(bench):
    rows = []
    with bench.server() as server:
        # What is made once, whatever the number.
        bench.crowd(server, "cycles", 2, 20, "/bin/true")
        for count in (1, 10, 100) if bench.quick else (1, 10, 100, 1000):
            bench.progress(f"{count} sandboxes")
            rows.append(held(bench, server, count))
    bench.text("KiB for each sandbox:")
    bench.text(*table(["sandboxes", *COUNTERS, "sum KiB", "made in s"], rows))


main(run, "Memory")
