# SPDX-License-Identifier: Apache-2.0
"""
The code interpreter, through the published Python SDK unless another client is named. "Waiting" means
a sandbox of the pool whose kernel runs (`--pool code-interpreter-v1=2`); the pool is full again before
each round. The race of one cell against jupyter_client runs inside one sandbox, in turn.
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lib.bench import ROOT, main
from lib.samples import Samples, table

POOL = 2
CREATE = [
    ("cold", "create → first `1+1`, nothing prepared"),
    ("waiting", "create → first `1+1`, from the pool"),
    ("context", "create_code_context → its first `1+1`"),
]
LIVE = [
    ("sdk", "`1+1`, live context, Python SDK"),
    ("live", "`1+1`, live context, HTTP inside the sandbox"),
    ("jupyter_client", "`1+1`, jupyter_client and the stock kernel, inside the sandbox"),
    ("line", "one line, from print() to the callback"),
    ("interrupt", "busy loop: client closes → next result"),
]


def interpreter(bench, server):
    bench.sdk(server)
    import e2b_code_interpreter

    return e2b_code_interpreter.Sandbox


def one_plus_one(box, **where):
    assert box.run_code("1+1", **where).text == "2"


# ---- processes of sandboxes, seen from the host -------------------------------------------------


def processes(group):
    """(pid, command line) of those whose control group's path contains this."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if group in (directory / "cgroup").read_text():
                yield directory, (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue


def group_of(box):
    """The control group of all sandboxes of this one's server."""
    (directory, _), *_ = processes(box.sandbox_id)
    return re.search(rf"([^/\n]+/){box.sandbox_id}", (directory / "cgroup").read_text()).group(1)


def settle(group, count, seconds=60):
    """Waits until so many sandboxes have a kernel that has done all it does unasked."""
    before = None
    for _ in range(int(seconds / 0.2)):
        kernels = [d for d, command in processes(group) if command.startswith("carrel-kernel")]
        try:
            now = [(d / "stat").read_text().split()[13:15] for d in kernels]
        except OSError:
            continue
        if len(kernels) >= count and now == before:
            return
        before = now
        time.sleep(0.2)
    raise SystemExit(f"bench: {count} kernels did not come to rest")


def private_kib(group):
    """Memory that no other sandbox shares."""
    total = 0
    for directory, _ in processes(group):
        try:
            text = (directory / "smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss_Anon:\s*(\d+)", text, re.M).group(1))
    return total


# ---- what is measured ---------------------------------------------------------------------------


def first_results(bench, Sandbox, samples, name, rounds, before_each):
    def first():
        made.append(Sandbox.create(timeout=120))
        one_plus_one(made[-1])

    made = []
    for _ in range(rounds):
        before_each()
        bench.timed(samples, name, first, 1)
        made.pop().kill()


def contexts(bench, box, samples, rounds):
    made = []

    def first():
        made.append(box.create_code_context())
        one_plus_one(box, context=made[-1])

    for _ in range(rounds):
        bench.timed(samples, "context", first, 1)
        box.remove_code_context(made.pop())


def race(bench, box, samples, rounds):
    box.files.write("/tmp/race.py", (ROOT / "bench" / "lib" / "kernel_race.py").read_text())
    done = box.commands.run(f"python3 /tmp/race.py {rounds}", timeout=300)
    for line in done.stdout.splitlines():
        name, seconds = line.split()
        samples.setdefault(name, Samples(name)).add(float(seconds))


def lines(box, samples, rounds):
    into = samples.setdefault("line", Samples("line"))

    def came(message):
        now = time.time()
        for line in message.line.split():
            into.add(now - float(line))

    box.run_code(
        f"import time\nfor _ in range({rounds}):\n    print(time.time())\n    time.sleep(0.005)",
        on_stdout=came,
    )


def interrupts(box, samples, rounds):
    """The SDK's own time limit ends the call; from there on the clock runs."""
    into = samples.setdefault("interrupt", Samples("interrupt"))
    for _ in range(rounds):
        try:
            box.run_code("while True: pass", timeout=0.1)
        except Exception:
            pass
        start = time.perf_counter()
        one_plus_one(box)
        into.add(time.perf_counter() - start)


def throughput(bench, box):
    rows = []
    for what, code, size in (
        ("lines of 100 bytes", "for _ in range({n} // 100): print('x' * 99)", 16 << 20),
        ("one large write", "print('x' * {n})", 64 << 20),
    ):
        best = 0
        for _ in range(bench.rounds(30) // 3):
            start = time.perf_counter()
            out = box.run_code(code.format(n=size)).logs.stdout
            took = time.perf_counter() - start
            assert sum(map(len, out)) >= size * 0.99
            best = max(best, size / took / 1e6)
        bench.keep(**{f"MB/s {what}": best})
        rows.append([what, f"{best:.0f}"])
    bench.text("Standard output at the SDK, the best of some tries:")
    bench.text(*table(["what", "MB/s"], rows))


def available_gib():
    text = Path("/proc/meminfo").read_text()
    return int(re.search(r"^MemAvailable:\s*(\d+)", text, re.M).group(1)) / (1 << 20)


def everybody_imports(bench, Sandbox):
    """As many of 100 as this machine's memory lets be."""
    count = min(100, int((available_gib() - 4) / 0.15)) // (10 if bench.quick else 1)

    def one(_):
        box = Sandbox.create(timeout=600)
        assert box.run_code("import numpy; numpy.ones(3).sum()", timeout=300).error is None
        return box

    start = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        boxes = list(threads.map(one, range(count)))
    took = time.perf_counter() - start
    each = private_kib(group_of(boxes[0])) / count
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda box: box.kill(), boxes))
    bench.keep(numpy={"sandboxes": count, "seconds": took, "kib each": each})
    bench.text(f"{count} sandboxes at once, each imports numpy: all have answered after {took:.1f} s; "
               f"{each / 1024:.0f} MiB of memory each that is shared with no other.")


def run(bench):
    samples = {}
    with bench.server() as server:
        Sandbox = interpreter(bench, server)
        first_results(bench, Sandbox, samples, "cold", bench.rounds(20), lambda: None)
        with Sandbox.create(timeout=900) as box:
            settle(group_of(box), 1)
            contexts(bench, box, samples, bench.rounds(20))
            bench.timed(samples, "sdk", lambda: one_plus_one(box), bench.rounds(500))
            race(bench, box, samples, bench.rounds(500))
            lines(box, samples, bench.rounds(500))
            interrupts(box, samples, bench.rounds(30))
            throughput(bench, box)
    with bench.server("--pool", f"code-interpreter-v1={POOL}") as server:
        Sandbox = interpreter(bench, server)
        with Sandbox.create(timeout=900) as box:
            group = group_of(box)
            settle(group, POOL + 1)
            each = private_kib(group) / (POOL + 1)
            first_results(bench, Sandbox, samples, "waiting", bench.rounds(20),
                          lambda: settle(group, POOL + 1))
    bench.times(samples, CREATE, base="cold")
    bench.times(samples, LIVE, base="jupyter_client")
    bench.keep(**{"kib of a waiting sandbox": each})
    bench.text(f"A waiting sandbox: {each / 1024:.0f} MiB of memory that is shared with no other.")
    with bench.server() as server:
        everybody_imports(bench, interpreter(bench, server))


main(run, "Interpreter")
