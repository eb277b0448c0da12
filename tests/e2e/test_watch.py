# SPDX-License-Identifier: Apache-2.0
"""Watching directories (protocol.md 5.9): a handle to poll, and a stream."""

import asyncio
import uuid

import pytest
from e2b import (
    AsyncSandbox,
    FileNotFoundException,
    FileType,
    FilesystemEventType,
    InvalidArgumentException,
    SandboxException,
)

from harness import eventually

CREATE, WRITE = FilesystemEventType.CREATE, FilesystemEventType.WRITE
REMOVE, RENAME = FilesystemEventType.REMOVE, FilesystemEventType.RENAME
CHMOD = FilesystemEventType.CHMOD


@pytest.fixture
def folder(shared):
    path = f"/home/user/w-{uuid.uuid4().hex[:8]}"
    shared.files.make_dir(path)
    return path


class Poll:
    """Collects a handle's events until the wanted ones are there."""

    def __init__(self, handle):
        self.handle = handle
        self.events = []

    def until(self, *wanted):
        def look():
            self.events += self.handle.get_new_events()
            return set(wanted) <= {(e.type, e.name) for e in self.events}

        eventually(look, 10, f"{wanted}")
        return self.events


@pytest.fixture
def watch(shared):
    handles = []

    def watch(path, **options):
        handles.append(shared.files.watch_dir(path, **options))
        return Poll(handles[-1])

    yield watch
    for handle in handles:
        handle.stop()


def test_upload_of_a_new_file(shared, folder, watch):
    """Exactly three events: it appears, gets its owner, gets its content."""
    events = watch(folder)
    shared.files.write(f"{folder}/new.txt", "content")
    events.until((WRITE, "new.txt"))
    assert [(e.type, e.name) for e in events.events] == [
        (CREATE, "new.txt"),
        (CHMOD, "new.txt"),
        (WRITE, "new.txt"),
    ]
    assert events.handle.get_new_events() == []


def test_what_commands_do(shared, folder, watch):
    events = watch(folder)
    shared.commands.run(f"cd {folder} && echo 1 > a && chmod 600 a && mv a b && mkdir d && rm b")
    events.until(
        (CREATE, "a"),
        (WRITE, "a"),
        (CHMOD, "a"),
        (RENAME, "a"),
        (CREATE, "b"),
        (CREATE, "d"),
        (REMOVE, "b"),
    )
    order = [(e.type, e.name) for e in events.events]
    assert order.index((CREATE, "a")) < order.index((WRITE, "a")) < order.index((CHMOD, "a"))
    assert order.index((RENAME, "a")) < order.index((REMOVE, "b"))


def test_only_the_directory_itself(shared, folder, watch):
    shared.files.make_dir(f"{folder}/sub")
    events = watch(folder)
    shared.files.write(f"{folder}/sub/inner", "x")
    shared.files.write(f"{folder}/outer", "x")
    events.until((WRITE, "outer"))
    assert not [e for e in events.events if "inner" in e.name]


def test_recursive(shared, folder, watch):
    shared.files.make_dir(f"{folder}/there/already")
    events = watch(folder, recursive=True)
    shared.files.write(f"{folder}/there/already/x", "1")
    shared.commands.run(f"mkdir -p {folder}/new/deep/er && echo 2 > {folder}/new/deep/er/y")
    events.until(
        (CREATE, "there/already/x"),
        (CREATE, "new"),
        (CREATE, "new/deep"),
        (CREATE, "new/deep/er"),
        (CREATE, "new/deep/er/y"),
    )
    shared.commands.run(f"echo more >> {folder}/new/deep/er/y; rm -r {folder}/new")
    events.until((WRITE, "new/deep/er/y"), (REMOVE, "new/deep/er/y"), (REMOVE, "new"))


def test_with_entries(shared, folder, watch):
    events = watch(folder, include_entry=True)
    shared.files.write(f"{folder}/e.txt", "12345")
    written = [e for e in events.until((WRITE, "e.txt")) if e.type == WRITE][-1]
    assert written.entry.path == f"{folder}/e.txt" and written.entry.type == FileType.FILE
    assert written.entry.size == 5 and written.entry.owner == "user"
    shared.files.remove(f"{folder}/e.txt")
    removed = [e for e in events.until((REMOVE, "e.txt")) if e.type == REMOVE]
    assert removed[0].entry is None


def test_what_cannot_be_watched(shared, folder):
    with pytest.raises(FileNotFoundException):
        shared.files.watch_dir(f"{folder}/missing")
    shared.files.write(f"{folder}/file", "x")
    with pytest.raises(InvalidArgumentException):
        shared.files.watch_dir(f"{folder}/file")


def test_stopped_handle(shared, folder):
    handle = shared.files.watch_dir(folder)
    handle.stop()
    with pytest.raises(SandboxException):
        handle.get_new_events()


def test_unknown_watcher(server, shared):
    for method in ("GetWatcherEvents", "RemoveWatcher"):
        reply = server.rpc(
            shared.sandbox_id,
            f"/filesystem.Filesystem/{method}",
            {"watcherId": "w12345678901234567890"},
        )
        assert reply.status == 404 and reply.json()["code"] == "not_found", reply.text


def test_two_watchers_see_the_same(shared, folder, watch):
    one, two = watch(folder), watch(folder)
    shared.files.write(f"{folder}/f", "x")
    for events in (one, two):
        events.until((CREATE, "f"), (WRITE, "f"))


def test_many_files(shared, folder, watch):
    events = watch(folder)
    shared.commands.run(f"cd {folder} && for i in $(seq 2000); do : > f$i; done")
    events.until(*[(CREATE, f"f{n}") for n in range(1, 2001)])


HASTE = """
import os, sys
for d in range(300):
    os.mkdir(f"{sys.argv[1]}/{d}")
    for f in range(20):
        os.close(os.open(f"{sys.argv[1]}/{d}/{f}", os.O_CREAT | os.O_WRONLY))
"""


def test_files_made_at_once_in_new_directories(shared, folder, watch):
    """A new directory is read after it is watched. Where a file system shows a reader what was there
    when it opened (btrfs does), it has to be opened after that, too."""
    events = watch(folder, recursive=True)
    shared.files.write("/tmp/haste.py", HASTE)
    shared.commands.run(f"python3 /tmp/haste.py {folder}")
    events.until(*[(CREATE, str(d)) for d in range(300)],
                 *[(CREATE, f"{d}/{f}") for d in range(300) for f in range(20)])


# ---- streams ------------------------------------------------------------------------------------


class Stream:
    def __init__(self):
        self.events = asyncio.Queue()
        self.ended = asyncio.Event()
        self.error = None

    async def on_event(self, event):
        await self.events.put(event)

    async def on_exit(self, error):
        self.error = error
        self.ended.set()

    async def until(self, type_, name):
        async def look():
            while True:
                event = await self.events.get()
                if (event.type, event.name) == (type_, name):
                    return event

        return await asyncio.wait_for(look(), 10)


async def test_stream(shared, folder):
    sandbox = await AsyncSandbox.connect(shared.sandbox_id)
    stream = Stream()
    handle = await sandbox.files.watch_dir(
        folder, stream.on_event, on_exit=stream.on_exit, recursive=True
    )
    await sandbox.files.write(f"{folder}/live.txt", "x")
    await stream.until(CREATE, "live.txt")
    await stream.until(WRITE, "live.txt")
    await sandbox.files.remove(f"{folder}/live.txt")
    await stream.until(REMOVE, "live.txt")
    await handle.stop()


async def test_stream_of_a_missing_directory(shared, folder):
    sandbox = await AsyncSandbox.connect(shared.sandbox_id)
    with pytest.raises(FileNotFoundException):
        await sandbox.files.watch_dir(f"{folder}/missing", lambda e: None)


async def test_stream_ends_at_its_timeout(shared, folder):
    sandbox = await AsyncSandbox.connect(shared.sandbox_id)
    stream = Stream()
    await sandbox.files.watch_dir(folder, stream.on_event, on_exit=stream.on_exit, timeout=0.5)
    await asyncio.wait_for(stream.ended.wait(), 10)


async def test_stream_is_cut_with_the_sandbox(server):
    sandbox = await AsyncSandbox.create(timeout=60)
    stream = Stream()
    await sandbox.files.watch_dir("/home/user", stream.on_event, on_exit=stream.on_exit)
    await sandbox.kill()
    await asyncio.wait_for(stream.ended.wait(), 10)
    assert stream.error is not None
