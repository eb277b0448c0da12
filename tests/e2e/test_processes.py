# SPDX-License-Identifier: Apache-2.0
"""Processes as a terminal user and a lossy network see them: terminals with real programs, users,
output that outlives connections, reconnecting at every byte, an agent that dies, very many at once."""

import base64
import hashlib
import json
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import AsyncSandbox, CommandExitException, PtySize

from harness import envelope, envelopes, eventually
from test_commands import Background
from test_crash import AGENT, works

# ---- terminals ----------------------------------------------------------------------------------


def keys(sandbox, pid, text):
    sandbox.pty.send_stdin(pid, text.encode())


@pytest.fixture
def terminal(shared):
    handle = shared.pty.create(PtySize(rows=24, cols=80), timeout=60)
    screen = Background(handle)
    screen.expect("$ ")
    yield handle, screen
    shared.pty.kill(handle.pid)


def test_vim_edits_a_file(shared, terminal):
    handle, screen = terminal
    shared.files.write("poem.txt", "first\nsecond\nthird\n")
    keys(shared, handle.pid, "vim -n poem.txt; echo vim is go''ne\r")
    screen.expect("third")
    keys(shared, handle.pid, "jddoa new liné\x1bZZ")
    eventually(
        lambda: shared.files.read("poem.txt") == "first\nthird\na new liné\n",
        what="the file as vim has written it",
    )
    screen.expect("vim is gone")


def test_vim_over_a_lost_connection(shared):
    handle = shared.pty.create(PtySize(rows=24, cols=80), timeout=60)
    shared.files.write("lost.txt", "before\n")
    keys(shared, handle.pid, "vim -n lost.txt\r")
    seen = ""
    while "before" not in seen:
        seen += next(iter(handle))[2].decode(errors="replace")
    handle.disconnect()
    keys(shared, handle.pid, "Gotyped while nobody looked\x1b")
    again = Background(shared.pty.connect(handle.pid))
    again.expect("typed while nobody looked")
    shared.pty.resize(handle.pid, PtySize(rows=40, cols=100))
    again.expect("\x1b[40;")  # vim draws on the last of the new lines
    keys(shared, handle.pid, ":wq\rexit\r")
    eventually(
        lambda: shared.files.read("lost.txt") == "before\ntyped while nobody looked\n",
        what="the file",
    )


def test_job_control(shared, terminal):
    handle, screen = terminal
    keys(shared, handle.pid, "sh -c \"echo be''gun; exec cat\"\r")
    screen.expect("begun\r\n")
    keys(shared, handle.pid, "\x1a")
    screen.expect("Stopped")
    keys(shared, handle.pid, "jobs; fg\r")

    def answers():
        # What is typed before it is in front ends in a return that the line editor has left as it is.
        keys(shared, handle.pid, "echoed twice\r")
        return screen.output.count("echoed twice\r\n") >= 3

    eventually(answers, what="cat in front again")
    keys(shared, handle.pid, "\x04echo stat''us $?\r")
    screen.expect("status 0\r\n")


def test_pagers_and_multiplexers(shared, terminal):
    handle, screen = terminal
    keys(shared, handle.pid, "seq 1 500 | less\r")
    screen.expect("\r\n23")
    keys(shared, handle.pid, "G")
    screen.expect("500")
    keys(shared, handle.pid, "q")
    keys(shared, handle.pid, "tmux new-session 'echo in''side; exec cat'\r")
    screen.expect("inside")
    keys(shared, handle.pid, "\x04")
    screen.expect("[exited]")


def test_three_clients_of_one_terminal(shared, terminal):
    handle, first = terminal
    others = [Background(shared.pty.connect(handle.pid)) for _ in range(2)]
    for n, screen in enumerate([first, *others]):
        keys(shared, handle.pid, f"echo from-{n}-''to-all\r")
        for s in [first, *others]:
            s.expect(f"from-{n}-to-all\r\n")


# ---- users --------------------------------------------------------------------------------------


def test_supplementary_groups_and_sudo(sandbox):
    run = sandbox.commands.run
    run(
        "groupadd -g 4242 crew && groupadd -g 4343 band && useradd -m -s /bin/bash -G crew,band ann",
        user="root",
    )
    assert set(run("id -Gn", user="ann").stdout.split()) == {"ann", "crew", "band"}
    run("echo 'export GREETING=hello' >> ~/.profile", user="ann")
    assert run("echo $GREETING $HOME $USER $LOGNAME $SHELL $PWD", user="ann").stdout.startswith(
        "hello /home/ann ann ann"
    )
    assert run("sudo -n id -u", user="user").stdout == "0\n"
    assert run("sudo -n -u ann id -Gn", user="user").stdout.split()[0] == "ann"
    with pytest.raises(CommandExitException):
        run("sudo -n true", user="ann")


# ---- output and connections ---------------------------------------------------------------------


def collected(handle):
    out = []
    result = handle.wait(on_stdout=out.append)
    return "".join(out), result


def test_what_is_produced_while_nobody_listens(shared):
    run = shared.commands.run
    handle = run("read go; seq 1 300000; echo end >&2", background=True, stdin=True, timeout=0)
    handle.disconnect()
    shared.commands.send_stdin(handle.pid, "\n")
    eventually(
        lambda: handle.pid not in {p.pid for p in shared.commands.list()}, what="the end of it"
    )
    out, result = collected(shared.commands.connect(handle.pid))
    assert out == "".join(f"{i}\n" for i in range(1, 300001))
    assert result.stderr == "end\n" and result.exit_code == 0
    out, result = collected(shared.commands.connect(handle.pid))
    assert out == "" and result.exit_code == 0, "once"


def test_each_part_goes_to_who_is_there(shared):
    handle = shared.commands.run(
        "for i in 1 2 3 4; do read go; echo part $i; done; exit 5",
        background=True,
        stdin=True,
        timeout=0,
    )
    parts = []
    for _ in range(4):
        handle.disconnect()
        shared.commands.send_stdin(handle.pid, "\n")
        handle = shared.commands.connect(handle.pid)
        parts.append(next(iter(handle))[0])
    assert parts == [f"part {i}\n" for i in range(1, 5)]
    with pytest.raises(CommandExitException) as failure:
        handle.wait()
    assert failure.value.exit_code == 5


def test_a_stuck_reader_delays_nobody(shared):
    handle = shared.commands.run(
        "read go; head -c 30000000 /dev/zero | tr '\\0' x; touch /tmp/through",
        background=True,
        stdin=True,
        timeout=0,
    )
    stuck = shared.commands.connect(handle.pid)
    shared.commands.send_stdin(handle.pid, "\n")
    eventually(lambda: shared.files.exists("/tmp/through"), 20, "the process's end")
    out, _ = collected(handle)
    assert len(out) == 30000000
    out, _ = collected(stuck)
    assert len(out) == 30000000


class Raw:
    """A client of the wire with offsets, through the server, that loses its connection at will."""

    def __init__(self, server, sandbox):
        self.server = server
        self.head = (
            f"E2b-Sandbox-Id: {sandbox.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\n"
            f"X-Access-Token: {server.token(sandbox.sandbox_id)}\r\nHost: x\r\n"
        )
        self.out, self.ended, self.pid = b"", None, None

    def call(self, method, message, most=1 << 30):
        """Reads `most` bytes of the answer and closes; takes what came whole."""
        body = envelope(message)
        with self.server.connect() as s:
            s.sendall(
                (
                    f"POST /process.Process/{method} HTTP/1.1\r\n{self.head}"
                    f"Content-Type: application/connect+json\r\nContent-Length: {len(body)}\r\n\r\n"
                ).encode()
                + body
            )
            got = b""
            while len(got) < most and not got.endswith(b"\r\n0\r\n\r\n"):
                piece = s.recv(min(65536, most - len(got)))
                if not piece:
                    break
                got += piece
        self.take(got)
        return len(got)

    def follow(self, most=1 << 30):
        return self.call(
            "Connect", {"process": {"pid": self.pid}, "fromOffset": len(self.out)}, most
        )

    def take(self, raw):
        _, _, rest = raw.partition(b"\r\n\r\n")
        body = b""
        while rest:
            size, mark, after = rest.partition(b"\r\n")
            if not mark or not size:
                break
            n = int(size, 16)
            body += after[:n]
            rest = after[n + 2 :]
        while len(body) >= 5 and len(body) >= 5 + struct.unpack(">I", body[1:5])[0]:
            n = 5 + struct.unpack(">I", body[1:5])[0]
            self.event(json.loads(body[5:n]).get("event", {}))
            body = body[n:]

    def event(self, event):
        if "start" in event:
            self.pid = event["start"]["pid"]
        data = event.get("data", {})
        for kind in ("stdout", "stderr", "pty"):
            if kind in data:
                assert int(data["offset"]) == len(self.out), "a byte is missing or twice"
                self.out += base64.b64decode(data[kind])
        self.ended = event.get("end", self.ended)


COUNTED = 'i=0; while [ $i -lt 20 ]; do printf "%030d\\n" $i; i=$((i+1)); done'
EXPECTED = b"".join(b"%030d\n" % i for i in range(20))


def counted_start(**more):
    return {
        "process": {"cmd": "/bin/sh", "args": ["-c", COUNTED]},
        "stdin": False,
        "keepOutput": True,
        **more,
    }


def test_cut_at_every_byte(server, shared):
    """The stream to the client breaks off at every byte of it; the client has all, once."""
    whole = Raw(server, shared)
    whole.call("Start", counted_start())
    assert whole.out == EXPECTED and whole.ended["exited"]
    length = Raw(server, shared)
    length.pid = whole.pid
    for cut in range(1, length.follow()):
        client = Raw(server, shared)
        client.pid = whole.pid
        client.follow(cut)
        client.follow()
        assert hashlib.sha256(client.out).digest() == hashlib.sha256(EXPECTED).digest(), cut
        assert client.ended["exited"]


def test_a_large_output_over_many_connections(server, shared):
    shared.files.write("large", EXPECTED * 20000)
    client = Raw(server, shared)
    command = {"cmd": "/bin/cat", "args": ["/home/user/large"]}
    client.call("Start", {"process": command, "stdin": False, "keepOutput": True}, 100000)
    cuts = 0
    while client.ended is None:
        client.follow(700000 + 9973 * cuts)
        cuts += 1
    assert cuts > 5
    assert hashlib.sha256(client.out).digest() == hashlib.sha256(EXPECTED * 20000).digest()


# ---- the agent dies -----------------------------------------------------------------------------


def agent_killer(sandbox):
    """Kills the sandbox's agent as root of the sandbox can."""
    sandbox.files.write("/tmp/agent.py", AGENT)

    def kill():
        try:
            sandbox.commands.run(
                'kill -9 "$(python3 /tmp/agent.py)"; sleep 60', user="root", timeout=20
            )
        except Exception:
            pass
        works(lambda: sandbox.commands.run("echo up").stdout == "up\n")

    return kill


def test_output_through_deaths_of_the_agent(server, sandbox):
    kill = agent_killer(sandbox)
    sandbox.files.write(
        "count.py",
        "import struct, sys\n"
        "for i in range(0, 8 << 20, 8):\n"
        "    sys.stdout.buffer.write(struct.pack('>Q', i))\n"
        "sys.exit(9)\n",
    )
    client = Raw(server, sandbox)
    client.call(
        "Start",
        {
            "process": {"cmd": "/usr/bin/python3", "args": ["/home/user/count.py"]},
            "stdin": False,
            "keepOutput": True,
        },
        2000,
    )
    deaths = threading.Thread(target=lambda: [kill() for _ in range(2)])
    deaths.start()

    def read_on():
        try:
            client.follow()
        except OSError:
            pass
        return client.ended

    eventually(read_on, 60, "the end event")
    deaths.join(60)
    expected = b"".join(struct.pack(">Q", i) for i in range(0, 8 << 20, 8))
    assert hashlib.sha256(client.out).digest() == hashlib.sha256(expected).digest()
    assert client.ended["exitCode"] == 9


def test_many_kinds_of_process_through_a_death(sandbox):
    run = sandbox.commands.run
    kill = agent_killer(sandbox)
    waiting = run("read x; echo got $x; exit 3", background=True, stdin=True, timeout=0)
    ended = run("echo tail; exit 4", background=True)
    with pytest.raises(CommandExitException):
        ended.wait()
    terminal = sandbox.pty.create(PtySize(24, 80))
    kill()
    assert {waiting.pid, terminal.pid} <= {p.pid for p in sandbox.commands.list()}
    sandbox.commands.send_stdin(waiting.pid, "news\n")
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.connect(waiting.pid).wait()
    assert (failure.value.exit_code, failure.value.stdout) == (3, "got news\n")
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.connect(ended.pid).wait()
    assert failure.value.exit_code == 4
    screen = Background(sandbox.pty.connect(terminal.pid))
    keys(sandbox, terminal.pid, "echo $((6 * 7))\r")
    screen.expect("42\r\n")
    assert sandbox.commands.kill(terminal.pid) is True


# ---- groups, scale ------------------------------------------------------------------------------


def test_kill_of_the_process_and_of_its_group(server, sandbox):
    def started():
        handle = sandbox.commands.run(
            "tail -f /dev/null >/dev/null 2>&1 & echo $!; wait", background=True, timeout=0
        )
        return handle, int(next(iter(handle))[0])

    def alive(pid):
        return sandbox.commands.run(f"kill -0 {pid}; echo $?").stdout == "0\n"

    handle, child = started()
    assert sandbox.commands.kill(handle.pid) is True
    assert alive(child), "the stock call means one process"
    for pid, group in ((handle.pid, True), (started()[0].pid, True)):
        reply = server.rpc(
            sandbox.sandbox_id,
            "/process.Process/SendSignal",
            {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL", "group": group},
        )
        assert reply.status == 200
    eventually(lambda: sandbox.commands.run("pgrep -c tail || true").stdout == "0\n")


async def test_a_hundred_at_once(server):
    import asyncio

    sandbox = await AsyncSandbox.create(timeout=120)
    try:
        results = await asyncio.gather(
            *(sandbox.commands.run(f"echo {i}; read x || true", timeout=60) for i in range(100))
        )
        assert [r.stdout for r in results] == [f"{i}\n" for i in range(100)]
    finally:
        await sandbox.kill()


@pytest.mark.slow
def test_a_thousand_processes_and_streams(server, create):
    sandbox = create(timeout=300)
    token = server.token(sandbox.sandbox_id)

    def start(i):
        connection = server.connect(60)
        body = envelope({"process": {"cmd": "/bin/cat"}, "stdin": True, "tag": f"t{i}"})
        connection.sendall(
            (
                "POST /process.Process/Start HTTP/1.1\r\nHost: x\r\n"
                f"E2b-Sandbox-Id: {sandbox.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\n"
                f"X-Access-Token: {token}\r\nContent-Type: application/connect+json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode()
            + body
        )
        got = b""
        while b'"start"' not in got:
            got += connection.recv(4096)
        return connection

    def say(i):
        message = {"process": {"tag": f"t{i}"}}
        data = {**message, "input": {"stdin": base64.b64encode(b"%d" % i).decode()}}
        for method, m in (("SendInput", data), ("CloseStdin", message)):
            path = f"/process.Process/{method}"
            assert server.rpc(sandbox.sandbox_id, path, m, token=token).status == 200

    def finish(i):
        connection = connections[i]
        got = b""
        while not got.endswith(b"\r\n0\r\n\r\n"):
            piece = connection.recv(4096)
            assert piece
            got += piece
        connection.close()
        return base64.b64encode(b"%d" % i) in got and b'"exited":true' in got

    with ThreadPoolExecutor(16) as pool:
        connections = list(pool.map(start, range(1000)))
        assert len(sandbox.commands.list()) == 1000
        list(pool.map(say, range(1000)))
        assert all(pool.map(finish, range(1000)))
    assert sandbox.commands.list() == []


def test_binary_encoding_through_the_server(server, shared):
    """One call in protobuf's encoding, made by hand: StartRequest{process{cmd, args}}."""

    def field(number, payload):
        return bytes([number << 3 | 2, len(payload)]) + payload

    message = field(1, field(1, b"/bin/echo") + field(2, b"binary"))
    reply = server.sandbox(
        shared.sandbox_id,
        "POST",
        "/process.Process/Start",
        envelope(message),
        {"Content-Type": "application/connect+proto"},
        token=server.token(shared.sandbox_id),
    )
    assert reply.headers["Content-Type"] == "application/connect+proto"
    frames = list(envelopes(reply.body))
    assert any(b"binary\n" in payload for _, payload in frames)
    assert frames[-1] == (2, b"{}")
