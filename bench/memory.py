# SPDX-License-Identifier: Apache-2.0
"""
What an idle sandbox takes; nothing is run in it. The memory of its two processes that they share
with nobody (smaps) is exact. What the kernel holds for it (slab, page tables, stacks, per-CPU data)
comes from the host's counters before and after, so whatever else the host does is in it: with one
sandbox that is mostly what one sees.
"""

import os
import re
import subprocess
import time
from pathlib import Path

from lib.bench import PROGRAMS, main
from lib.samples import table

COUNTERS = ("Slab", "PageTables", "KernelStack", "Percpu")
SAMPLE = 20  # sandboxes whose processes are looked at


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


def private(server):
    """KiB of init and agent that nobody shares, the mean of some sandboxes."""
    sums = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() not in ("carrel-init", "carrel-agent"):
                continue
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            # Both are in the sandbox's group of a controller without limits.
            path = re.search(rf"/carrel-{server.instance}/(i\w+)", Path(f"/proc/{pid}/cgroup").read_text())
        except OSError:
            continue
        if path and (path.group(1) in sums or len(sums) < SAMPLE):
            kib = sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", text, re.M))
            sums[path.group(1)] = sums.get(path.group(1), 0) + kib
    return sum(sums.values()) / len(sums)


def held(bench, server, count):
    before = settled()
    host, port = server.address
    command = [str(PROGRAMS / "crowd"), host, str(port), server.key, "hold", "4", str(count)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    start = time.monotonic()
    line = program.stdout.readline().split()
    took = time.monotonic() - start
    after = settled()
    own = private(server)
    program.stdin.close()
    if program.wait() != 0 or line[2:] != ["1"]:
        raise SystemExit(f"bench: {count} sandboxes could not be held: {line}")
    each = {name: (after[name] - before[name]) / count for name in COUNTERS}
    each["private"] = own
    bench.keep(**{f"kib each of {count}": each})
    cells = [f"{value:.0f}" for value in each.values()]
    return [count, *cells, f"{sum(each.values()):.0f}", f"{took:.1f}"]


def run(bench):
    rows = []
    with bench.server("--pool", "none") as server:
        # What is made once, whatever the number.
        bench.crowd(server, "cycles", 2, 20, "/bin/true")
        for count in (1, 10, 100) if bench.quick else (1, 10, 100, 1000):
            bench.progress(f"{count} sandboxes")
            rows.append(held(bench, server, count))
    bench.text("KiB for each sandbox:")
    bench.text(*table(["sandboxes", *COUNTERS, "its processes", "sum", "made in s"], rows))


main(run, "Memory")
