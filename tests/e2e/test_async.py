# SPDX-License-Identifier: Apache-2.0
"""The asynchronous SDK: the same core, and many things at once."""

import asyncio
import uuid

import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    FileType,
    PtySize,
    SandboxQuery,
    TimeoutException,
)


@pytest.fixture
async def sandbox(server):
    sandbox = await AsyncSandbox.create(timeout=120)
    yield sandbox
    await sandbox.kill()


async def test_life(server):
    run = uuid.uuid4().hex
    sandbox = await AsyncSandbox.create(timeout=60, metadata={"run": run}, envs={"A": "b"})
    assert await sandbox.is_running()
    assert (await sandbox.get_info()).metadata == {"run": run}
    again = await AsyncSandbox.connect(sandbox.sandbox_id)
    assert (await again.commands.run("echo $A")).stdout == "b\n"
    await sandbox.set_timeout(100)
    listed = await AsyncSandbox.list(SandboxQuery(metadata={"run": run})).next_items()
    assert [s.sandbox_id for s in listed] == [sandbox.sandbox_id]
    assert await sandbox.kill() is True
    assert await sandbox.kill() is False
    assert not await sandbox.is_running()


async def test_files(sandbox):
    await sandbox.files.write("a/b.txt", "ü")
    assert await sandbox.files.read("a/b.txt") == "ü"
    await sandbox.files.write_files([{"path": f"a/{n}", "data": bytes([n])} for n in range(10)])
    assert len(await sandbox.files.list("a")) == 11
    assert await sandbox.files.make_dir("a") is False
    assert (await sandbox.files.get_info("a")).type == FileType.DIR
    await sandbox.files.rename("a", "c")
    assert await sandbox.files.exists("c/b.txt") and not await sandbox.files.exists("a")
    await sandbox.files.remove("c")
    chunks = [b"x" * 100000] * 30

    async def produce():
        for chunk in chunks:
            yield chunk

    await sandbox.files.write("big", produce())
    stream = await sandbox.files.read("big", format="stream")
    assert b"".join([chunk async for chunk in stream]) == b"".join(chunks)


async def test_commands(sandbox):
    seen = []
    result = await sandbox.commands.run(
        "echo 1; echo 2 >&2", on_stdout=seen.append, on_stderr=seen.append
    )
    assert result.exit_code == 0 and sorted(seen) == ["1\n", "2\n"]
    with pytest.raises(CommandExitException):
        await sandbox.commands.run("exit 9")
    handle = await sandbox.commands.run("cat", background=True, stdin=True)
    await handle.send_stdin("in\n")
    await handle.close_stdin()
    assert (await handle.wait()).stdout == "in\n"
    handle = await sandbox.commands.run("sleep 100", background=True)
    assert handle.pid in {p.pid for p in await sandbox.commands.list()}
    assert await handle.kill() is True
    with pytest.raises(CommandExitException):
        await handle.wait()
    with pytest.raises(TimeoutException):
        await sandbox.commands.run("sleep 100", timeout=0.5)


async def test_stream_input(sandbox):
    handle = await sandbox.commands.run("cat", background=True, stdin=True)

    stream = sandbox.commands.stream_input(handle.pid)
    for n in range(5):
        await stream.send(f"{n}\n")
    await stream.close()
    await handle.close_stdin()
    assert (await handle.wait()).stdout == "0\n1\n2\n3\n4\n"


async def test_pty(sandbox):
    seen = bytearray()
    found = asyncio.Event()

    def on_data(data):
        seen.extend(data)
        if b"42" in seen:
            found.set()

    handle = await sandbox.pty.create(PtySize(24, 80), on_data)
    await sandbox.pty.send_stdin(handle.pid, b"echo $((6 * 7))\n")
    await asyncio.wait_for(found.wait(), 10)
    assert await sandbox.pty.kill(handle.pid) is True


async def test_killed_under_a_command(server):
    sandbox = await AsyncSandbox.create(timeout=60)
    handle = await sandbox.commands.run("sleep 100", background=True)
    await sandbox.kill()
    with pytest.raises(TimeoutException, match="killed or reached its end of life"):
        await handle.wait()


async def test_30_commands_at_once(sandbox):
    async def one(n):
        return (await sandbox.commands.run(f"echo {n}; read -t 0.2 < <(sleep 1); echo {n}")).stdout

    results = await asyncio.gather(*[one(n) for n in range(30)])
    assert results == [f"{n}\n{n}\n" for n in range(30)]


async def test_20_sandboxes_at_once(server):
    sandboxes = await asyncio.gather(*[AsyncSandbox.create(timeout=60) for _ in range(20)])
    try:
        assert len({s.sandbox_id for s in sandboxes}) == 20
        await asyncio.gather(*[s.files.write(f"mine-{n}", str(n)) for n, s in enumerate(sandboxes)])
        handles = await asyncio.gather(
            *[
                s.commands.run(f"exec -a worker-{n} sleep 100", background=True)
                for n, s in enumerate(sandboxes)
            ]
        )
        assert len(handles) == 20
        results = await asyncio.gather(
            *[
                s.commands.run(
                    "ls; until cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep '^worker-';"
                    " do :; done"
                )
                for s in sandboxes
            ]
        )
        assert [r.stdout for r in results] == [f"mine-{n}\nworker-{n}\n" for n in range(20)]
    finally:
        assert all(await asyncio.gather(*[s.kill() for s in sandboxes]))
