# SPDX-License-Identifier: Apache-2.0
"""
Many clients at once, each with a connection of its own: all ask for a sandbox at the same moment,
run `/bin/true` in it, and kill it. Then sustained: so many clients create, run and kill without a
pause, and the rate is what all of them did together.
"""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from lib import peers
from lib.bench import TEMPLATES, main
from lib.samples import milliseconds, table

ROOTFS = TEMPLATES / "base" / "rootfs"
TRUE = "/bin/true"
SIZES = (1, 10, 50, 100)


def bursts(bench, server, name):
    rows = []
    for size in SIZES:
        bench.progress(f"{name}, {size} at once")
        rounds = bench.rounds(40 if size == 1 else 10)
        samples = bench.crowd(server, "burst", size, rounds, TRUE)
        alone = [milliseconds(samples["one"].percentile(p)) for p in (50, 95, 99)]
        whole = milliseconds(samples["all"].percentile(50))
        kill = milliseconds(samples["kill"].percentile(50))
        rows.append([name, size, *alone, whole, kill, samples["one"].failed])
        bench.keep(**{f"{name} {size} {k}": s.as_json() for k, s in samples.items()})
    return rows


def bwrap_bursts(bench):
    """As many processes of bwrap, started by as many threads; the best that is to be had of it."""
    argv = peers.bwrap(ROOTFS, [TRUE])
    if peers.missing(argv):
        return []
    rows = []
    for size in SIZES:
        wholes = []
        for _ in range(bench.rounds(10)):
            with ThreadPoolExecutor(size) as threads:
                start = time.perf_counter()
                list(threads.map(lambda _: subprocess.run(argv, check=True), range(size)))
                wholes.append(time.perf_counter() - start)
        whole = milliseconds(sorted(wholes)[len(wholes) // 2])
        rows.append(["bwrap", size, "", "", "", whole, "", 0])
    return rows


def sustained(bench, server):
    rows = []
    for clients in (1, 2, 4, 16):
        count = bench.rounds(1000)
        bench.progress(f"sustained, {clients} clients")
        bare = bench.crowd(server, "cycles", clients, count)["cycles"]
        full = bench.crowd(server, "cycles", clients, count, TRUE)["cycles"]
        rate = [f"{count / s.percentile(50):.0f}" for s in (bare, full)]
        bench.keep(**{f"cycles {clients}": bare.as_json(), f"cycles {clients} run": full.as_json()})
        rows.append([clients, *rate])
    return rows


def run(bench):
    with bench.server("--pool", "none") as server:
        bench.crowd(server, "cycles", 2, 50, TRUE)
        rows = bursts(bench, server, "cold")
        rates = sustained(bench, server)
    with bench.server("--pool", "base=100") as server:
        time.sleep(3)  # for the pool to fill
        rows += bursts(bench, server, "warm, pool of 100")
    rows += bwrap_bursts(bench)
    head = ["", "at once", "each p50 ms", "p95", "p99", "all p50 ms", "kill p50 ms", "failed"]
    bench.text(*table(head, rows))
    bench.text("Sustained, life cycles each second:")
    bench.text(*table(["clients", "create, kill", "create, run, kill"], rates))


main(run, "At once")
