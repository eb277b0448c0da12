# SPDX-License-Identifier: Apache-2.0
"""Runs the contestants of bench/clock.c in turn and makes a table of what they took.

A failed operation counts as one that took for ever, so it shows in the percentiles.
usage: measure.py [--rounds N] [--quick]
"""

import argparse
import datetime
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from harness import BUILD, TEMPLATES, Server  # noqa: E402

CLOCK = BUILD / "bench" / "clock"
ROOTFS = TEMPLATES / "base" / "rootfs"
RESULTS = HERE / "results"
MIB = 1 << 20
TRUE = ["/bin/true"]
SHELL = ["/bin/bash", "-l", "-c", "true"]


class Samples:
    def __init__(self, name):
        self.name = name
        self.times = []  # seconds
        self.failed = 0

    def add(self, seconds, ok):
        if ok:
            self.times.append(seconds)
        else:
            self.failed += 1

    @property
    def count(self):
        return len(self.times) + self.failed

    def percentile(self, percent):
        """Nearest rank; failures rank last."""
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(percent / 100 * self.count))
        return sorted(self.times)[rank - 1] if rank <= len(self.times) else math.inf

    def as_json(self):
        return {
            "samples": self.count,
            "failed": self.failed,
            "seconds": {f"p{p}": self.percentile(p) for p in (50, 95, 99)},
        }


# ---- the other ways to start a command -----------------------------------------------------------


def bwrap(argv):
    return ["bwrap", "--unshare-all", "--ro-bind", str(ROOTFS), "/", "--proc", "/proc", "--dev",
            "/dev", "--tmpfs", "/tmp", *argv]  # fmt: skip


def crun(directory, name, argv, limits):
    """A bundle of its own over the same template; with limits like those of a sandbox."""
    bundle = directory / name
    bundle.mkdir()
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(ROOTFS), "readonly": True}
    config["process"].update(args=argv, terminal=False, cwd="/")
    # A mount of the whole hybrid tree is not what is compared here.
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    if limits:
        config["linux"]["resources"] = {
            "memory": {"limit": 512 * MIB},
            "cpu": {"quota": 200000, "period": 100000},
            "pids": {"limit": 1024},
        }
    else:
        config["linux"].pop("resources", None)
    (bundle / "config.json").write_text(json.dumps(config))
    manager = "cgroupfs" if limits else "disabled"
    return ["crun", "--root", str(directory / "crun"), f"--cgroup-manager={manager}", "run",
            "--bundle", str(bundle), f"bench-{os.getpid()}-{name}"]  # fmt: skip


def works(argv):
    done = subprocess.run(hybrid(argv), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        print(f"  left out: {argv[0]} does not work here: {last}")
    return done.returncode == 0


def hybrid(argv):
    """crun refuses hosts with both cgroup versions; hide the second one in a private namespace."""
    if os.path.ismount("/sys/fs/cgroup/unified"):
        script = 'umount /sys/fs/cgroup/unified && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *argv]
    return argv


# ---- measuring -----------------------------------------------------------------------------------


def clock(server, contestants, rounds, into):
    host, port = server.address
    text = "".join("\t".join(words) + "\n" for words in contestants)
    command = hybrid([str(CLOCK), host, str(port), server.key, str(rounds)])
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        name, nanoseconds, ok = line.split("\t")
        into.setdefault(name, Samples(name)).add(int(nanoseconds) / 1e9, ok == "1")
    if done.returncode != 0:
        raise SystemExit(f"clock: status {done.returncode}: {done.stderr}")


def timed(into, name, function, rounds):
    samples = into.setdefault(name, Samples(name))
    for _ in range(rounds):
        start = time.perf_counter()
        try:
            function()
            ok = True
        except Exception:
            ok = False
        samples.add(time.perf_counter() - start, ok)


def with_sdk(server, rounds, into):
    for name, value in server.env.items():
        os.environ[name] = value
    from e2b import Sandbox

    def cycle():
        sandbox = Sandbox.create(timeout=60)
        sandbox.commands.run("true")
        sandbox.kill()

    with Sandbox.create(timeout=600) as sandbox:
        sandbox.commands.run("true")
        timed(into, "sdk run true", lambda: sandbox.commands.run("true"), rounds)
        timed(into, "sdk write 1 KiB", lambda: sandbox.files.write("/tmp/k", "x" * 1024), rounds)
        timed(into, "sdk read 1 KiB", lambda: sandbox.files.read("/tmp/k"), rounds)
    timed(into, "sdk create, run true, kill", cycle, max(20, rounds // 4))


def burst(server, size, into):
    """Everything at once: the time until the last of `size` sandboxes has answered."""
    from e2b import Sandbox

    def one(_):
        sandbox = Sandbox.create(timeout=120)
        assert sandbox.commands.run("echo hi").stdout == "hi\n"
        return sandbox

    samples = into.setdefault(f"sdk burst of {size}", Samples(f"sdk burst of {size}"))
    with ThreadPoolExecutor(size) as pool:
        for _ in range(3):
            start = time.perf_counter()
            made, ok = [], True
            for job in [pool.submit(one, n) for n in range(size)]:
                try:
                    made.append(job.result())
                except Exception:
                    ok = False
            samples.add(time.perf_counter() - start, ok)
            list(pool.map(lambda s: s.kill(), made))


# ---- the report ----------------------------------------------------------------------------------


def shown(seconds):
    if not math.isfinite(seconds):
        return "failed"
    return f"{seconds * 1000:.2f}" if seconds < 10 else f"{seconds * 1000:.0f}"


def table(samples, rows):
    lines = ["| what | p50 ms | p95 ms | p99 ms | n | failed |", "|---|---|---|---|---|---|"]
    for name, text in rows:
        if name in samples:
            s = samples[name]
            values = " | ".join(shown(s.percentile(p)) for p in (50, 95, 99))
            lines.append(f"| {text} | {values} | {s.count} | {s.failed} |")
    return lines


def ratios(samples, ours, others):
    lines = ["| ratio of p50 | is |", "|---|---|"]
    for ours_name, ours_text in ours:
        for name, text in others:
            if ours_name in samples and name in samples:
                ratio = samples[ours_name].percentile(50) / samples[name].percentile(50)
                lines.append(f"| {ours_text} / {text} | {ratio:.2f} |")
    return lines


def rates(samples, names):
    lines = ["| transfer | GB/s at p50 |", "|---|---|"]
    for name, size in names:
        if name in samples:
            lines.append(f"| {name} | {size / samples[name].percentile(50) / 1e9:.2f} |")
    return lines


def machine():
    model = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    return {
        "kernel": platform.release(),
        "cpu": model.group(1) if model else platform.machine(),
        "cpus": os.cpu_count(),
        "bwrap": version("bwrap", "--version"),
        "crun": version("crun", "--version"),
    }


def version(*command):
    if not shutil.which(command[0]):
        return None
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]


def measure(server, rounds, directory):
    samples = {}
    starts = [
        ["start true on the host", "spawn", *TRUE],
        ["create, run true", "create", *TRUE],
        ["create, run bash -lc true", "create", *SHELL],
        ["run true", "exec", *TRUE],
        ["run bash -lc true", "exec", *SHELL],
    ]
    if shutil.which("bwrap") and works(bwrap(TRUE)):
        starts.append(["bwrap true", "spawn", *bwrap(TRUE)])
        starts.append(["bwrap bash -lc true", "spawn", *bwrap(SHELL)])
    if shutil.which("crun"):
        for name, limits in (("crun true", True), ("crun without cgroups true", False)):
            command = crun(directory, name.replace(" ", "-"), TRUE, limits)
            if works(command):
                starts.append([name, "spawn", *command])
    print(f"starting commands, {rounds} rounds of {len(starts)} contestants in turn")
    clock(server, starts[:3], 5, {})  # warm
    clock(server, starts, rounds, samples)

    print("requests and small files")
    small = [
        ["health through server and agent", "health"],
        ["upload 1 KiB", "put", "/tmp/k", "1024"],
        ["download 1 KiB", "get", "/tmp/k"],
    ]
    clock(server, small, rounds * 5, samples)

    print("large files")
    large = [
        ["upload 256 MiB", "put", "/tmp/m", str(256 * MIB)],
        ["download 256 MiB", "get", "/tmp/m"],
    ]
    clock(server, large, 10, samples)

    print("through the Python SDK")
    with_sdk(server, rounds, samples)
    burst(server, 50, samples)
    return samples


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root")

    server = Server()
    server.start()
    try:
        with tempfile.TemporaryDirectory(prefix="carrel-bench-") as directory:
            samples = measure(server, rounds, Path(directory))
    finally:
        status = server.stop()
        server.remove()
    if status != 0:
        raise SystemExit(f"bench: the server ended with status {status}")

    rows = [
        ("create, run true", "create → result of /bin/true, over HTTP"),
        ("create, run bash -lc true", "create → result of bash -l -c true, over HTTP"),
        ("create, run true:made", "of which create, until it is answered"),
        ("create, run true:kill", "kill"),
        ("bwrap true", "bwrap --unshare-all, /bin/true"),
        ("bwrap bash -lc true", "bwrap --unshare-all, bash -l -c true"),
        ("crun true", "crun with limits, /bin/true"),
        ("crun without cgroups true", "crun without cgroups, /bin/true"),
        ("start true on the host", "/bin/true on the host"),
        ("run true", "run /bin/true in a sandbox"),
        ("run bash -lc true", "run bash -l -c true in a sandbox"),
        ("sdk run true", "Python SDK: commands.run('true')"),
        ("sdk create, run true, kill", "Python SDK: create, run, kill"),
        ("sdk burst of 50", "Python SDK: 50 at once, until the last has answered"),
        ("health through server and agent", "shortest request to the agent"),
        ("upload 1 KiB", "upload 1 KiB"),
        ("download 1 KiB", "download 1 KiB"),
        ("sdk write 1 KiB", "Python SDK: write 1 KiB"),
        ("sdk read 1 KiB", "Python SDK: read 1 KiB"),
        ("upload 256 MiB", "upload 256 MiB"),
        ("download 256 MiB", "download 256 MiB"),
    ]
    about = machine()
    lines = [f"{key}: {value}" for key, value in about.items()] + [""]
    lines += table(samples, rows) + [""]
    lines += ratios(
        samples,
        [("create, run true", "create → result")],
        [
            ("bwrap true", "bwrap"),
            ("crun true", "crun with limits"),
            ("crun without cgroups true", "crun without cgroups"),
            ("start true on the host", "the host itself"),
        ],
    )
    lines += ratios(
        samples,
        [("create, run bash -lc true", "create → result of the shell")],
        [("bwrap bash -lc true", "bwrap with the shell")],
    )[2:]
    lines += ratios(
        samples, [("run true", "run in a sandbox")], [("start true on the host", "the host itself")]
    )[2:]
    lines += [""] + rates(samples, [("upload 256 MiB", 256 * MIB), ("download 256 MiB", 256 * MIB)])
    print("\n" + "\n".join(lines))

    RESULTS.mkdir(exist_ok=True)
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    (RESULTS / f"{stamp}.md").write_text("\n".join(lines) + "\n")
    report = {"machine": about, "results": {n: s.as_json() for n, s in samples.items()}}
    (RESULTS / f"{stamp}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten: {RESULTS.relative_to(ROOT)}/{stamp}.md and .json")


if __name__ == "__main__":
    main()
