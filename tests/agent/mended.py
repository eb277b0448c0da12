# SPDX-License-Identifier: Apache-2.0
"""An agent under an init that mends it, and the means to kill it."""
import os
import signal
import time

from conftest import DEADLINE, Agent


class Mended(Agent):
    """Runs in a process namespace of its own; `init` is its pid outside."""

    def __init__(self, directory, config):
        super().__init__(directory, config, "init")
        self.init = int(self.process.stdout.readline())

    def agent_pid(self):
        """The agent's pid outside, or None while it is down."""
        with open(f"/proc/{self.init}/task/{self.init}/children") as f:
            for pid in f.read().split():
                try:
                    with open(f"/proc/{pid}/comm") as comm:
                        if comm.read() == "carrel-agent\n":
                            return int(pid)
                except (FileNotFoundError, ProcessLookupError):
                    continue
        return None

    def wait_agent(self, other_than=None):
        limit = time.monotonic() + DEADLINE
        while True:
            pid = self.agent_pid()
            if pid not in (None, other_than):
                return pid
            assert time.monotonic() < limit, "no agent comes"

    def kill_agent(self, number=signal.SIGKILL):
        pid = self.wait_agent()
        os.kill(pid, number)
        return pid

    def mend(self, number=signal.SIGKILL):
        """Kills the agent; returns when there is another."""
        self.wait_agent(self.kill_agent(number))
