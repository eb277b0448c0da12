# SPDX-License-Identifier: Apache-2.0
"""A newer carrel takes over from an older one: sandboxes get its agent, and notice nothing."""

import base64
import json
import os
import re

import pytest
from e2b import CommandExitException, PtySize, Sandbox

from conftest import finish
from harness import BINARY, Server, envelope, envelopes, eventually
from test_commands import Background
from test_crash import AGENT

PAGE = 4096
NOTE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"  # of a build's id


def another_build(path):
    """The same program with another build's id in its init and agent."""
    program = bytearray(BINARY.read_bytes())
    for match in re.finditer(b"\x7fELF\2\1\1.{9}[\2\3]\0", program, re.DOTALL):
        at = match.start()  # the last one that is a program: the first is carrel's own
        if program.find(NOTE, at, at + PAGE) >= 0:
            note = program.index(NOTE, at)
    assert note > PAGE
    program[note + 16] ^= 0xFF
    path.write_bytes(program)
    path.chmod(0o755)
    return path


def agent_of(sandbox):
    sandbox.files.write("/tmp/agent.py", AGENT)
    return int(sandbox.commands.run("python3 /tmp/agent.py", user="root").stdout)


def output_from_start(server, sandbox, pid):
    """What the process has printed from its first byte, by the extension."""
    reply = server.sandbox(
        sandbox.sandbox_id,
        "POST",
        "/process.Process/Connect",
        envelope({"process": {"pid": pid}, "fromOffset": 0}),
        {"Content-Type": "application/connect+json"},
        token=server.token(sandbox.sandbox_id),
    )
    events = [json.loads(p).get("event", {}) for f, p in envelopes(reply.body) if not f & 2]
    return b"".join(base64.b64decode(e["data"].get("stdout", "")) for e in events if "data" in e)


def test_a_newer_agent_without_a_restart(tmp_path):
    server = Server(ephemeral=False, extra=["--stop-timeout", "0"])
    server.start()
    try:
        host, port = server.address
        options = {"api_key": server.key, "api_url": server.url, "sandbox_url": server.url}
        sandbox = Sandbox.create(timeout=300, **options)
        run = sandbox.commands.run
        before = agent_of(sandbox)
        waiting = run("seq 1 20000; read x; echo got $x; exit 3", background=True, stdin=True,
                      timeout=0)
        terminal = sandbox.pty.create(PtySize(24, 80))
        assert server.stop() == 0
        server.binary, server.ephemeral = another_build(tmp_path / "carrel"), True
        server.start(listen=f"{host}:{port}")
        eventually(sandbox.is_running, what="the sandbox again")
        assert "newer agent" in server.log_tail(200)
        after = agent_of(sandbox)
        assert after != before
        for what in (f"cat /proc/{after}/exe", f"ls /proc/{after}/fd", f"cat /proc/{after}/mem"):
            with pytest.raises(CommandExitException):
                run(what, user="root")
        assert {waiting.pid, terminal.pid} <= {p.pid for p in sandbox.commands.list()}
        sandbox.commands.send_stdin(waiting.pid, "news\n")
        with pytest.raises(CommandExitException) as failure:
            sandbox.commands.connect(waiting.pid).wait()
        assert failure.value.exit_code == 3
        expected = "".join(f"{i}\n" for i in range(1, 20001)) + "got news\n"
        assert output_from_start(server, sandbox, waiting.pid).decode() == expected
        screen = Background(sandbox.pty.connect(terminal.pid))
        sandbox.pty.send_stdin(terminal.pid, b"echo $((6 * 7))\n")
        screen.expect("42\r\n")
        assert sandbox.kill() is True
    finally:
        finish(server)
    os.unlink(tmp_path / "carrel")
