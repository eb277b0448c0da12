# SPDX-License-Identifier: Apache-2.0
"""Watching directories."""

import asyncio
import threading

import pytest
from carrel import (
    FileNotFoundException,
    FilesystemEventType,
    InvalidArgumentException,
    SandboxException,
    TimeoutException,
)

MAKE = "mkdir -p {0}; for i in 0 1 2; do echo $i > {0}/file_$i.txt; done"
THREE = ["file_0.txt", "file_1.txt", "file_2.txt"]


def created(events):
    return [event.name for event in events if event.type == "create" and event.name != "."]


@pytest.mark.parametrize("exists", [True, False])
def test_stop_tells_all_until_then(shared, folder, exists):
    events, ends = [], []
    path = f"{folder}/output" if not exists else folder
    watcher = shared.files.watch(path, on_event=events.append, on_exit=ends.append)
    shared.commands.run(MAKE.format(path))
    watcher.stop()
    assert sorted(created(events)) == THREE and ends == [None]
    shared.files.write(f"{path}/late", "")
    watcher.stop()
    assert sorted(created(events)) == THREE


def test_events_come_by_themselves(shared, folder):
    come = threading.Event()

    def on_event(event):
        if event.name == "x" and event.type == FilesystemEventType.REMOVE:
            come.set()

    with shared.files.watch(folder, on_event=on_event):
        shared.commands.run("echo > x; chmod 600 x; rm x", cwd=folder)
        assert come.wait(30)


def test_deep_directories_that_come_later(shared, folder):
    events = []
    watcher = shared.files.watch(f"{folder}/a/b/c", on_event=events.append, recursive=True)
    shared.commands.run("mkdir -p a/b; mkdir -p a/b/c/d; echo > a/b/c/d/e; echo > a/f", cwd=folder)
    watcher.stop()
    assert set(created(events)) == {"d", "d/e"}


def test_asking(shared, folder):
    watcher = shared.files.watch_dir(folder, include_entry=True)
    assert watcher.get_new_events() == []
    shared.files.write(f"{folder}/x", "12345")
    events = watcher.get_new_events()
    assert created(events) == ["x"] and events[-1].entry.size == 5
    assert watcher.get_new_events() == []
    watcher.stop()
    with pytest.raises(SandboxException, match="stopped"):
        watcher.get_new_events()
    with pytest.raises(FileNotFoundException):
        shared.files.watch_dir(f"{folder}/nothing")
    with pytest.raises(InvalidArgumentException, match="directory"):
        shared.files.watch(f"{folder}/x")


def test_callbacks_that_stop_or_fail(shared, folder):
    ended = threading.Event()
    told = []

    def stop(event):
        told.append(event)
        watcher.stop()

    watcher = shared.files.watch(folder, on_event=stop, on_exit=lambda error: ended.set())
    shared.commands.run("echo > x; echo > y", cwd=folder)
    assert ended.wait(30) and told
    errors, failed = [], threading.Event()

    def fail(event):
        raise ZeroDivisionError

    def on_exit(error):
        errors.append(error)
        failed.set()

    watcher = shared.files.watch(folder, on_event=fail, on_exit=on_exit)
    shared.commands.run("echo > z", cwd=folder)
    assert failed.wait(30) and isinstance(errors[0], ZeroDivisionError)
    watcher.stop()


def test_its_end_is_told(shared, folder, sandbox):
    ends, ended = [], threading.Event()

    def on_exit(error):
        ends.append(error)
        ended.set()

    watcher = shared.files.watch(folder, on_event=print, on_exit=on_exit, timeout=3)
    assert ended.wait(30) and isinstance(ends[0], TimeoutException)
    watcher.stop()
    ended.clear()
    watcher = sandbox.files.watch("/tmp", on_event=print, on_exit=on_exit)
    sandbox.kill()
    assert ended.wait(60) and isinstance(ends[1], TimeoutException), ends
    watcher.stop()


async def test_awaiting(awaiting, folder):
    events, come = [], asyncio.Event()

    async def on_event(event):
        events.append(event)
        if event.name == "file_2.txt":
            come.set()

    watcher = await awaiting.files.watch(f"{folder}/o", on_event=on_event)
    await awaiting.commands.run(MAKE.format(f"{folder}/o"))
    await asyncio.wait_for(come.wait(), 30)
    await watcher.stop()
    assert sorted(created(events)) == THREE
    with pytest.raises(FileNotFoundException):
        await awaiting.files.watch_dir(f"{folder}/nothing", on_event)
