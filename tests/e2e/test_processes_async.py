# SPDX-License-Identifier: Apache-2.0
"""What test_processes.py asks, of the asynchronous SDK: terminals, users, output that outlives its
connections, an agent that dies."""

import asyncio

import pytest
from e2b import AsyncSandbox, CommandExitException, PtySize

from test_crash import AGENT


@pytest.fixture
async def sandbox(server):
    sandbox = await AsyncSandbox.create(timeout=120)
    yield sandbox
    await sandbox.kill()


class Screen:
    def __init__(self):
        self.text = ""
        self.changed = asyncio.Event()

    def add(self, data):
        self.text += data if isinstance(data, str) else data.decode(errors="replace")
        self.changed.set()

    async def expect(self, text):
        async with asyncio.timeout(30):
            while text not in self.text:
                self.changed.clear()
                await self.changed.wait()


async def until(check):
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.01)


async def running(sandbox, pid):
    return pid in {p.pid for p in await sandbox.commands.list()}


async def test_vim_and_htop(sandbox):
    await sandbox.files.write("poem.txt", "first\nsecond\nthird\n")
    screen = Screen()
    handle = await sandbox.pty.create(PtySize(rows=24, cols=80), screen.add, timeout=60)

    async def keys(text):
        await sandbox.pty.send_stdin(handle.pid, text.encode())

    await keys("vim -n poem.txt; echo vim is go''ne\r")
    await screen.expect("third")
    await keys("jddoa new liné\x1bZZ")
    await screen.expect("vim is gone")
    assert await sandbox.files.read("poem.txt") == "first\nthird\na new liné\n"
    await keys("htop; echo htop is go''ne\r")
    await screen.expect("F10")
    await keys("q")
    await screen.expect("htop is gone")
    await sandbox.pty.resize(handle.pid, PtySize(rows=33, cols=99))
    await keys("stty size\r")
    await screen.expect("33 99\r\n")
    viewer = Screen()
    second = await sandbox.pty.connect(handle.pid, viewer.add)
    await keys("echo to-''both; exit 3\r")
    await screen.expect("to-both\r\n")
    await viewer.expect("to-both\r\n")
    for each in (handle, second):
        with pytest.raises(CommandExitException) as failure:
            await each.wait()
        assert failure.value.exit_code == 3


async def test_users(sandbox):
    run = sandbox.commands.run
    assert (await run("id -un; echo $HOME $USER", user="root")).stdout == "root\n/root root\n"
    assert (await run("id -un; sudo -n id -u")).stdout == "user\n0\n"
    assert (await run("echo $A$B", envs={"A": "own"})).stdout == "own\n"


async def test_what_is_produced_while_nobody_listens(sandbox):
    handle = await sandbox.commands.run(
        "read go; seq 1 200000; echo end >&2; exit 3", background=True, stdin=True, timeout=0
    )
    await handle.disconnect()
    await sandbox.commands.send_stdin(handle.pid, "\n")

    async def ended():
        return not await running(sandbox, handle.pid)

    await until(ended)
    for out, err in (("".join(f"{i}\n" for i in range(1, 200001)), "end\n"), ("", "")):
        late = await sandbox.commands.connect(handle.pid)
        with pytest.raises(CommandExitException) as failure:
            await late.wait()
        assert (failure.value.stdout, failure.value.stderr) == (out, err)
        assert failure.value.exit_code == 3


async def test_readers_beside_each_other(sandbox):
    text = "😀é€" * 100000
    await sandbox.files.write("text", text)
    first = await sandbox.commands.run("read go; cat text", background=True, stdin=True)
    others = [await sandbox.commands.connect(first.pid) for _ in range(3)]
    await sandbox.commands.send_stdin(first.pid, "\n")
    for result in await asyncio.gather(*(h.wait() for h in [first, *others])):
        assert result.stdout == text


async def test_an_agent_that_dies(sandbox):
    waiting = await sandbox.commands.run(
        "read x; echo got $x; exit 6", background=True, stdin=True, timeout=0
    )
    await sandbox.files.write("/tmp/agent.py", AGENT)
    with pytest.raises(Exception):  # which one is the SDK's affair
        await sandbox.commands.run('kill -9 "$(python3 /tmp/agent.py)"; sleep 60', user="root")

    async def works():
        try:
            return await running(sandbox, waiting.pid)
        except Exception:
            return False

    await until(works)
    late = await sandbox.commands.connect(waiting.pid)
    await sandbox.commands.send_stdin(waiting.pid, "news\n")
    with pytest.raises(CommandExitException) as failure:
        await late.wait()
    assert (failure.value.exit_code, failure.value.stdout) == (6, "got news\n")
