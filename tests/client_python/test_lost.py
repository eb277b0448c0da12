# SPDX-License-Identifier: Apache-2.0
"""Servers that are down, keys that are wrong, sandboxes that end half way, connections that break:
through a relay that breaks them on purpose."""

import socket
import threading

import pytest
from carrel import (
    AuthenticationException,
    CommandExitException,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    SandboxNotRunningException,
    SandboxUnreachableException,
    TimeoutException,
)
from proxy import Relay

LINES = 100_000
COUNT = f"seq -f 'line %.0f' {LINES}; read end; echo end $end"


@pytest.fixture
def relay(server):
    relay = Relay(server.address)
    yield relay
    relay.close()


@pytest.fixture
def far(relay, shared):
    """The shared sandbox through the relay."""
    return Sandbox.connect(shared.sandbox_id, api_url=relay.url, sandbox_url=relay.url)


def test_no_server():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SandboxUnreachableException, match="Is the server running") as failure:
        Sandbox(api_url=f"http://127.0.0.1:{port}", api_key="e2b_" + "0" * 40)
    assert isinstance(failure.value.__cause__, ConnectionRefusedError)


def test_a_server_that_does_not_answer(server):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(TimeoutException, match="no answer in 0.3 s"):
            Sandbox(api_url=url, request_timeout=0.3)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{",
        b"",
    ],
)
def test_a_server_that_is_none(server, answer):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve():
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(SandboxException, match="POST /sandboxes"):
            Sandbox(api_url=f"http://127.0.0.1:{other.getsockname()[1]}")


def test_keys_and_ids(server, monkeypatch):
    with pytest.raises(AuthenticationException, match="does not look like one"):
        Sandbox(api_key="wrong")
    with pytest.raises(AuthenticationException) as failure:
        Sandbox(api_key="e2b_" + "0" * 40)
    assert failure.value.status_code == 401
    for call in (Sandbox.connect, Sandbox.get_info, Sandbox.pause):
        with pytest.raises(SandboxNotFoundException):
            call("inosuchsandbox")
    assert Sandbox.kill("inosuchsandbox") is False
    with pytest.raises(TypeError, match="nonsense"):
        Sandbox.list(nonsense=1)
    with pytest.raises(SandboxException, match="no-such-template"):
        Sandbox("no-such-template")
    monkeypatch.delenv("E2B_API_KEY")
    with pytest.raises(AuthenticationException, match="E2B_API_KEY"):
        Sandbox()


def test_a_sandbox_that_ends_half_way(sandbox):
    handle = sandbox.commands.run("echo ready; sleep 1000", background=True)
    assert handle.read().stdout == "ready\n"
    sandbox.kill()
    for call in (
        handle.wait,
        lambda: sandbox.files.read("x"),
        lambda: sandbox.commands.run("true"),
    ):
        with pytest.raises(SandboxNotRunningException, match="killed or reached its end of life"):
            call()
    assert sandbox.is_running() is False and sandbox.kill() is False


def test_an_idle_connection_that_was_closed(far, relay):
    assert far.commands.run("echo 1").stdout == "1\n"
    relay.cut()
    assert far.commands.run("echo 2").stdout == "2\n"
    relay.cut()
    assert far.files.exists("/tmp")


def test_output_survives_broken_connections(far, relay):
    """Every connection is cut after 80 kB: no line is lost, none comes twice."""
    relay.limit = 80_000
    handle = far.commands.run(COUNT, background=True, stdin=True, timeout=0)
    text = ""
    while not text.endswith(f"line {LINES}\n"):
        text += handle.read().stdout
    assert text == "".join(f"line {i}\n" for i in range(1, LINES + 1))
    relay.limit = None
    before = relay.count
    handle.write("now\n")
    result = handle.wait()
    assert result.stdout == text + "end now\n" and result.missed == 0 and before > 5


def test_a_watch_survives_broken_connections(far, relay, folder):
    events, come = [], threading.Semaphore(0)

    def on_event(event):
        if event.type == "create":
            events.append(event.name)
            come.release()

    watcher = far.files.watch(folder, on_event=on_event)
    for number in range(5):
        relay.cut(b"/WatchDir")  # the stream; an answer that is lost is told by on_exit
        far.files.write(f"{folder}/{number}", "")
        assert come.acquire(timeout=30)
    watcher.stop()
    assert events == ["0", "1", "2", "3", "4"]


def test_an_answer_that_is_cut(far, relay, shared, folder, tmp_path):
    shared.files.write(f"{folder}/big", b"x" * 1_000_000)
    relay.limit = 500_000
    with pytest.raises(SandboxUnreachableException):
        far.files.read(f"{folder}/big")
    (tmp_path / "big").write_text("old")
    with pytest.raises(SandboxUnreachableException):
        far.files.download(f"{folder}/big", tmp_path / "big")
    assert (tmp_path / "big").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_a_server_that_starts_anew(own_server):
    """The server stops and another takes over: the process and its output are still there."""
    own_server.ephemeral = False
    own_server.stop()
    own_server.start()
    address = own_server.url.removeprefix("http://")
    options = {"api_key": own_server.key, "api_url": own_server.url, "sandbox_url": own_server.url}
    with Sandbox("base", timeout=120, **options) as sandbox:
        handle = sandbox.commands.run(
            "echo before; read x; echo after", background=True, stdin=True, timeout=0
        )
        assert handle.read().stdout == "before\n"
        own_server.stop()
        own_server.start(listen=address)
        sandbox.commands.send_stdin(handle.pid, "go\n")
        assert handle.wait().stdout == "before\nafter\n"


async def test_awaiting(relay, shared):
    import asyncio

    from carrel import AsyncSandbox

    far = await AsyncSandbox.connect(shared.sandbox_id, api_url=relay.url, sandbox_url=relay.url)
    relay.limit = 80_000
    handle = await far.commands.run(COUNT, background=True, stdin=True, timeout=0)
    text = ""
    while not text.endswith(f"line {LINES}\n"):
        text += (await handle.read()).stdout
    relay.limit = None
    await handle.kill(group=True)
    with pytest.raises(CommandExitException):
        await asyncio.wait_for(handle.wait(), 30)
    assert text == "".join(f"line {i}\n" for i in range(1, LINES + 1))
    relay.close()
    with pytest.raises(SandboxUnreachableException):
        await far.files.read("x")
