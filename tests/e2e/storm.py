# SPDX-License-Identifier: Apache-2.0
"""Sandboxes at work while server and launcher are killed at random; and the books that are kept of it.

Whatever was answered must hold: sandboxes, their processes and every byte of their output, in order and
once, files, pauses, snapshots, the end of life, tokens. What was not answered may have been done or not.
"""

import os
import random
import signal
import threading
import time

from e2b import Sandbox, SandboxState

from harness import eventually


def insist(call, seconds=30):
    """call() until it raises no more: whoever answers has just been killed."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except AssertionError:
            raise
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class Worker:
    """One sandbox. A process in it counts aloud as it is asked to, so that a gap, a repetition or a
    change of order in its output is seen."""

    SCRIPT = 'n=0; while read x; do i=0; while [ $i -lt $x ]; do echo $n; n=$((n+1)); i=$((i+1)); done; done'

    def __init__(self, server, number):
        self.server, self.number = server, number
        self.sandbox = Sandbox.create(timeout=3600, metadata={"worker": str(number)})
        self.process = self.sandbox.commands.run(self.SCRIPT, background=True, stdin=True, timeout=0)
        self.process.disconnect()
        self.files, self.asked, self.paused = {}, 0, False
        self.random = random.Random(number)
        self.steps = 0

    def step(self):
        action = self.random.choice([self.count, self.count, self.write, self.pause])
        action()
        self.steps += 1

    def awake(self):
        insist(lambda: self.sandbox.connect(timeout=3600))
        self.paused = False

    def count(self):
        """Input that was not answered may have arrived: what has come out says so afterwards."""
        if self.paused:
            self.awake()
        try:
            self.sandbox.commands.send_stdin(self.process.pid, "10\n")
        except Exception:
            pass

    def write(self):
        if self.paused:
            self.awake()
        name, text = f"f{self.steps}", f"{self.number}:{self.steps}" * 50
        insist(lambda: self.sandbox.files.write(name, text))
        self.files[name] = text

    def pause(self):
        insist(lambda: self.sandbox.pause())
        self.paused = True

    def check(self):
        """After a storm: all of it is there."""
        info = insist(self.sandbox.get_info)
        assert info.metadata == {"worker": str(self.number)}
        assert (info.state == SandboxState.PAUSED) == self.paused, (info, self.paused)
        self.awake()
        for name, text in self.files.items():
            assert insist(lambda name=name: self.sandbox.files.read(name)) == text, name
        pids = {p.pid for p in insist(self.sandbox.commands.list)}
        assert self.process.pid in pids
        insist(lambda: self.sandbox.commands.close_stdin(self.process.pid))
        out = self.output()
        assert out == "".join(f"{i}\n" for i in range(out.count("\n"))), out[-200:]
        assert out.count("\n") % 10 == 0

    def output(self):
        """All that the process has said, over cuts of the connection if need be."""
        out = []
        handle = insist(lambda: self.sandbox.commands.connect(self.process.pid, timeout=60))
        handle.wait(on_stdout=out.append)
        return "".join(out)


class Storm:
    """Kills one of the server's processes after the other, and waits each time until it is back."""

    def __init__(self, server, seed=None):
        self.server = server
        self.seed = seed if seed is not None else random.randrange(1 << 32)
        self.random = random.Random(self.seed)
        self.deaths = 0

    def strike(self):
        victims = self.random.choice([["server"], ["launcher"], ["server", "launcher"]])
        before = self.server.children()
        for victim in victims:
            if victim in before:
                os.kill(before[victim], signal.SIGKILL)
        self.deaths += len(victims)
        eventually(
            lambda: all(self.server.children().get(v) not in (None, before.get(v)) for v in victims),
            30, f"{victims} to be back",
        )

    def rage(self, seconds, workers):
        """Workers work meanwhile, each in a thread of its own; the first failure of one is raised."""
        end, failures = time.monotonic() + seconds, []

        failed = threading.Event()

        def work(worker):
            try:
                while time.monotonic() < end:
                    worker.step()
            except BaseException as error:  # handed to the caller
                failures.append(error)
                failed.set()

        threads = [threading.Thread(target=work, args=(w,)) for w in workers]
        for thread in threads:
            thread.start()
        while time.monotonic() < end and not failures:
            self.strike()
            failed.wait(self.random.uniform(0.05, 0.8))  # deaths come at any moment
        for thread in threads:
            thread.join(90)
        if failures:
            raise failures[0]
