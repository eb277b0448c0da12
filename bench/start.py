# SPDX-License-Identifier: Apache-2.0
"""
From the request to the result of the first command, one sandbox after another. The contestants
take turns, so that whatever else the machine does meets all of them. Ours are asked over HTTP by a
client that keeps its connection; the others are programs started for one command each, over the
same root file system. A server that is started without options keeps four sandboxes ready (`--pool
base=4`), and beside them directories, networks and control groups (`--net-pool 8`). Only `crun with
limits` limits memory, CPU and processes as ours does; none of the others filters the network or can
be asked for a second command.
"""

from lib import peers
from lib.bench import TEMPLATES, main

ROOTFS = TEMPLATES / "base" / "rootfs"
TRUE = ["/bin/true"]
SHELL = ["/bin/bash", "-l", "-c", "true"]
TURN = 10  # rounds of one server before those of the other

ROWS = [
    ("cold", "create → result, no pool"),
    ("warm", "create → result, out of the pool"),
    ("bwrap", "bwrap --unshare-all"),
    ("crun", "crun with limits"),
    ("crun bare", "crun without cgroups"),
    ("nspawn", "systemd-nspawn --volatile=overlay"),
    ("runsc", "runsc do (ptrace)"),
    ("host", "/bin/true on the host"),
]
PARTS = [
    ("cold:made", "cold: create, until it is answered"),
    ("cold:kill", "cold: kill"),
    ("warm:made", "warm: create"),
    ("warm:kill", "warm: kill"),
]
COMMANDS = [
    ("exec", "/bin/true in a sandbox that runs"),
    ("host", "/bin/true on the host"),
    ("exec shell", "bash -l -c true in a sandbox that runs"),
    ("cold shell", "create → result of bash -l -c true"),
    ("bwrap shell", "bwrap --unshare-all, bash -l -c true"),
]


def others(bench):
    """The contestants that work here, the slow ones apart; and what to say of the rest."""
    fast = {
        "bwrap": peers.bwrap(ROOTFS, TRUE),
        "bwrap shell": peers.bwrap(ROOTFS, SHELL),
        "crun": peers.crun(ROOTFS, bench.directory, "limits", TRUE, True),
        "crun bare": peers.crun(ROOTFS, bench.directory, "bare", TRUE, False),
    }
    slow = {
        "nspawn": peers.nspawn(ROOTFS, TRUE),
        "runsc": peers.runsc(ROOTFS, bench.directory, TRUE),
    }
    left_out = []
    for group in (fast, slow):
        for name, argv in list(group.items()):
            reason = peers.missing(argv)
            if reason:
                del group[name]
                left_out.append(f"Left out: {name}: {reason}.")
    return fast, slow, left_out


def spawns(group):
    return [[name, "spawn", *argv] for name, argv in group.items()]


def run(bench):
    fast, slow, left_out = others(bench)
    cold = [
        ["cold", "create", *TRUE],
        ["cold shell", "create", *SHELL],
        ["exec", "exec", *TRUE],
        ["exec shell", "exec", *SHELL],
        ["host", "spawn", *TRUE],
        *spawns(fast),
    ]
    rounds = bench.rounds(200)
    warm = [["warm", "rested", *TRUE]]  # the rest before each is the server's time to fill its pool
    samples = {}
    with bench.server("--pool", "none") as cold_server, bench.server() as warm_server:
        bench.clock(cold_server, cold, 5)
        bench.clock(warm_server, warm, 10)
        bench.progress(f"{rounds} rounds")
        for _ in range(rounds // TURN):
            bench.clock(cold_server, cold, TURN, samples)
            bench.clock(warm_server, warm, TURN, samples)
        bench.clock(cold_server, spawns(slow), bench.rounds(30), samples)
    bench.text("`/bin/true`:")
    bench.times(samples, ROWS, base="bwrap" if "bwrap" in samples else "host")
    bench.text("Parts of it:")
    bench.times(samples, PARTS)
    bench.text("The second command, and what a login shell adds:")
    bench.times(samples, COMMANDS)
    for line in left_out:
        bench.text(line)
    bench.text(", ".join(peers.version(name, "--version") for name in
                         ("bwrap", "crun", "systemd-nspawn", "runsc")))  # fmt: skip


main(run, "Start")
