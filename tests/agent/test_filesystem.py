# SPDX-License-Identifier: Apache-2.0
"""filesystem.Stat, ListDir, MakeDir, Move, Remove and POST /files/compose (protocol.md 5.5 to 5.8)."""
import datetime
import grp
import json
import os
import pwd
import random
import socket
import stat
import subprocess
import threading
import time

import pytest
from conftest import RpcError, basic, refused
from files import answer, fs, peak_kib, snapshot, upload

FILE, DIRECTORY = "FILE_TYPE_FILE", "FILE_TYPE_DIRECTORY"
NOBODY = 65534


def look(agent, path, **more):
    return fs(agent, "Stat", path=str(path), **more)["entry"]


def names(agent, path, depth=1):
    root = str(path).rstrip("/") + "/"
    entries = fs(agent, "ListDir", path=str(path), depth=depth).get("entries", [])
    assert all(e["path"].startswith(root) and e["name"] == e["path"].rsplit("/", 1)[1] for e in entries)
    return [e["path"][len(root):] for e in entries]


# ---- Stat ----


def test_stat_of_a_file(agent, tmp_path):
    target = tmp_path / "a.txt"
    target.write_bytes(b"12345")
    target.chmod(0o640)
    os.chown(target, 1, 2)
    os.utime(target, ns=(0, 1_700_000_000_123_456_789))
    assert look(agent, target) == {
        "name": "a.txt", "type": FILE, "path": str(target), "size": "5", "mode": 0o640,
        "permissions": "-rw-r-----", "owner": pwd.getpwuid(1).pw_name,
        "group": grp.getgrgid(2).gr_name, "modifiedTime": "2023-11-14T22:13:20.123456789Z"}


@pytest.mark.parametrize("ns,text", [
    (0, "1970-01-01T00:00:00Z"), (1_500_000_000, "1970-01-01T00:00:01.500Z"),
    (1_000_001_000, "1970-01-01T00:00:01.000001Z"), (-1_000_000_000, "1969-12-31T23:59:59Z"),
])
def test_times(agent, tmp_path, ns, text):
    (tmp_path / "f").touch()
    os.utime(tmp_path / "f", ns=(0, ns))
    assert look(agent, tmp_path / "f")["modifiedTime"] == text


def test_zero_values_are_left_out(agent, tmp_path):
    (tmp_path / "f").touch()
    (tmp_path / "f").chmod(0)
    assert set(look(agent, tmp_path / "f")) == {
        "name", "type", "path", "permissions", "owner", "group", "modifiedTime"}


@pytest.mark.parametrize("mode,text", [
    (0o000, "----------"), (0o777, "-rwxrwxrwx"), (0o4755, "urwxr-xr-x"), (0o2755, "grwxr-xr-x"),
    (0o7777, "ugtrwxrwxrwx"), (0o124, "---x-w-r--"),
])
def test_permissions(agent, tmp_path, mode, text):
    (tmp_path / "f").touch()
    (tmp_path / "f").chmod(mode)
    entry = look(agent, tmp_path / "f")
    assert entry["permissions"] == text and entry.get("mode", 0) == mode & 0o777


def test_other_kinds(agent, tmp_path):
    (tmp_path / "d").mkdir(mode=0o755)
    (tmp_path / "d").chmod(0o1777)
    entry = look(agent, tmp_path / "d")
    assert (entry["type"], entry["permissions"]) == (DIRECTORY, "dtrwxrwxrwx")
    os.mkfifo(tmp_path / "p", 0o644)
    os.mknod(tmp_path / "c", stat.S_IFCHR | 0o644, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
    for name, text in (("p", "prw-r--r--"), ("c", "Dcrw-r--r--"), ("s", "Srwxr-xr-x")):
        entry = look(agent, tmp_path / name)
        assert "type" not in entry and entry["permissions"] == text


def test_unknown_owner(agent, tmp_path):
    (tmp_path / "f").touch()
    os.chown(tmp_path / "f", 3_000_000_001, 3_000_000_002)
    entry = look(agent, tmp_path / "f")
    assert (entry["owner"], entry["group"]) == ("3000000001", "3000000002")


def test_symlinks(agent, tmp_path):
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "dir" / "sub" / "f").write_bytes(b"12345")
    (tmp_path / "way").symlink_to("dir")
    (tmp_path / "l").symlink_to("way/sub/f")
    (tmp_path / "dir" / "sub" / "f").chmod(0o600)
    entry = look(agent, tmp_path / "l")
    assert (entry["type"], entry["mode"], entry["size"]) == (FILE, 0o600, "9")
    assert entry["permissions"] == "Lrwxrwxrwx"
    assert entry["symlinkTarget"] == f"{tmp_path}/dir/sub/f"
    entry = look(agent, tmp_path / "way")
    assert (entry["type"], entry["symlinkTarget"]) == (DIRECTORY, f"{tmp_path}/dir")
    assert "symlinkTarget" not in look(agent, tmp_path / "way" / "sub")


def test_broken_symlinks(agent, tmp_path):
    for name, text in (("a", "nowhere"), ("b", "b")):
        (tmp_path / name).symlink_to(text)
        entry = look(agent, tmp_path / name)
        assert "type" not in entry and "mode" not in entry
        assert entry["symlinkTarget"] == f"{tmp_path}/{name}"


def test_metadata_set_inside(agent, tmp_path):
    target = tmp_path / "f"
    target.touch()
    for name, value in (("user.e2b.k", b"v"), ("user.e2b.u", "ü".encode()), ("user.e2b.bad", b"\xff"),
                        ("user.other", b"x"), ("user.e2b.empty", b"")):
        os.setxattr(target, name, value)
    assert look(agent, target)["metadata"] == {"k": "v", "u": "ü", "empty": ""}
    fs(agent, "Move", source=str(target), destination=str(tmp_path / "g"))
    assert look(agent, tmp_path / "g")["metadata"]["k"] == "v"
    upload(agent, str(tmp_path / "g"), b"new")
    assert "metadata" not in look(agent, tmp_path / "g")


def test_stat_errors(agent, tmp_path):
    (tmp_path / "f").touch()
    assert "file not found" in refused(lambda: look(agent, tmp_path / "no"), "not_found")
    refused(lambda: look(agent, tmp_path / "f" / "x"), "not_found")
    refused(lambda: look(agent, "~other"), "invalid_argument")
    refused(lambda: look(agent, f"{tmp_path}/" + "x" * 256), "invalid_argument")
    refused(lambda: look(agent, "/" + "x/" * 9000), "invalid_argument")
    refused(lambda: fs(agent, "Stat", path=5), "invalid_argument")
    refused(lambda: fs(agent, "Stat", path="a\0b"), "invalid_argument")
    refused(lambda: fs(agent, "Stat", headers=basic("nobody-here"), path="/"), "unauthenticated")


def test_paths(agent):
    assert look(agent, "")["path"] == "/tmp"  # the default workdir
    assert look(agent, "~")["path"] == "/root" == look(agent, "~", headers=basic("root"))["path"]
    assert look(agent, "/usr/../etc/./passwd")["path"] == "/usr/../etc/./passwd"
    assert look(agent, "/")["name"] == "/"
    assert look(agent, "..")["path"] == "/root/.."


# ---- ListDir ----


@pytest.fixture
def tree(tmp_path):
    for name in ("b/1/x", "b/2", "a", "c/z/z/z", "c.txt", "c-d"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
    (tmp_path / "link").symlink_to("b")
    return tmp_path


def test_list_order_and_depth(agent, tree):
    assert names(agent, tree, 0) == names(agent, tree) == ["a", "b", "c", "c-d", "c.txt", "link"]
    assert names(agent, tree, 2) == ["a", "b", "b/1", "b/2", "c", "c/z", "c-d", "c.txt", "link"]
    everything = ["a", "b", "b/1", "b/1/x", "b/2", "c", "c/z", "c/z/z", "c/z/z/z", "c-d", "c.txt", "link"]
    assert names(agent, tree, 4) == everything == names(agent, tree, 4294967295)


def test_list_through_a_link(agent, tree):
    assert names(agent, tree / "link", 9) == ["1", "1/x", "2"]


def test_list_of_an_empty_directory(agent, tmp_path):
    assert fs(agent, "ListDir", path=str(tmp_path), depth=3) == {}


def test_list_errors(agent, tree):
    refused(lambda: names(agent, tree / "no"), "not_found")
    refused(lambda: names(agent, tree / "a"), "invalid_argument")
    (tree / "loop").symlink_to("loop")
    refused(lambda: names(agent, tree / "loop"), "failed_precondition")
    refused(lambda: fs(agent, "ListDir", path="/", depth=-1), "invalid_argument")
    refused(lambda: fs(agent, "ListDir", path="/", depth=1 << 32), "invalid_argument")


def test_list_of_any_bytes(agent, tmp_path):
    raw = os.fsencode(tmp_path)
    for name in (b"\xff", b"a\xc3", b"tab\t", b'"\\', b"\n", b"\x01", "ä".encode(), b"\xed\xa0\x80"):
        with open(raw + b"/" + name, "wb"):
            pass
    assert sorted(names(agent, tmp_path)) == sorted(
        ["\ufffd", "a\ufffd", "tab\t", '"\\', "\n", "\x01", "ä", "\ufffd" * 3])


@pytest.mark.parametrize("count", [255, 256, 257, 5000])
def test_list_of_many(agent, tmp_path, count):
    for i in range(count):
        (tmp_path / f"f{i}").touch()
    assert names(agent, tmp_path) == sorted(os.listdir(tmp_path))


def test_list_of_a_deep_tree(agent, tmp_path):
    depth = 400
    fd = os.open(tmp_path, os.O_RDONLY)
    for i in range(depth):
        os.mkdir("directory-name-12", dir_fd=fd)
        open(os.open("~file", os.O_CREAT, dir_fd=fd), "rb").close()
        below = os.open("directory-name-12", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    found = names(agent, tmp_path, 1000)
    assert len(found) == 2 * depth
    assert found[:depth] == ["/".join(["directory-name-12"] * i) for i in range(1, depth + 1)]
    assert found[-1] == "~file"
    fs(agent, "Remove", path=str(tmp_path / "directory-name-12"))
    assert os.listdir(tmp_path) == ["~file"]


def test_list_while_it_changes(agent, tmp_path):
    """Entries vanish and directories become links while they are listed: no error, no stray names."""
    for i in range(60):
        (tmp_path / f"d{i}").mkdir()
        for j in range(20):
            (tmp_path / f"d{i}" / str(j)).touch()
    stop = threading.Event()

    def churn():
        choose = random.Random(5)
        while not stop.is_set():
            d = tmp_path / f"d{choose.randrange(60)}"
            try:
                d.rename(f"{d}.away")
                d.symlink_to("/etc")
                d.unlink()
                os.rename(f"{d}.away", d)
            except OSError:
                pass

    churner = threading.Thread(target=churn)
    churner.start()
    try:
        for _ in range(60):
            found = names(agent, tmp_path, 3)
            assert not any("passwd" in n for n in found) and len(found) > 800
    finally:
        stop.set()
        churner.join()


def test_list_is_bounded_in_memory(own_agent, tmp_path):
    tmp_path = tmp_path / "tree"  # the agent's socket is beside it
    for d in range(30):
        (tmp_path / str(d)).mkdir(parents=True)
        for i in range(500):
            os.close(os.open(f"{tmp_path}/{d}/some-file-name-{i}", os.O_CREAT | os.O_WRONLY))
    connection = own_agent.connect()
    body = json.dumps({"path": str(tmp_path), "depth": 2})
    connection.request("POST", "/filesystem.Filesystem/ListDir", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    entries = json.loads(response.read())["entries"]
    assert len(entries) == 15_030
    assert peak_kib(own_agent) < 10_000


def test_a_listing_that_is_dropped(own_agent, tree):
    for _ in range(20):
        connection = own_agent.connect()
        connection.request("POST", "/filesystem.Filesystem/ListDir", '{"path":"/usr","depth":9}',
                           {"Content-Type": "application/json"})
        connection.getresponse().read(10)
        connection.close()
    assert "a" in names(own_agent, tree)


# ---- MakeDir ----


def test_make_dir(agent, tmp_path):
    entry = fs(agent, "MakeDir", headers=basic("nobody"), path=f"{tmp_path}/a/b/c")["entry"]
    assert (entry["name"], entry["type"], entry["mode"]) == ("c", DIRECTORY, 0o755)
    for name in ("a", "a/b", "a/b/c"):
        assert os.stat(tmp_path / name).st_uid == NOBODY
    assert os.stat(tmp_path).st_uid == 0


def test_make_dir_errors(agent, tmp_path):
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    make = lambda p: lambda: fs(agent, "MakeDir", path=p)
    for path in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/link", "/"):
        refused(make(path), "already_exists")
    for path in (f"{tmp_path}/f", f"{tmp_path}/f/x", f"{tmp_path}/f/x/y", f"{tmp_path}/dangling"):
        refused(make(path), "invalid_argument")
    refused(make("~other/x"), "invalid_argument")


# ---- Move ----


def test_move(agent, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    entry = fs(agent, "Move", headers=basic("nobody"), source=f"{tmp_path}/a",
               destination=f"{tmp_path}/x/y/b")["entry"]
    assert (entry["path"], entry["size"]) == (f"{tmp_path}/x/y/b", "1")
    assert os.stat(tmp_path / "x" / "y").st_uid == NOBODY
    (tmp_path / "c").write_bytes(b"2")
    fs(agent, "Move", source=f"{tmp_path}/c", destination=f"{tmp_path}/x/y/b")
    fs(agent, "Move", source=f"{tmp_path}/x", destination=f"{tmp_path}/z")
    assert snapshot(tmp_path) == {"z": None, "z/y": None, "z/y/b": b"2"}


def test_move_errors(agent, tmp_path):
    for name in ("d/in", "e"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "f").write_bytes(b"1")
    move = lambda a, b: lambda: fs(agent, "Move", source=f"{tmp_path}/{a}", destination=f"{tmp_path}/{b}")
    refused(move("no", "new/x"), "not_found")
    refused(move("f/x", "g"), "not_found")
    for a, b in (("d", "e"), ("f", "e"), ("f", "d"), ("d", "d"), ("d", "d/in/x")):
        refused(move(a, b), "internal")
    refused(move("d", "f/x"), "invalid_argument")
    refused(lambda: fs(agent, "Move", source=f"{tmp_path}/f", destination="/dev/shm/carrel-x"), "internal")
    assert snapshot(tmp_path) == {"d": None, "d/in": None, "e": None, "f": b"1"}


# ---- Remove ----


def test_remove(agent, tmp_path):
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "f").write_bytes(b"1")
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "out").symlink_to("../keep")
    (tmp_path / "d" / "e" / "f").touch()
    (tmp_path / "l").symlink_to("keep")
    for name in ("d", "l", "missing", "missing/too", "d/"):
        assert fs(agent, "Remove", path=f"{tmp_path}/{name}") == {}
    assert snapshot(tmp_path) == {"keep": None, "keep/f": b"1"}


def test_remove_errors(agent, tmp_path):
    for path in ("/", "//", "/.", "/tmp/..", "~other"):
        refused(lambda: fs(agent, "Remove", path=path), "invalid_argument")
    (tmp_path / "f").touch()
    refused(lambda: fs(agent, "Remove", path=f"{tmp_path}/f/x"), "internal")
    (tmp_path / "d" / "mounted").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "d" / "mounted"], check=True)
    try:
        refused(lambda: fs(agent, "Remove", path=f"{tmp_path}/d"), "internal")
    finally:
        subprocess.run(["umount", tmp_path / "d" / "mounted"], check=True)


def test_remove_a_tree_wider_and_deeper_than_descriptors(agent, tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    for i in range(1500):
        for name in ("d", f"other{i}"):
            os.mkdir(name, dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(fd)
        fd = below
    os.close(fd)
    fs(agent, "Remove", path=f"{tmp_path}/d")
    assert os.listdir(tmp_path) == ["other0"]


def test_remove_never_leaves_the_tree(agent, tmp_path):
    """Directories are swapped for links to a place that must survive while they are removed."""
    precious = tmp_path / "precious"
    precious.mkdir()
    for i in range(50):
        (precious / str(i)).touch()
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for i in range(30):
                d = tmp_path / "tree" / str(i)
                try:
                    os.rename(d, f"{d}.was")
                    os.symlink(precious, d)
                except OSError:
                    pass

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(20):
            for i in range(30):
                try:
                    os.makedirs(tmp_path / "tree" / str(i) / "a" / "b", exist_ok=True)
                    (tmp_path / "tree" / str(i) / "a" / "f").touch()
                except OSError:
                    pass  # swapped meanwhile
            (precious / "a").exists() and subprocess.run(["rm", "-r", precious / "a"], check=True)
            try:
                fs(agent, "Remove", path=f"{tmp_path}/tree")
            except RpcError as error:
                assert error.code == "internal"
            subprocess.run(["rm", "-rf", tmp_path / "tree"], check=False)
    finally:
        stop.set()
        swapper.join()
    assert len(os.listdir(precious)) == 50


def test_a_long_removal_holds_up_nobody(agent, tmp_path):
    for i in range(20):
        (tmp_path / "t" / str(i)).mkdir(parents=True)
        for j in range(1000):
            os.close(os.open(f"{tmp_path}/t/{i}/{j}", os.O_CREAT | os.O_WRONLY))
    remover = threading.Thread(target=lambda: fs(agent, "Remove", path=f"{tmp_path}/t"))
    remover.start()
    slowest = 0
    while remover.is_alive():
        began = time.monotonic()
        agent.request("GET", "/health")
        slowest = max(slowest, time.monotonic() - began)
    remover.join()
    assert os.listdir(tmp_path) == [] and slowest < 0.2


# ---- compose ----


def compose(agent, **message):
    return answer(*agent.request("POST", "/files/compose", json.dumps(message),
                                 {"Content-Type": "application/json"}))


def test_compose(agent, tmp_path):
    parts = [os.urandom(1_000_000), b"", b"end"]
    for i, data in enumerate(parts):
        (tmp_path / str(i)).write_bytes(data)
    sources = [f"{tmp_path}/{i}" for i in range(3)]
    assert compose(agent, source_paths=sources, destination=f"{tmp_path}/x/all", username="nobody") == (
        200, {"name": "all", "type": "file", "path": f"{tmp_path}/x/all"})
    assert snapshot(tmp_path) == {"x": None, "x/all": b"".join(parts)}
    assert os.stat(tmp_path / "x" / "all").st_uid == NOBODY


def test_compose_into_a_source(agent, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert compose(agent, source_paths=[f"{tmp_path}/a", f"{tmp_path}/b"],
                   destination=f"{tmp_path}/./b")[0] == 200
    assert snapshot(tmp_path) == {"b": b"12"}


def test_compose_errors(agent, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "d").mkdir()
    a, to = f"{tmp_path}/a", f"{tmp_path}/to"
    for status, message in (
            (404, {"source_paths": [a, f"{tmp_path}/no"], "destination": to}),
            (400, {"source_paths": [a, f"{tmp_path}/d"], "destination": to}),
            (400, {"source_paths": [a, "/dev/zero"], "destination": to}),
            (400, {"source_paths": [a], "destination": f"{tmp_path}/d"}),
            (400, {"source_paths": [], "destination": to}), (400, {"source_paths": [a]}),
            (400, {"source_paths": a, "destination": to}), (400, {"source_paths": [1], "destination": to}),
            (400, {"source_paths": ["~x/a"], "destination": to}), (400, {}),
            (401, {"source_paths": [a], "destination": to, "username": "who"})):
        assert compose(agent, **message)[0] == status, message
    assert answer(*agent.request("POST", "/files/compose", b"{", {}))[0] == 400
    assert snapshot(tmp_path) == {"a": b"1", "d": None}
