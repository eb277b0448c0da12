# SPDX-License-Identifier: Apache-2.0
"""Watching (protocol.md 5.9): polled watchers and streams, the mapping and order of events, and that
replaying them gives the tree."""
import contextlib
import ctypes
import os
import pathlib
import random
import signal
import struct
import subprocess
import tempfile
import time

import pytest
from conftest import CONFIG, DEADLINE, Agent, refused
from files import form, fs, peak_kib, upload, upload_form

SERVICE = "filesystem.Filesystem"


@pytest.fixture
def shm():
    """A directory in memory, for many files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield pathlib.Path(directory)


class Watcher:
    def __init__(self, agent, path, **options):
        self.agent = agent
        self.id = fs(agent, "CreateWatcher", path=str(path), **options)["watcherId"]
        assert self.id[0] == "w" and len(self.id) == 21

    def raw(self):
        return fs(self.agent, "GetWatcherEvents", watcherId=self.id).get("events", [])

    def events(self):
        return [(e["type"].removeprefix("EVENT_TYPE_"), e["name"]) for e in self.raw()]

    def all(self):
        """Until nothing more comes at once."""
        found = []
        while more := self.events():
            found += more
        return found

    def stop(self):
        fs(self.agent, "RemoveWatcher", watcherId=self.id)


@pytest.fixture
def watch(agent):
    watchers = []

    def watch(path, **options):
        watchers.append(Watcher(agent, path, **options))
        return watchers[-1]

    yield watch
    for w in watchers:
        w.stop()


def sh(script, cwd):
    subprocess.run(["/bin/sh", "-ec", script], cwd=cwd, check=True)


def names_of(event, *names):
    return [(event, n) for n in names]


NEW = ("CREATE", "CHMOD", "WRITE")


# ---- the agent's own uploads ----


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
@pytest.mark.parametrize("recursive", [False, True])
def test_upload_of_a_new_file(agent, tmp_path, watch, size, recursive):
    w = watch(tmp_path, recursive=recursive)
    upload(agent, str(tmp_path / "f"), b"x" * size)
    assert w.events() == [(e, "f") for e in NEW]
    upload_form(agent, form(("ignored", b"y" * size)), path=str(tmp_path / "g"))
    assert w.events() == [(e, "g") for e in NEW]


def test_upload_over_a_file(agent, tmp_path, watch):
    (tmp_path / "f").write_bytes(b"old")
    w = watch(tmp_path)
    upload(agent, str(tmp_path / "f"), b"new")
    assert w.events() == [("CHMOD", "f"), ("WRITE", "f")]
    os.unlink(tmp_path / "f")
    upload(agent, str(tmp_path / "f"), b"newer")
    assert w.events() == [("REMOVE", "f")] + [(e, "f") for e in NEW]


def test_a_failed_upload_shows_nothing(agent, tmp_path, watch):
    w = watch(tmp_path, recursive=True)
    assert upload_form(agent, form(("x", b"1"))[:-4], path=str(tmp_path / "a" / "b"))[0] == 500
    connection = agent.connect()
    connection.putrequest("POST", f"/files?path={tmp_path}/c")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b"x" * 500_000)
    connection.close()
    assert agent.request("GET", "/health")[0].status == 204
    assert w.events() == [] and os.listdir(tmp_path) == []


def test_every_inotify_user_sees_an_upload(agent, tmp_path):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    try:
        libc.inotify_add_watch(fd, os.fsencode(tmp_path), 0x100 | 0x4 | 0x2 | 0x8)
        upload(agent, str(tmp_path / "f"), b"content")
        raw, masks = os.read(fd, 4096), []
        while raw:
            _, mask, _, length = struct.unpack_from("iIII", raw)
            assert raw[16:16 + length].rstrip(b"\0") == b"f"
            masks.append(mask)
            raw = raw[16 + length:]
        assert masks == [0x100, 0x4, 0x2, 0x8]  # create, attrib, modify, close after write
    finally:
        os.close(fd)


# ---- the mapping ----


def test_mapping(agent, tmp_path, watch):
    w = watch(tmp_path)
    sh("echo 1 >a; chmod 600 a; mv a b; rm b; mkdir d; rmdir d; ln -s x l; mkfifo p", tmp_path)
    assert w.events() == [
        ("CREATE", "a"), ("WRITE", "a"), ("CHMOD", "a"), ("RENAME", "a"), ("CREATE", "b"),
        ("REMOVE", "b"), ("CREATE", "d"), ("REMOVE", "d"), ("CREATE", "l"), ("CREATE", "p")]


def test_the_directory_itself(agent, tmp_path, watch):
    (tmp_path / "d").mkdir()
    w = watch(tmp_path / "d")
    os.chmod(tmp_path / "d", 0o700)
    assert w.events() == [("CHMOD", ".")]
    os.rename(tmp_path / "d", tmp_path / "e")
    assert w.events() == [("RENAME", ".")]
    (tmp_path / "e" / "f").touch()
    assert w.events() == []  # the watch is of the path


def test_moves_across_the_border(agent, tmp_path, watch):
    (tmp_path / "in").mkdir()
    (tmp_path / "out" / "d" / "e").mkdir(parents=True)
    (tmp_path / "out" / "d" / "e" / "f").touch()
    w = watch(tmp_path / "in", recursive=True)
    sh("mv out/d in/d", tmp_path)
    assert w.events() == names_of("CREATE", "d", "d/e", "d/e/f")
    sh("echo 1 >>in/d/e/f; mv in/d out/d; echo 2 >>out/d/e/f; touch out/d/new", tmp_path)
    assert w.events() == [("WRITE", "d/e/f"), ("RENAME", "d")]


def test_not_recursive(agent, tmp_path, watch):
    (tmp_path / "d").mkdir()
    w = watch(tmp_path)
    sh("echo 1 >d/f; mkdir new; echo 2 >new/f; chmod 700 d", tmp_path)
    assert w.events() == [("CREATE", "new"), ("CHMOD", "d")]


def test_new_directories_lose_nothing(agent, tmp_path, watch):
    w = watch(tmp_path, recursive=True)
    sh("mkdir -p a/b/c; echo 1 >a/b/c/f; ln -s .. a/up; mv a/b a/z", tmp_path)
    events = w.all()
    assert replay(events, {}) == {"a": {"z": {"c": {"f": {}}}, "up": {}}}
    sh("echo 2 >>a/z/c/f; rm -r a", tmp_path)
    events = w.all()
    assert events[0] == ("WRITE", "a/z/c/f") and events[-1] == ("REMOVE", "a")
    assert set(events[1:]) == set(names_of("REMOVE", "a/up", "a/z/c/f", "a/z/c", "a/z", "a"))


def test_through_a_link(agent, tmp_path, watch):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "l").symlink_to("d")
    w = watch(tmp_path / "l", recursive=True, includeEntry=True)
    (tmp_path / "d" / "sub" / "f").touch()
    assert w.raw()[0]["entry"]["path"] == f"{tmp_path}/l/sub/f"


def test_links_inside_are_not_entered(agent, tmp_path, watch):
    (tmp_path / "d").mkdir()
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "l").symlink_to("../d")
    w = watch(tmp_path / "w", recursive=True)
    (tmp_path / "d" / "f").touch()
    assert w.events() == []


def test_entries(agent, tmp_path, watch):
    w = watch(tmp_path, recursive=True, includeEntry=True)
    sh("mkdir d; echo 12345 >d/f; chmod 600 d/f; rm d/f", tmp_path)
    (tmp_path / "d").chmod(0o711)
    seen = w.raw()
    assert ("EVENT_TYPE_CHMOD", "d", 0o711) in [
        (e["type"], e["name"], e["entry"]["mode"]) for e in seen if e["name"] == "d"]
    for event in seen:
        if event["type"] in ("EVENT_TYPE_REMOVE", "EVENT_TYPE_RENAME"):
            assert "entry" not in event
        elif "entry" in event:  # d/f may be gone by the time of looking
            assert event["entry"]["path"] == f"{tmp_path}/{event['name']}"
    w2 = watch(tmp_path)
    (tmp_path / "x").touch()
    assert "entry" not in w2.raw()[0]


def test_names_of_any_bytes(agent, tmp_path, watch):
    w = watch(tmp_path)
    with open(os.fsencode(tmp_path) + b'/\xff"\n', "wb"):
        pass
    assert w.events() == [("CREATE", '\ufffd"\n')]


# ---- watchers ----


def test_errors(agent, tmp_path):
    (tmp_path / "f").touch()
    create = lambda **more: lambda: fs(agent, "CreateWatcher", **more)
    refused(create(path=f"{tmp_path}/no"), "not_found")
    refused(create(path=f"{tmp_path}/f"), "invalid_argument")
    refused(create(path="~x"), "invalid_argument")
    refused(create(path=str(tmp_path), recursive=1), "invalid_argument")
    for method in ("GetWatcherEvents", "RemoveWatcher"):
        refused(lambda: fs(agent, method, watcherId="w" + "x" * 20), "not_found")
        refused(lambda: fs(agent, method), "not_found")
    stream = agent.stream("WatchDir", {"path": f"{tmp_path}/no"}, service=SERVICE)
    assert list(stream) == [] and stream.end["error"]["code"] == "not_found"


def test_removed_watchers_are_gone(own_agent, tmp_path):
    fds = f"/proc/{own_agent.process.pid}/fd"
    own_agent.request("GET", "/health")
    before = len(os.listdir(fds))
    for _ in range(300):  # more than the kernel would let us have at once
        w = Watcher(own_agent, tmp_path)
        w.stop()
        refused(w.raw, "not_found")
    for _ in range(100):
        own_agent.request("GET", "/health")
        if len(os.listdir(fds)) <= before + 1:
            break
    assert len(os.listdir(fds)) <= before + 1


def test_too_many_watchers(own_agent, tmp_path):
    made = []
    message = refused(lambda: [made.append(Watcher(own_agent, tmp_path)) for _ in range(300)],
                      "resource_exhausted")
    assert message and len(made) > 50
    for w in made:
        w.stop()
    Watcher(own_agent, tmp_path).stop()


def test_watchers_do_not_disturb_each_other(agent, tmp_path, watch):
    a, b = watch(tmp_path), watch(tmp_path, recursive=True)
    (tmp_path / "x").touch()
    assert a.events() == [("CREATE", "x")]
    (tmp_path / "y").touch()
    assert b.events() == names_of("CREATE", "x", "y") and a.events() == [("CREATE", "y")]


# ---- streams ----


def open_stream(agent, path, headers=None, **options):
    stream = agent.stream("WatchDir", {"path": str(path), **options}, headers, service=SERVICE)
    assert next(stream) == {"start": {}}
    return stream


def stream_events(stream, count):
    found = []
    while len(found) < count:
        message = next(stream)
        if "keepalive" in message:
            continue
        event = message["filesystem"]
        found.append((event["type"].removeprefix("EVENT_TYPE_"), event["name"]))
    return found


def test_stream(agent, tmp_path):
    stream = open_stream(agent, tmp_path, recursive=True)
    upload(agent, str(tmp_path / "f"), b"1")
    assert stream_events(stream, 3) == [(e, "f") for e in NEW]
    (tmp_path / "d").mkdir()
    assert stream_events(stream, 1) == [("CREATE", "d")]
    (tmp_path / "d" / "g").touch()
    assert stream_events(stream, 1) == [("CREATE", "d/g")]
    stream.close()


def test_stream_deadline(agent, tmp_path):
    stream = open_stream(agent, tmp_path, {"Connect-Timeout-Ms": "200"})
    assert list(stream) == [] and stream.end["error"]["code"] == "deadline_exceeded"


def test_stream_keepalive(agent, tmp_path):
    stream = open_stream(agent, tmp_path, {"Keepalive-Ping-Interval": "1"})
    assert next(stream) == {"keepalive": {}}
    stream.close()


def test_dropped_streams_leave_nothing(own_agent, tmp_path):
    fds = f"/proc/{own_agent.process.pid}/fd"
    own_agent.request("GET", "/health")
    before = len(os.listdir(fds))
    for _ in range(40):
        open_stream(own_agent, tmp_path, recursive=True).close()
    limit = time.monotonic() + DEADLINE
    while len(os.listdir(fds)) > before + 1:
        own_agent.request("GET", "/health")
        assert time.monotonic() < limit


def test_a_stream_that_nobody_reads(own_agent, shm):
    """Memory stays bounded, and in the end everything is told."""
    root = shm / "w"
    root.mkdir()
    stream = open_stream(own_agent, root, recursive=True, includeEntry=True)
    for i in range(60_000):
        os.close(os.open(f"{root}/some-file-with-a-name-{i}", os.O_CREAT | os.O_WRONLY))
    assert peak_kib(own_agent) < 20_000
    left = {f"some-file-with-a-name-{i}" for i in range(60_000)}
    while left:
        message = next(stream)
        if "filesystem" in message:
            left.discard(message["filesystem"]["name"])
    stream.close()


# ---- the path of a watch ----


def shape(w):
    """What comes and goes; whether content is told too depends on who was faster."""
    return [e for e in w.all() if e[0] not in ("WRITE", "CHMOD")]


def test_the_root_is_deleted_and_made_again(agent, tmp_path, watch):
    root = tmp_path / "w"
    (root / "old" / "d").mkdir(parents=True)
    w = watch(root, recursive=True)
    sh("rm -r w/old; rmdir w; mkdir w w/d; touch w/d/f", tmp_path)
    events = shape(w)
    lost = events.index(("REMOVE", "."))
    assert events[:lost] == [("REMOVE", "old/d"), ("REMOVE", "old")]
    assert events[lost:] == [("REMOVE", "."), *names_of("CREATE", ".", "d", "d/f")]
    (root / "d" / "g").touch()
    assert shape(w) == [("CREATE", "d/g")]
    sh("rm -r w", tmp_path)
    assert shape(w)[-1] == ("REMOVE", ".")
    assert shape(w) == []


def test_a_root_that_is_somebodys_directory_is_deleted(agent, tmp_path, watch):
    """The kernel tells of its end when the last one leaves it; the path ends before."""
    (tmp_path / "w").mkdir()
    w = watch(tmp_path / "w")
    inside = subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=tmp_path / "w")
    sh("rmdir w; mkdir w; touch w/f", tmp_path)
    assert shape(w) == [("REMOVE", "."), *names_of("CREATE", ".", "f")]
    inside.communicate()


def test_the_root_is_moved(agent, tmp_path, watch):
    sh("mkdir w w/d; touch w/d/f", tmp_path)
    w = watch(tmp_path / "w", recursive=True)
    sh("mv w elsewhere; touch elsewhere/d/g", tmp_path)
    assert shape(w) == [("RENAME", ".")]
    sh("mkdir x; touch x/1; mv x w", tmp_path)
    assert shape(w) == names_of("CREATE", ".", "1")
    sh("mv w y; mv elsewhere w", tmp_path)
    events = shape(w)
    assert events[:2] == [("RENAME", "."), ("CREATE", ".")]
    assert sorted(events[2:]) == names_of("CREATE", "d", "d/f", "d/g")


def test_what_is_above_the_root_is_moved(agent, tmp_path, watch):
    sh("mkdir -p a/b/w; touch a/b/w/f", tmp_path)
    w = watch(tmp_path / "a" / "b" / "w")
    sh("mv a z; touch z/b/w/g", tmp_path)
    assert shape(w) == [("RENAME", ".")]
    sh("mkdir -p a/b; mkdir a/b/w; touch a/b/w/h", tmp_path)
    assert shape(w) == names_of("CREATE", ".", "h")


def test_a_link_above_the_root(agent, tmp_path, watch):
    sh("mkdir -p one/w two/w; ln -s one l; touch two/w/f", tmp_path)
    w = watch(tmp_path / "l" / "w")
    (tmp_path / "one" / "w" / "a").touch()
    assert shape(w) == [("CREATE", "a")]
    sh("rm -r one; ln -sfn two l", tmp_path)
    assert shape(w) == [("REMOVE", "a"), ("REMOVE", "."), *names_of("CREATE", ".", "f")]


def test_waiting_for_a_path(agent, tmp_path, watch):
    root = tmp_path / "a" / "b" / "c"
    refused(lambda: watch(root), "not_found")
    w = watch(root, recursive=True, waitForPath=True)
    assert shape(w) == []
    sh("mkdir a; touch a/noise; mkdir a/b; touch a/b/noise", tmp_path)
    assert shape(w) == []
    sh("mkdir a/b/c a/b/c/d; echo 1 >a/b/c/d/f", tmp_path)
    assert shape(w) == names_of("CREATE", ".", "d", "d/f")
    sh("echo 2 >>a/b/c/d/f", tmp_path)
    assert w.events() == [("WRITE", "d/f")]


def test_waiting_for_a_path_in_one_go(agent, tmp_path, watch):
    w = watch(tmp_path / "a" / "b" / "c", waitForPath=True)
    sh("mkdir -p x/b/c; touch x/b/c/f; mv x a", tmp_path)
    assert shape(w) == names_of("CREATE", ".", "f")
    sh("rm -r a; touch a", tmp_path)  # a file on the way is not it
    assert shape(w)[-1] == ("REMOVE", ".")
    sh("rm a; mkdir -p a/b/c", tmp_path)
    assert shape(w) == [("CREATE", ".")]


def test_waiting_behind_a_link_to_nothing(agent, tmp_path, watch):
    sh("ln -s nowhere/yet l", tmp_path)
    w = watch(tmp_path / "l", waitForPath=True)
    stream = open_stream(agent, tmp_path / "l", waitForPath=True)
    assert shape(w) == []
    sh("mkdir -p nowhere/yet", tmp_path)
    assert shape(w) == [("CREATE", ".")]
    assert stream_events(stream, 1) == [("CREATE", ".")]
    stream.close()


def test_waiting_as_a_stream(agent, tmp_path):
    """`start` comes at once, the rest when it is there."""
    stream = open_stream(agent, tmp_path / "w", waitForPath=True)
    upload(agent, str(tmp_path / "w" / "f"), b"1")
    assert stream_events(stream, 1) == [("CREATE", ".")]
    assert stream_events(stream, 1) == [("CREATE", "f")]
    stream.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_path_that_comes_and_goes(agent, shm, watch, seed):
    """The replayed model is right whenever the storm has passed, whatever the root was meanwhile."""
    choose = random.Random(seed)
    root = shm / "a" / "w"
    root.mkdir(parents=True)
    w = watch(root, recursive=True)
    model = {}
    for _ in range(60):
        action = choose.randrange(6)
        with contextlib.suppress(OSError):
            if action == 0:
                os.rename(root, shm / f"was{choose.randrange(3)}")
            elif action == 1:
                os.rename(shm / f"was{choose.randrange(3)}", root)
            elif action == 2:
                os.rename(shm / "a", shm / "b")
            elif action == 3:
                os.rename(shm / "b", shm / "a")
            elif action == 4:
                subprocess.run(["rm", "-rf", root], check=True)
            else:
                (shm / "a").mkdir(exist_ok=True)
                root.mkdir(exist_ok=True)
        if root.is_dir():
            storm(str(root), choose, 20)
        if choose.random() < 0.3:
            model = replay(shape(w), model)
    (shm / "a").mkdir(exist_ok=True)
    root.mkdir(exist_ok=True)
    storm(str(root), choose, 100)
    model = replay(shape(w), model)
    assert model == tree_of(root)


def test_a_dead_agents_watcher_is_told_of(tmp_path):
    agent, other = Agent(str(tmp_path), CONFIG), None
    try:
        w = Watcher(agent, tmp_path)
        agent.stop()
        os.unlink(agent.socket)
        other = w.agent = Agent(str(tmp_path), CONFIG)
        assert "was replaced" in refused(w.raw, "not_found")
    finally:
        (other or agent).stop()


# ---- nothing is lost ----


def replay(events, model):
    """What a client would believe: the rule of watch.h, that RENAME covers everything below. The model
    is a tree of dictionaries."""
    for kind, name in events:
        if name == "." and kind in ("REMOVE", "RENAME", "CREATE"):
            model.clear()
            continue
        *above, last = name.split("/")
        at = model
        for step in above:
            at = at.get(step, {})
        if kind == "CREATE":
            at[last] = {}
        elif kind in ("REMOVE", "RENAME"):
            at.pop(last, None)
    return model


def tree_of(root):
    return {e.name: tree_of(e.path) if e.is_dir(follow_symlinks=False) else {} for e in os.scandir(root)}


def storm(root, choose, steps):
    """Creates, writes, renames, moves of subtrees and deletes, at random."""
    import shutil
    dirs = [root] + [os.path.join(b, d) for b, ds, _ in os.walk(root) for d in ds]
    for step in range(steps):
        at = choose.choice(dirs)
        if not os.path.isdir(at):
            dirs.remove(at)
            continue
        action, name = choose.random(), os.path.join(at, f"n{choose.randrange(12)}")
        with contextlib.suppress(OSError, shutil.Error):
            if action < 0.3:
                with open(name, "a") as f:
                    f.write("x")
            elif action < 0.55:
                os.makedirs(os.path.join(name, "deep", "er"))
                dirs += [name, os.path.join(name, "deep")]
                with open(os.path.join(name, "deep", "er", "file"), "w"):
                    pass
            elif action < 0.8:
                target = os.path.join(choose.choice(dirs), f"n{choose.randrange(12)}")
                if not target.startswith(name + "/"):
                    os.rename(name, target)
                    dirs.append(target)
            elif os.path.isdir(name) and not os.path.islink(name):
                shutil.rmtree(name)
            else:
                os.unlink(name)


@pytest.mark.parametrize("seed", range(8))
def test_replaying_a_storm_gives_the_tree(agent, shm, watch, seed):
    root = shm / "w"
    root.mkdir()
    choose = random.Random(seed)
    storm(str(root), choose, 200)
    model = tree_of(root)
    w = watch(root, recursive=True)
    for _ in range(20):
        storm(str(root), choose, 300)
        if choose.random() < 0.5:
            model = replay(w.events(), model)
    model = replay(w.all(), model)
    assert model == tree_of(root)


@pytest.mark.parametrize("seed", range(4))
def test_an_overflow_becomes_a_rescan(own_agent, shm, seed):
    """The agent stands still while far more happens than the kernel keeps."""
    root = shm / "w"
    root.mkdir()
    choose = random.Random(seed)
    storm(str(root), choose, 500)
    (root / "untouched").write_text("1")
    (root / "written").write_text("1")
    (root / "touched").write_text("1")
    model = tree_of(root)
    w = Watcher(own_agent, root, recursive=True)
    settle = time.monotonic() + 0.1
    while time.monotonic() < settle:
        assert w.events() == []
    os.kill(own_agent.process.pid, signal.SIGSTOP)
    for i in range(20_000):
        os.close(os.open(f"{root}/f{i}", os.O_CREAT | os.O_WRONLY))
    storm(str(root), choose, 3000)
    for i in range(0, 20_000, 2):
        os.unlink(f"{root}/f{i}")
    (root / "written").write_text("2")
    (root / "touched").chmod(0o600)
    os.kill(own_agent.process.pid, signal.SIGCONT)
    answer = fs(own_agent, "GetWatcherEvents", watcherId=w.id)
    assert answer["rescans"] >= 1  # the client is told
    events = [(e["type"].removeprefix("EVENT_TYPE_"), e["name"]) for e in answer["events"]] + w.all()
    assert replay(events, model) == tree_of(root)
    assert ("WRITE", "written") in events and ("CHMOD", "touched") in events
    assert not [e for e in events if e[1] == "untouched"]
    (root / "afterwards").touch()
    assert w.events() == [("CREATE", "afterwards")]


def test_a_large_tree(agent, shm, watch):
    root = shm / "w"
    for i in range(40):
        for j in range(50):
            (root / str(i) / str(j)).mkdir(parents=True)
    w = watch(root, recursive=True)
    (root / "39" / "49" / "f").touch()
    assert w.events() == [("CREATE", "39/49/f")]
    os.rename(root, shm / "elsewhere")
    assert w.events() == [("RENAME", ".")]


@pytest.fixture
def limited_agent(tmp_path, monkeypatch):
    """In a user namespace of its own, whose limit is not everybody's."""
    script = tmp_path / "driver"
    script.write_text("#!/bin/sh\nexec unshare -U -r sh -c 'echo 1500 >/proc/sys/user/max_inotify_watches"
                      f" && exec {os.environ['AGENT_DRIVER']} \"$@\"' sh \"$@\"\n")
    script.chmod(0o755)
    if subprocess.run(["unshare", "-U", "-r", "true"], check=False).returncode:
        pytest.skip("no user namespaces")
    monkeypatch.setenv("AGENT_DRIVER", str(script))
    agent = Agent(str(tmp_path), CONFIG)
    yield agent
    agent.stop()


def test_the_limit_of_watches_is_told(limited_agent, shm):
    """Where nothing can be watched."""
    for i in range(2000):
        (shm / str(i)).mkdir()
    w = Watcher(limited_agent, shm, recursive=True)  # takes all
    (shm / "0" / "small").mkdir()
    refused(lambda: Watcher(limited_agent, shm / "0" / "small"), "resource_exhausted")
    stream = limited_agent.stream("WatchDir", {"path": f"{shm}/0/small"}, service=SERVICE)
    assert list(stream) == [] and "max_user_watches" in stream.end["error"]["message"]
    w.stop()


def test_beyond_the_limit_of_watches_trees_are_read(limited_agent, shm):
    """Polled watchers read when they are asked, streams now and then; both tell of it."""
    for i in range(2000):
        (shm / str(i) / "deep").mkdir(parents=True)
        (shm / str(i) / "old").touch()
    model = tree_of(shm)
    w = Watcher(limited_agent, shm, recursive=True)
    w.all()
    for i in range(0, 2000, 7):
        (shm / str(i) / "deep" / "new").touch()
        (shm / str(i) / "old").unlink()
    answer = fs(limited_agent, "GetWatcherEvents", watcherId=w.id)
    assert answer["rescans"] == 1
    events = [(e["type"].removeprefix("EVENT_TYPE_"), e["name"]) for e in answer["events"]] + w.all()
    assert replay(events, model) == tree_of(shm)
    w.stop()
    stream = limited_agent.stream("WatchDir", {"path": str(shm), "recursive": True}, service=SERVICE)
    limit = time.monotonic() + DEADLINE
    while (first := next(stream, None)) is None:  # the kernel takes a while to give back the watches
        assert time.monotonic() < limit
        stream = limited_agent.stream("WatchDir", {"path": str(shm), "recursive": True}, service=SERVICE)
    assert first == {"start": {}}
    for i in range(0, 2000, 7):
        (shm / str(i) / "deep" / "new").unlink()
    left = {f"{i}/deep/new" for i in range(0, 2000, 7)}
    told = False
    while left or not told:
        message = next(stream)
        told |= message.get("rescan") == {"reason": "RESCAN_REASON_WATCH_LIMIT"}
        left.discard(message.get("filesystem", {}).get("name"))
    stream.close()


def test_an_event_comes_by_itself(agent, tmp_path):
    """One at a time: none waits for the next one. How fast they are is for bench/."""
    stream = open_stream(agent, tmp_path)
    for i in range(200):
        (tmp_path / str(i)).touch()
        assert stream_events(stream, 1) == [("CREATE", str(i))]
    stream.close()
