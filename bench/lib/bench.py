# SPDX-License-Identifier: Apache-2.0
"""What every benchmark needs: a server, the programs that measure from outside, a place for the
results. See README.md for how a benchmark is made of it."""

import argparse
import contextlib
import datetime
import inspect
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .peers import hybrid
from .samples import Samples, times_table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from harness import BUILD, TEMPLATES, Server  # noqa: E402, F401

PROGRAMS = BUILD / "bench"
RESULTS = ROOT / "bench" / "results"


class Bench:
    def __init__(self, title, about, quick):
        self.title = title
        self.about = about
        self.quick = quick
        self.lines = []
        self.results = {}
        self.load = os.getloadavg()[0]  # of whatever else this machine does
        self.directory = None  # a temporary one

    def rounds(self, usual):
        """How many rounds to measure where `usual` would be right."""
        return max(3, usual // 10) if self.quick else usual

    # -- what is measured

    @contextlib.contextmanager
    def server(self, *options):
        """A server of this benchmark's own, with these options of `carrel serve`."""
        server = Server(extra=options)
        status = "not stopped"
        try:
            yield server.start()
        finally:
            status = server.stop()
            server.remove()
        if status != 0:
            raise SystemExit(f"bench: the server ended with status {status}")

    def sdk(self, server):
        """The published Python SDK, set to speak to this server."""
        os.environ.update(server.env)
        import e2b

        return e2b

    # -- how it is measured

    def clock(self, server, contestants, rounds, samples=None):
        """The contestants take turns (see lib/clock.c). Returns name -> Samples."""
        text = "".join("\t".join(words) + "\n" for words in contestants)
        return self._program("clock", server, [str(rounds)], text, samples)

    def crowd(self, server, *words, samples=None):
        """Many clients at once (see lib/crowd.c). Returns name -> Samples."""
        return self._program("crowd", server, [str(w) for w in words], "", samples)

    def _program(self, name, server, words, text, samples):
        samples = {} if samples is None else samples
        host, port = server.address
        command = hybrid([str(PROGRAMS / name), host, str(port), server.key, *words])
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True)
        for line in done.stdout.splitlines():
            what, nanoseconds, ok = line.split("\t")
            samples.setdefault(what, Samples(what)).add(int(nanoseconds) / 1e9, ok == "1")
        if done.returncode != 0:
            raise SystemExit(f"bench: {name} ended with status {done.returncode}")
        return samples

    def timed(self, samples, name, function, rounds):
        into = samples.setdefault(name, Samples(name))
        for _ in range(rounds):
            start = time.perf_counter()
            try:
                function()
                ok = True
            except Exception:
                ok = False
            into.add(time.perf_counter() - start, ok)
        return into

    # -- what comes of it

    def progress(self, text):
        print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def text(self, *lines):
        """Lines of Markdown into the report."""
        self.lines += [*lines, ""]

    def times(self, samples, rows, base=None):
        """A table of times into the report, and the samples into the JSON; see times_table."""
        self.text(*times_table(samples, rows, base))
        self.keep(**{name: samples[name].as_json() for name, _ in rows if name in samples})

    def keep(self, **values):
        """Values for the JSON only."""
        self.results.update(values)

    def section(self, command):
        day = datetime.date.today().isoformat()
        command = f"`{command}`, {day}, load average {self.load:.0f} at the start"
        head = [f"## {self.title}", "", *self.about, "", command, ""]
        return "\n".join(head + self.lines).rstrip() + "\n"


def machine():
    """What the figures were taken on, without its name."""
    cpu = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.M)
    release = re.search(r'^PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text(), re.M)
    virtual = subprocess.run(["systemd-detect-virt"], capture_output=True, text=True)
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cpus": os.cpu_count(),
        "memory_gib": round(int(memory.group(1)) / (1 << 20)),
        "kernel": platform.release(),
        "system": release.group(1) if release else os.uname().sysname,
        "virtual": virtual.stdout.strip() or "unknown",
    }


def main(run, title):
    """Runs a benchmark: run(bench). Its module's docstring is the beginning of its section."""
    parser = argparse.ArgumentParser(description=inspect.getmodule(run).__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds, to try it out")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root")
    name = Path(sys.argv[0]).stem
    about = inspect.cleandoc(inspect.getmodule(run).__doc__).splitlines()
    bench = Bench(title, about, options.quick)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="carrel-bench-") as directory:
        bench.directory = Path(directory)
        run(bench)
    bench.progress(f"done in {time.monotonic() - start:.0f} s")
    section = bench.section(f"bench/run {name}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(section)
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"machine": machine(), "results": bench.results}, indent=1) + "\n"
    )
    print(section)
