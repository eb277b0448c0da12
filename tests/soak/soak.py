# SPDX-License-Identifier: Apache-2.0
"""Sandboxes through a server for long: what is there before and after, and what deaths do.

usage: soak.py [--cycles N] [--faults N] [--seed N]
"""

import argparse
import base64
import collections
import contextlib
import http.client
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from harness import Residue, Server, child_pids, eventually  # noqa: E402

RESULTS = ROOT / "bench" / "results"
UID_FIRST, UIDS, SLOTS = 0x20000000, 65536, 2048
UNREACHABLE = (OSError, http.client.HTTPException, ValueError, KeyError)


# ---- counting ------------------------------------------------------------------------------------


def comm(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def status_field(pid, name):
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found.group(1)) if found else 0


def insiders(server):
    """Processes of the server's sandboxes, by their range of user ids."""
    instance, found = int(server.instance), []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                slot = (os.stat(f"/proc/{entry}").st_uid - UID_FIRST) // UIDS
                # Of those that are not dumpable the directory is root's.
                if slot < 0:
                    slot = (status_field(entry, "Uid") - UID_FIRST) // UIDS
                if 0 <= slot and slot // SLOTS == instance:
                    found.append(int(entry))
    return found


def tree(server):
    """The server's own processes by name; the launcher's zygote too."""
    found = {"supervisor": server.proc.pid, **server.children()}
    for pid in child_pids(found.get("launcher", 0)):
        with contextlib.suppress(OSError):
            if comm(pid) == "carrel-zygote":
                found["zygote"] = pid
    return found


def count_files(*directories):
    return sum(len(dirs) + len(files) for top in directories for _, dirs, files in os.walk(top))


def groups(server):
    """Our groups in one hierarchy; the same are in the others."""
    name, found = f"carrel-{server.instance}", []
    for top in sorted(Path("/sys/fs/cgroup").glob(f"*/{name}")) + [Path("/sys/fs/cgroup") / name]:
        if top.is_dir():
            found.append(sum(len(dirs) for _, dirs, _ in os.walk(top)))
    return found


def snapshot(server):
    """All that could leak."""
    processes = tree(server)
    namespaces = set()
    for pid in insiders(server):
        for kind in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup"):
            with contextlib.suppress(OSError):
                namespaces.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    counts = collections.OrderedDict()
    counts["mounts of the host"] = len(Path("/proc/self/mountinfo").read_text().splitlines())
    for name in ("launcher", "zygote"):
        counts[f"mounts of the {name}"] = len(
            Path(f"/proc/{processes[name]}/mountinfo").read_text().splitlines()
        )
    counts["cgroups"] = sum(groups(server))
    counts["namespaces"] = len(namespaces)
    counts["processes inside"] = len(insiders(server))
    counts["processes of the server"] = len(processes)
    counts["links"] = sum(
        name.startswith(f"cr{server.instance}-") for name in os.listdir("/sys/class/net")
    )
    counts["files below state and run"] = count_files(server.state, server.run)
    for name, pid in sorted(processes.items()):
        counts[f"descriptors of the {name}"] = len(descriptors(pid))
    for name, pid in sorted(processes.items()):
        counts[f"memory of the {name}, KiB"] = status_field(pid, "VmRSS")
    return counts


def descriptors(pid):
    """But for user namespaces: the launcher keeps that of each slot that was ever in use."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            found += [target] if not target.startswith("user:[") else []
    return found


def grown(before, after):
    """What is more than before; memory only when it is more than what a queue may have taken."""
    more = {}
    for name, value in after.items():
        slack = 6144 if "memory" in name else 0
        if value > before[name] + slack:
            more[name] = f"{before[name]} -> {value}"
    return more


def host_wide():
    """Kernel objects of the whole host, for the table only: others use it too."""
    counts = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
            words = line.split()
            if words[0] in ("net_namespace", "user_namespace", "pid_namespace", "mnt_cache"):
                counts[f"host: {words[0]}"] = int(words[1])
    for line in Path("/proc/cgroups").read_text().splitlines()[1:]:
        words = line.split()
        if words[0] in ("memory", "pids"):
            counts[f"host: groups of {words[0]}"] = int(words[2])
    return counts


def table(before, after):
    lines = ["| what | before | after |", "|---|---|---|"]
    return lines + [f"| {name} | {before[name]} | {after[name]} |" for name in before]


# ---- using ---------------------------------------------------------------------------------------


def create(server, **fields):
    """The sandbox's id and token, or None when that did not work."""
    try:
        reply = server.api("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 900, **fields})
        if reply.status == 201:
            return reply.json()["sandboxID"], reply.json()["envdAccessToken"]
    except UNREACHABLE:
        pass
    return None


def run(server, sandbox, script):
    """What a command says, or None."""
    message = {"process": {"cmd": "/bin/sh", "args": ["-c", script]}, "stdin": False}
    name, token = sandbox
    try:
        reply, messages, end = server.rpc_stream(
            name, "/process.Process/Start", message, user="root", token=token
        )
    except UNREACHABLE:
        return None
    if reply.status != 200 or end is None or "error" in end:
        return None
    events = [m["event"] for m in messages]
    return b"".join(
        base64.b64decode(e["data"]["stdout"]) for e in events if "stdout" in e.get("data", {})
    ).decode()


def kill(server, sandbox, timeout=60.0):
    """Until the server says that it is gone."""

    def gone():
        with contextlib.suppress(*UNREACHABLE):
            return server.api("DELETE", f"/sandboxes/{sandbox[0]}").status in (204, 404)

    eventually(gone, timeout, f"{sandbox[0]} killed")


def quiet(server):
    """Waits until nothing is being made or removed."""
    last = [None]

    def same():
        now = {k: v for k, v in snapshot(server).items() if "memory" not in k}
        unchanged, last[0] = now == last[0], now
        return unchanged and not server.on_disk("trash")

    time_out = 30.0
    for _ in range(3):
        last[0] = None
        eventually(same, time_out, "rest")
    return snapshot(server)


# ---- cycles --------------------------------------------------------------------------------------


def churn(server, cycles, threads):
    failures = []
    left = [cycles]
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
                odd = left[0] % 2
            # Every other one from the pool, as far as there are any.
            sandbox = create(server, **({"network": {"denyOut": ["192.0.2.1"]}} if odd else {}))
            if not sandbox or run(server, sandbox, "echo $E2B_SANDBOX_ID") != sandbox[0] + "\n":
                failures.append(sandbox)
            if sandbox:
                kill(server, sandbox)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return failures


def soak_cycles(cycles, threads=4):
    """Nothing grows. Returns the lines of the table."""
    server = Server().start()
    try:
        assert churn(server, max(50, cycles // 20), threads) == []
        before, host_before = quiet(server), host_wide()
        start = time.monotonic()
        failures = churn(server, cycles, threads)
        seconds = time.monotonic() - start
        after, host_after = quiet(server), host_wide()
        assert failures == [], f"{len(failures)} of {cycles} failed: {failures[:3]}"
        more = grown(before, after)
        assert not more, f"more than before: {more}"
    finally:
        status = server.stop()
        residue = Residue.of(server).all()
        server.remove()
    assert status == 0 and residue == {}, (status, residue)
    lines = [f"{cycles} cycles of create, run, kill by {threads} clients in {seconds:.0f} s:"]
    lines += [f"{cycles / seconds:.0f} a second. Nothing left after the stop.", ""]
    return lines + table({**before, **host_before}, {**after, **host_after})


# ---- faults --------------------------------------------------------------------------------------


class Chaos(threading.Thread):
    """Kills one of the server's processes now and then."""

    def __init__(self, server, pause, dice):
        super().__init__(daemon=True)
        self.server, self.pause, self.dice = server, pause, dice
        self.stop = threading.Event()
        self.kills = collections.Counter()

    def victim(self, kind):
        if kind != "agent":
            return tree(self.server).get(kind)
        agents = [pid for pid in insiders(self.server) if comm(pid) == "carrel-agent"]
        return self.dice.choice(agents) if agents else None

    def run(self):
        kinds = ["launcher", "server", "zygote", "egress", "agent", "agent", "agent"]
        while not self.stop.wait(self.dice.uniform(0, 2 * self.pause)):
            kind = self.dice.choice(kinds)
            with contextlib.suppress(OSError):
                pid = self.victim(kind)
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    self.kills[kind] += 1


class Faults:
    """Cycles under Chaos, some sandboxes kept to the end."""

    def __init__(self, server, cycles, dice):
        self.server, self.left, self.dice = server, cycles, dice
        self.lock = threading.Lock()
        self.kept = {}
        self.done = self.failed = 0

    def keep(self, sandbox):
        """It has a file and a process, both of which must be there at the end."""
        answer = run(self.server, sandbox,
                     f"echo {sandbox[0]} > /mine; sync; setsid sleep 100000 >&- 2>&- & echo $!")  # fmt: skip
        if answer:
            with self.lock:
                self.kept[sandbox] = int(answer)
        else:
            kill(self.server, sandbox)

    def work(self, threads):
        while True:
            with self.lock:
                if self.left == 0:
                    return
                self.left -= 1
                number = self.left
            sandbox = create(self.server)
            if not sandbox:
                with self.lock:
                    self.failed += 1
                continue
            if number % 25 == 0:
                self.keep(sandbox)
                continue
            if number % 2:
                run(self.server, sandbox, "true")
            kill(self.server, sandbox)
            with self.lock:
                self.done += 1

    def check_kept(self):
        """Nothing that ran is lost."""
        lost = []
        for sandbox, pid in self.kept.items():
            script = f"cat /mine && kill -0 {pid} && echo alive"
            with contextlib.suppress(AssertionError):
                eventually(lambda s=sandbox, c=script: run(self.server, s, c) == f"{s[0]}\nalive\n", 10)
                continue
            lost.append((sandbox[0], run(self.server, sandbox, script)))
        assert not lost, f"lost: {lost}"

    def check_strays(self):
        """Server, launcher and kernel know the same sandboxes."""
        listed = self.server.api("GET", "/v2/sandboxes?limit=100")
        ids = {s["sandboxID"] for s in listed.json()}
        assert {s[0] for s in self.kept} <= ids or len(ids) == 100

        def agree():
            on_disk = set(os.listdir(self.server.state / "sandboxes"))
            return ids <= on_disk and len(on_disk - ids) <= 4  # the pool

        eventually(agree, 30, "strays gone")

    def kill_all(self):
        for _ in range(100):
            ids = [s["sandboxID"] for s in self.server.api("GET", "/v2/sandboxes").json()]
            if not ids:
                return
            for name in ids:
                kill(self.server, (name, ""))
        raise AssertionError("sandboxes that cannot be killed")


def soak_faults(cycles, threads=4, pause=0.25, seed=None):
    """Returns the lines of the table."""
    seed = seed if seed is not None else random.randrange(10**6)
    dice = random.Random(seed)
    server = Server(ephemeral=False, directory=tempfile.mkdtemp(prefix="carrel-soak-")).start()
    faults, chaos = Faults(server, cycles, dice), Chaos(server, pause, dice)
    try:
        chaos.start()
        workers = [threading.Thread(target=faults.work, args=(threads,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        chaos.stop.set()
        chaos.join()
        eventually(lambda: create_and_kill(server), 60, "the server serves")
        faults.check_kept()
        faults.check_strays()
        faults.kill_all()
        empty = quiet(server)
    except AssertionError as problem:
        raise AssertionError(f"seed {seed}: {problem}\n{server.log_tail(15)}") from None
    finally:
        chaos.stop.set()
        status = server.stop()
        residue = Residue.of(server).all()
        left = server.leftovers()
        subprocess.run(["rm", "-rf", "--one-file-system", str(server.directory)])
    assert status == 0, status
    assert residue == {} and left == [], f"seed {seed}: left {residue} {left}"
    kills = ", ".join(f"{n} of the {kind}" for kind, n in sorted(chaos.kills.items()))
    lines = [f"{cycles} cycles with deaths by kill -9 ({kills}; seed {seed}): {faults.done} whole"]
    lines += [f"cycles, {faults.failed} creations refused meanwhile, {len(faults.kept)} sandboxes kept"]
    lines += ["through all deaths, none lost. At the end, with all killed:", ""]
    lines += ["| what | left |", "|---|---|"]
    return lines + [f"| {name} | {value} |" for name, value in empty.items()]


def create_and_kill(server):
    sandbox = create(server)
    if sandbox:
        kill(server, sandbox)
    return sandbox


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=10000)
    parser.add_argument("--faults", type=int, default=2000)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("soak: needs root")
    lines = []
    if options.cycles:
        lines += soak_cycles(options.cycles) + [""]
    if options.faults:
        lines += soak_faults(options.faults, seed=options.seed)
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S')}-soak.md"
    path.write_text("\n".join(lines) + "\n")
    print(f"\nwritten: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
