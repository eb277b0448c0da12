# SPDX-License-Identifier: Apache-2.0
"""
Processes over the wire: the agent by itself on the host, the agent of a sandbox, and that through
the server; the same work done on the host without any of it; and, in turn with them and by the same
requests, any other agent of the same wire that runs on the host already:
OTHER_AGENTS="NAME=HOST:PORT:PID ..." names them. What counts is that one beside ours by itself: what
runs in a sandbox has the sandbox's share of a busy machine, not the host's.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from lib.bench import BUILD, PROGRAMS, main
from lib.peers import hybrid
from lib.samples import table

PROGRAM = str(PROGRAMS / "processes")
BYTES = 400_000_000
STREAMS = 200
IDLE_S = 5
KEEPALIVE = "Keepalive-Ping-Interval: 1\r\n"


class Agent:
    """Somebody to ask: an address, fields of the requests' heads, and whose cost an idle stream is."""

    def __init__(self, address, fields="", pids=()):
        self.address = address
        self.fields = fields
        self.pids = pids

    def measure(self, what, n):
        out = subprocess.run(
            hybrid([PROGRAM, self.address, self.fields, what, str(n)]),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return [float(line.split()[1]) for line in out.stdout.splitlines()]

    def memory(self):
        rss = 0
        for pid in self.pids:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    rss += int(line.split()[1]) * 1024
        return rss

    def woken(self):
        """How often, by thread: some end, and take their count along."""
        times = {}
        for pid in self.pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary"):
                        times[task.name] = int(line.split()[1])
        return times

    def idle(self, fields=""):
        """(bytes of memory, wake-ups a second, bytes on the wire a second) of a stream at rest."""
        before = self.memory()
        with subprocess.Popen(
            hybrid([PROGRAM, self.address, self.fields + fields, "idle", str(STREAMS)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as client:
            assert client.stdout.readline() == "open\n"
            after, first = self.memory(), self.woken()
            time.sleep(IDLE_S)
            woken = sum(n - first.get(thread, 0) for thread, n in self.woken().items())
            client.stdin.write("\n")
            client.stdin.close()
            came = int(client.stdout.readline().split()[1])
        per = STREAMS * IDLE_S
        return (after - before) / STREAMS, woken / per, came / per


def processes_of(sandbox_id, name):
    """The processes of that name that belong to a sandbox."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and (path / "comm").read_text() == name + "\n":
                if sandbox_id in (path / "cgroup").read_text():
                    found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@contextlib.contextmanager
def bare_agent(bench):
    """Our agent without a sandbox around it."""
    subprocess.run(["ninja", "-C", BUILD, "tests/agent/agent_driver"], check=True, stdout=sys.stderr)
    address = str(bench.directory / "agent.sock")
    agent = subprocess.Popen(
        [BUILD / "tests" / "agent" / "agent_driver", address, '{"defaultUser":"root"}'],
        stdout=subprocess.PIPE,
        env={**os.environ, "SPOOL_DIR": str(bench.directory)},
    )
    try:
        assert agent.stdout.readline() == b"listening\n"
        yield Agent(address, pids=[agent.pid])
    finally:
        agent.kill()
        agent.wait()


def others():
    for other in os.environ.get("OTHER_AGENTS", "").split():
        name, _, rest = other.partition("=")
        address, _, pid = rest.rpartition(":")
        yield name, Agent(address, pids=[int(pid)])


def contestants(bench, server, bare):
    sandbox = bench.sdk(server).Sandbox.create(timeout=900)
    token = server.token(sandbox.sandbox_id)
    return {
        "the agent": bare,
        **dict(others()),
        "in a sandbox": Agent(
            f"{server.run}/{sandbox.sandbox_id}/agent.sock",
            pids=processes_of(sandbox.sandbox_id, "carrel-agent"),
        ),
        "through the server": Agent(
            "{}:{}".format(*server.address),
            f"E2b-Sandbox-Id: {sandbox.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\n"
            f"X-Access-Token: {token}\r\n",
            [
                server.children()["server"],
                *processes_of(sandbox.sandbox_id, "carrel-agent"),
            ],
        ),
    }


HOST = Agent("-")


def in_turn(bench, agents, what, n, rounds, host=None):
    """Name -> all values; host: what is done on the host instead."""
    values = {name: [] for name in agents}
    for _ in range(rounds):
        for name, agent in agents.items():
            values[name] += agent.measure(what, n)
        if host:
            values.setdefault("the host itself", []).extend(HOST.measure(host, n))
    bench.progress(f"{what} done")
    return values


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def run(bench):
    rounds = 2 if bench.quick else 5
    with bench.server("--pids", "4096") as server, bare_agent(bench) as bare:
        agents = contestants(bench, server, bare)
        columns = [*agents, "the host itself"]
        rows = []

        def row(text, values, form):
            rows.append([text, *(form.format(values[c]) if c in values else "" for c in columns)])
            bench.keep(**{text: values})

        times = in_turn(bench, agents, "true", bench.rounds(200), rounds, "fork")
        for p in (50, 99):
            values = {k: percentile(v, p) / 1e6 for k, v in times.items()}
            row(f"start to end of `true`, p{p}, ms", values, "{:.2f}")
        for what, text in (("json", "JSON"), ("proto", "binary frames")):
            speed = in_turn(bench, agents, what, bench.rounds(BYTES), rounds, "pipe")
            values = {k: statistics.median(v) for k, v in speed.items()}
            row(f"output in {text}, MB/s", values, "{:.0f}")
        times = in_turn(bench, agents, "echo", bench.rounds(500), rounds)
        for p in (50, 99):
            values = {k: percentile(v, p) / 1e6 for k, v in times.items()}
            row(f"echo of a byte, p{p}, ms", values, "{:.3f}")
        rest = {name: agent.idle() for name, agent in agents.items()}
        row("stream at rest, KiB of memory", {k: v[0] / 1024 for k, v in rest.items()}, "{:.1f}")
        row("stream at rest, wake-ups a second", {k: v[1] for k, v in rest.items()}, "{:.2f}")
        rest = {name: agent.idle(KEEPALIVE) for name, agent in agents.items()}
        row("each keep-alive, wake-ups", {k: v[1] for k, v in rest.items()}, "{:.2f}")
        row("each keep-alive, bytes on the wire", {k: v[2] for k, v in rest.items()}, "{:.0f}")
    bench.text(*table(["what", *columns], rows))
    bench.text(
        f"On the host itself: fork, exec and wait; {BYTES // 10**6} MB from `head` through a pipe."
        f" Output is of that size too, echoes are `SendInput` to `cat` until its output has come;"
        f" streams at rest: {STREAMS} of them. Memory and wake-ups are the agent's, and the server's"
        " where it goes through that one."
    )


main(run, "Processes")
