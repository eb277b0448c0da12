# SPDX-License-Identifier: Apache-2.0
"""
What a program sees that uses the published Python SDK, the SDK's own time included.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from lib.bench import main

ROWS = [
    ("run", "commands.run('true')"),
    ("write", "files.write of 1 KiB"),
    ("read", "files.read of 1 KiB"),
    ("cycle", "create, run, kill"),
    ("burst", "50 at once, until the last has answered"),
]


def burst(bench, sdk, size, samples):
    def one(_):
        sandbox = sdk.Sandbox.create(timeout=120)
        assert sandbox.commands.run("echo hi").stdout == "hi\n"
        return sandbox

    with ThreadPoolExecutor(size) as threads:
        for _ in range(bench.rounds(5)):
            made = []
            bench.timed(samples, "burst", lambda: made.extend(threads.map(one, range(size))), 1)
            list(threads.map(lambda sandbox: sandbox.kill(), made))
            time.sleep(0.5)


def run(bench):
    samples = {}
    rounds = bench.rounds(200)
    with bench.server() as server:
        sdk = bench.sdk(server)

        def cycle():
            sandbox = sdk.Sandbox.create(timeout=60)
            sandbox.commands.run("true")
            sandbox.kill()

        with sdk.Sandbox.create(timeout=600) as box:
            box.commands.run("true")
            bench.timed(samples, "run", lambda: box.commands.run("true"), rounds)
            bench.timed(samples, "write", lambda: box.files.write("/tmp/k", "x" * 1024), rounds)
            bench.timed(samples, "read", lambda: box.files.read("/tmp/k"), rounds)
        bench.timed(samples, "cycle", cycle, rounds // 4)
        burst(bench, sdk, 50, samples)
    bench.times(samples, ROWS)


main(run, "Python SDK")
