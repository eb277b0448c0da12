# SPDX-License-Identifier: Apache-2.0
"""
The Python package `carrel` beside the published SDK, the same calls in turn in the same run: what a
program waits for, the client's own time included, what an import takes, and the processor time that
the client needs for a call. "async" is one call after another in an event loop.
"""

import asyncio
import resource
import statistics
import subprocess
import sys
import time

from lib.bench import ROOT, main
from lib.samples import table

PACKAGE = str(ROOT / "python")
IMPORTS = {
    "carrel": "from carrel import Sandbox",
    "carrel, async": "from carrel import AsyncSandbox; import asyncio",
    "e2b": "from e2b import Sandbox",
    "e2b_code_interpreter": "from e2b_code_interpreter import Sandbox",
}
IMPORT = """
import sys, time, resource
sys.path.insert(0, {path!r})
def kib():
    return int([l for l in open("/proc/self/status") if l.startswith("VmRSS")][0].split()[1])
before, start = kib(), time.perf_counter()
{statement}
print((time.perf_counter() - start) * 1e3, (kib() - before) / 1024)
"""
CALLS = {
    "commands.run('true')": lambda box: box.commands.run("true"),
    "files.exists": lambda box: box.files.exists("/tmp"),
    "files.write of 1 KiB": lambda box: box.files.write("/tmp/k", "x" * 1024),
    "files.read of 1 KiB": lambda box: box.files.read("/tmp/k"),
    "files.list of 1,000": lambda box: box.files.list("/tmp/many"),
    "files.write of 16 MiB": lambda box: box.files.write("/tmp/big", BIG),
    "files.read of 16 MiB": lambda box: box.files.read("/tmp/big", format="bytes"),
    "10 MB of output": lambda box: box.commands.run("head -c 10000000 /dev/zero | tr '\\0' x"),
}
FEW = {"files.write of 16 MiB", "files.read of 16 MiB", "10 MB of output"}
BIG = b"x" * (16 << 20)


def imports(bench):
    found = {name: [] for name in IMPORTS}
    for _ in range(bench.rounds(20) + 1):
        for name, statement in IMPORTS.items():
            script = IMPORT.format(path=PACKAGE, statement=statement)
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
            found[name].append([float(word) for word in done.stdout.split()])
    rows = []
    for name, values in found.items():
        times, sizes = zip(*values[1:])  # the first has compiled it
        rows.append([f"`{name}`", f"{statistics.median(times):.0f} ms"]
                    + [f"{statistics.median(sizes):.1f} MiB"])
        figures = {"ms": statistics.median(times), "MiB": statistics.median(sizes)}
        bench.keep(**{f"import {name}": figures})
    bench.text(*table(["import", "time", "memory"], rows))


def cpu():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def measure(call, boxes, rounds, samples):
    """Calls each client in turn; keeps (seconds, seconds of the processor)."""
    for turn in range(rounds + 1):
        for name, box in boxes.items():
            start, used = time.perf_counter(), cpu()
            call(box)
            if turn:
                samples[name].append((time.perf_counter() - start, cpu() - used))


async def measure_async(call, boxes, rounds, samples):
    for turn in range(rounds + 1):
        for name, box in boxes.items():
            start, used = time.perf_counter(), cpu()
            await call(box)
            if turn:
                samples[name].append((time.perf_counter() - start, cpu() - used))


def rows_of(bench, label, samples):
    (ours, theirs) = samples["carrel"], samples["e2b"]
    wall = [statistics.median(s for s, _ in each) * 1e3 for each in (ours, theirs)]
    used = [statistics.mean(c for _, c in each) * 1e3 for each in (ours, theirs)]
    bench.keep(**{label: {"wall_ms": wall, "cpu_ms": used}})
    return [label, *(f"{value:.2f}" for value in wall), f"{wall[0] / wall[1]:.2f}"] + [
        f"{value:.2f}" for value in used
    ]


def run(bench):
    imports(bench)
    sys.path.insert(0, PACKAGE)
    with bench.server() as server:
        sdk = bench.sdk(server)
        import carrel

        rows = []
        box = sdk.Sandbox.create(timeout=900)
        box.commands.run("mkdir /tmp/many; cd /tmp/many; seq 1000 | xargs touch")
        boxes = {"carrel": carrel.Sandbox.connect(box.sandbox_id), "e2b": box}
        for label, call in CALLS.items():
            samples = {name: [] for name in boxes}
            measure(call, boxes, bench.rounds(15 if label in FEW else 200), samples)
            rows.append(rows_of(bench, label, samples))
        kinds = {"carrel": carrel.Sandbox, "e2b": sdk.Sandbox}

        def life(kind):
            with kind.create(template="base", timeout=60) as one:
                one.commands.run("true")

        samples = {name: [] for name in kinds}
        measure(life, kinds, bench.rounds(50), samples)
        rows.append(rows_of(bench, "create, run, kill", samples))

        async def awaiting():
            one = await carrel.AsyncSandbox.connect(box.sandbox_id)
            other = await sdk.AsyncSandbox.connect(box.sandbox_id)
            for label in ("commands.run('true')", "files.read of 1 KiB"):
                samples = {"carrel": [], "e2b": []}
                await measure_async(
                    CALLS[label], {"carrel": one, "e2b": other}, bench.rounds(200), samples
                )
                rows.append(rows_of(bench, f"{label}, async", samples))

        asyncio.run(awaiting())
        box.kill()
    head = ["", "carrel, ms", "e2b, ms", "ratio", "carrel, CPU ms", "e2b, CPU ms"]
    bench.text(*table(head, rows))


main(run, "Python client")
