# SPDX-License-Identifier: Apache-2.0
"""An agent under an init that mends it, and the means to kill it."""
import ctypes
import os
import signal
import socket
import time

from conftest import DEADLINE, Agent

SYS_PIDFD_GETFD = 438
CONTROL_FD = 60  # src/agent/handover.h
LIBC = ctypes.CDLL(None, use_errno=True)


class Mended(Agent):
    """Runs in a process namespace of its own; `init` is its pid outside."""

    def __init__(self, directory, config):
        super().__init__(directory, config, "init")
        self.init = int(self.process.stdout.readline())

    def replace(self, program):
        """Gives init another program for the agent, as the host does; returns when it runs."""
        with open(program, "rb") as f:
            self.hand_over(f.fileno())
        limit = time.monotonic() + DEADLINE
        while not self.runs(program):
            assert time.monotonic() < limit, "the program does not become the agent"

    def hand_over(self, fd):
        self.wait_agent()  # init is ready for it by then
        init = os.pidfd_open(self.init)
        try:
            control = LIBC.syscall(SYS_PIDFD_GETFD, init, CONTROL_FD, 0)
            assert control >= 0, os.strerror(ctypes.get_errno())
        finally:
            os.close(init)
        with socket.socket(fileno=control) as link:
            socket.send_fds(link, [b"p"], [fd])

    def runs(self, program):
        """Whether the agent is that program now."""
        pid = self.agent_pid()
        try:
            return pid is not None and os.path.samefile(f"/proc/{pid}/exe", program)
        except (FileNotFoundError, ProcessLookupError):
            return False

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
