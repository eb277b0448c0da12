# SPDX-License-Identifier: Apache-2.0
"""
Many clients at once, each with a connection of its own: all ask for a sandbox at the same moment,
run `/bin/true` in it, and kill it; bwrap does as much in as many processes. Then sustained: so many clients create, run and kill without a
pause, and the rate is what all of them did together.
"""

import re
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from lib import peers
from lib.bench import TEMPLATES, main
from lib.file_peers import free_port
from lib.samples import Samples, milliseconds, table

from harness import eventually

ROOTFS = TEMPLATES / "base" / "rootfs"
TRUE = "/bin/true"
SIZES = (1, 10, 50, 100)


def bwrap_burst(argv, size, samples):
    """As many processes of bwrap, started by as many threads."""
    each = samples.setdefault("one", Samples("one"))

    def one(start):
        ok = subprocess.run(argv, stderr=subprocess.DEVNULL).returncode == 0
        each.add(time.perf_counter() - start, ok)

    with ThreadPoolExecutor(size) as threads:
        start = time.perf_counter()
        list(threads.map(one, [start] * size))
        samples.setdefault("all", Samples("all")).add(time.perf_counter() - start)


def bursts(bench, servers):
    """All contestants in turn."""
    argv = peers.bwrap(ROOTFS, [TRUE])
    bwrap = peers.missing(argv) is None
    rows = []
    for size in SIZES:
        bench.progress(f"{size} at once")
        samples = {name: {} for name in [*servers, *(["bwrap"] if bwrap else [])]}
        for _ in range(bench.rounds(30 if size == 1 else 6)):
            for name, server in servers.items():
                bench.crowd(server, "burst", size, 1, TRUE, samples=samples[name])
            if bwrap:
                bwrap_burst(argv, size, samples["bwrap"])
        for name, of in samples.items():
            each = [milliseconds(of["one"].percentile(p)) for p in (50, 95, 99)]
            whole = [milliseconds(of["all"].percentile(p)) for p in (0, 50)]
            kill = milliseconds(of["kill"].percentile(50)) if "kill" in of else ""
            rows.append([name, size, *each, *whole, kill, of["one"].failed])
            bench.keep(**{f"{name} {size} {k}": s.as_json() for k, s in of.items()})
    return rows


def sustained(bench, server):
    rows = []
    for clients in (1, 2, 4, 16):
        count = bench.rounds(400)
        bench.progress(f"sustained, {clients} clients")
        bare = bench.crowd(server, "cycles", clients, count)["cycles"]
        full = bench.crowd(server, "cycles", clients, count, TRUE)["cycles"]
        rate = [f"{count / s.percentile(50):.0f}" for s in (bare, full)]
        bench.keep(**{f"cycles {clients}": bare.as_json(), f"cycles {clients} run": full.as_json()})
        rows.append([clients, *rate])
    return rows


def waiting(port):
    """How many sandboxes are in the pool."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        return int(re.search(rb'carrel_sandboxes{state="waiting"} (\d+)', reply.read()).group(1))


def run(bench):
    pool = ("--pool", "base=100")
    port = free_port()
    metrics = ("--metrics", f"127.0.0.1:{port}")
    with bench.server("--pool", "none") as cold, bench.server(*pool, *metrics) as warm:
        bench.crowd(cold, "cycles", 2, 50, TRUE)
        eventually(lambda: waiting(port) == 100, 60, "a full pool")
        rows = bursts(bench, {"no pool": cold, "pool of 100": warm})
        rates = sustained(bench, cold)
    head = ["", "at once", "each p50 ms", "p95", "p99", "all, least", "all, p50", "kill p50", "failed"]
    bench.text(*table(head, rows))
    bench.text("Sustained, life cycles each second, no pool:")
    bench.text(*table(["clients", "create, kill", "create, run, kill"], rates))


main(run, "At once")
