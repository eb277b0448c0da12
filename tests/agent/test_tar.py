# SPDX-License-Identifier: Apache-2.0
"""Directories as tar streams (docs/wire.md), with Python's tarfile and GNU tar on the other side, and
archives that mean harm."""
import contextlib
import gzip
import io
import os
import random
import socket
import subprocess
import tarfile
import threading
import time

import pytest
from conftest import CONFIG, DEADLINE, Agent
from files import answer, peak_kib, snapshot, url
from test_torn import Supervised

TAR = {"Content-Type": "application/x-tar"}
NOBODY = 65534


def tar_url(path, **query):
    return url(str(path), **query).replace("/files", "/files/tar", 1)


def put(agent, path, data, headers=None, **query):
    return answer(*agent.request("POST", tar_url(path, **query), data, {**TAR, **(headers or {})}))


def get(agent, path, headers=None):
    response, body = agent.request("GET", tar_url(path), None, headers)
    assert response.status == 200, body
    return body


def archive(*members, **options):
    """Of (name, content or None for a directory, changes) or ready TarInfos."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as tar:
        for name, data, *changes in members:
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.mode = 0o755 if data is None else 0o644
            info.size = len(data or b"")
            for change in changes:
                for key, value in change.items():
                    setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    return (name, b"", {"type": kind, "linkname": target})


def names_in(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def heads_in(data):
    """What is kept of each entry: of files the time, too."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(m.name, m.type, m.mode, m.uid, m.gid, m.size, m.linkname, m.mtime if m.isreg() else 0)
                for m in tar]


# ---- down ----


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "d" / "empty").mkdir(parents=True)
    (root / "d" / "f").write_bytes(b"content")
    (root / "large").write_bytes(random.Random(1).randbytes(1_234_567))
    (root / "none").touch()
    (root / "d" / "l").symlink_to("../none")
    (root / "broken").symlink_to("/nowhere/" + "x" * 150)
    (root / ("long" * 60)).write_text("1")
    deep = root / ("n" * 90) / ("m" * 90) / ("o" * 90)
    deep.mkdir(parents=True)
    (deep / ("p" * 200)).write_text("2")
    (root / "ünï 漢字\n").write_text("3")
    with open(os.fsencode(root) + b"/\xff\x80", "w") as f:
        f.write("4")
    (root / "x").write_text("5")
    os.chown(root / "x", 12, 34)  # takes setuid away
    (root / "x").chmod(0o4750)
    os.utime(root / "x", (1, 1_600_000_000))
    return root


def test_download(agent, tree, tmp_path):
    data = get(agent, tree)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xpf", "-", "-C", tmp_path / "out"], input=data, check=True)
    assert snapshot(tmp_path / "out") == snapshot(tree)
    st = os.stat(tmp_path / "out" / "x")
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid, st.st_mtime) == (0o4750, 12, 34, 1_600_000_000)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {os.path.normpath(n) for n in tar.getnames()} == {".", *snapshot(tree)}


def test_download_gzip(agent, tree):
    response, body = agent.request("GET", tar_url(tree), None, {"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Content-Type"] == "application/x-tar"
    assert gzip.decompress(body) == get(agent, tree)


def test_download_leaves_out_what_is_no_file(agent, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "device", 0o600 | 0o020000, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
        (tmp_path / "f").touch()
        assert names_in(get(agent, tmp_path)) == [".", "f"]


def test_download_does_not_enter_proc(agent, tmp_path):
    (tmp_path / "p").mkdir()
    if subprocess.run(["mount", "-t", "proc", "proc", tmp_path / "p"], check=False).returncode:
        pytest.skip("cannot mount")
    try:
        assert names_in(get(agent, tmp_path)) == [".", "p"]
    finally:
        subprocess.run(["umount", tmp_path / "p"], check=True)


def test_download_errors(agent, tmp_path):
    (tmp_path / "f").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path, status in [("missing", 404), ("f", 400), ("loop", 400)]:
        response, body = agent.request("GET", tar_url(tmp_path / path))
        assert answer(response, body)[0] == status
    assert agent.request("GET", "/files/tar")[0].status == 400
    assert agent.request("GET", tar_url(tmp_path, username="nobody-there"))[0].status == 401
    assert agent.request("GET", tar_url(tmp_path), None, {"Accept-Encoding": "identity;q=0"})[0].status == 406


def test_download_of_a_file_that_shrinks_is_cut(agent, tmp_path):
    with open(tmp_path / "f", "wb") as f:
        f.truncate(300_000_000)
    connection = agent.connect()
    connection.request("GET", tar_url(tmp_path))
    response = connection.getresponse()
    response.read(1_000_000)
    os.truncate(tmp_path / "f", 10)
    with pytest.raises(Exception):
        while response.read(1 << 20):
            pass


def test_download_while_it_changes(agent, tmp_path):
    """Names come and go, directories become links to a place that is not meant."""
    root, secret = tmp_path / "w", tmp_path / "secret"
    (root / "d").mkdir(parents=True)
    secret.mkdir()
    (secret / "key").write_text("secret")
    for i in range(300):
        (root / "d" / f"f{i}").write_text("x")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            os.rename(root / "d", root / "e")
            os.symlink(secret, root / "d")
            os.unlink(root / "d")
            os.rename(root / "e", root / "d")
            with contextlib.suppress(OSError):
                os.unlink(root / "d" / "f7")
                os.symlink(secret / "key", root / "d" / "f7")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(25):
            data = get(agent, root)
            assert b"secret/key" in data or b"secret" not in data or b"/secret" in data
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    if member.isreg():
                        assert tar.extractfile(member).read() == b"x", member.name
    finally:
        stop.set()
        swapper.join()


def test_download_memory_is_flat(own_agent, tmp_path):
    with open(tmp_path / "large", "wb") as f:
        f.truncate(200_000_000)
    for i in range(3000):
        (tmp_path / f"a rather long name of a small file {i}").touch()
    connection = own_agent.connect()
    connection.request("GET", tar_url(tmp_path))
    response, total = connection.getresponse(), 0
    while piece := response.read(1 << 20):
        total += len(piece)
    assert total > 200_000_000
    assert peak_kib(own_agent) < 30_000


# ---- up ----


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("there", [False, True])
def test_upload(agent, tmp_path, form, there):
    target = tmp_path / "a" / "b"
    if there:
        target.mkdir(parents=True)
        (target / "kept").write_text("kept")
    long = "n" * 90 + "/" + "m" * 90
    members = [("d", None), ("d/f", b"content", {"mode": 0o600}), ("x", b"y" * 70_000, {"mode": 0o755}),
               ("empty", b""), (long, b"1"), link("l", "d/f"), link("h", "x", tarfile.LNKTYPE)]
    if form != tarfile.USTAR_FORMAT:
        members += [("ünï/" + "o" * 200 + "/" + "p" * 200, b"2"), link("far", "z" * 300)]
    body = archive(*members, format=form)
    status, got = put(agent, target, body, username="nobody")
    assert (status, got["path"], got["entries"]) == (200, str(target), len(members))
    found = snapshot(target)
    for name, data, *_ in members[:5]:
        assert found[name] == data
    assert found["l"] == "-> d/f" and found["h"] == b"y" * 70_000
    assert os.stat(target / "h").st_nlink == 2
    assert found.get("kept") == (b"kept" if there else None)
    st = os.stat(target / "d" / "f")
    assert (st.st_mode & 0o777, st.st_uid, st.st_mtime) == (0o600, NOBODY, 1_700_000_000)
    assert os.lstat(target / "l").st_uid == NOBODY
    assert not [n for n in snapshot(tmp_path) if "carrel" in n]


def test_there_and_back(agent, tree, tmp_path):
    """What is downloaded can be uploaded, any name and mode included."""
    data = get(agent, tree)
    for target in ("one", "one"):
        assert put(agent, tmp_path / target, data, username="root", preserve="true")[0] == 200
        assert snapshot(tmp_path / target) == snapshot(tree)
        st = os.stat(tmp_path / target / "x")
        assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o4750, 12, 34)
    assert heads_in(get(agent, tmp_path / "one")) == heads_in(data)


def test_of_gnu_tar(agent, tree, tmp_path):
    for form in ("gnu", "posix", "oldgnu"):
        made = subprocess.run(["tar", f"--format={form}", "-cf", "-", "-C", tree, "."], check=True,
                              capture_output=True).stdout
        assert put(agent, tmp_path / form, made)[0] == 200
        assert snapshot(tmp_path / form) == snapshot(tree)


def test_upload_gzip(agent, tmp_path):
    body = archive(("f", b"x" * 1_000_000))
    assert put(agent, tmp_path / "t", gzip.compress(body), {"Content-Encoding": "gzip"})[0] == 200
    assert (tmp_path / "t" / "f").stat().st_size == 1_000_000
    status, _ = put(agent, tmp_path / "u", gzip.compress(body)[:-5], {"Content-Encoding": "gzip"})
    assert status == 400 and not (tmp_path / "u").exists()


def test_modes(agent, tmp_path):
    body = archive(("f", b"1", {"mode": 0o6755, "uid": 5, "gid": 6}))
    put(agent, tmp_path / "plain", body, username="nobody")
    st = os.stat(tmp_path / "plain" / "f")
    assert (st.st_mode & 0o7777, st.st_uid) == (0o755, NOBODY)
    put(agent, tmp_path / "kept", body, username="root", preserve="true")
    st = os.stat(tmp_path / "kept" / "f")
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o6755, 5, 6)
    put(agent, tmp_path / "owned", body, username="root", owner="7:8")
    st = os.stat(tmp_path / "owned")
    assert (st.st_uid, st.st_gid) == (7, 8)
    assert put(agent, tmp_path / "no", body, username="nobody", preserve="true")[0] == 403
    assert not (tmp_path / "no").exists()


def test_new_tree_must_be_new(agent, tmp_path):
    body = archive(("f", b"1"))
    assert put(agent, tmp_path / "t", body, {"If-None-Match": "*"}, fsync="true")[0] == 200
    assert put(agent, tmp_path / "t", body, {"If-None-Match": "*"})[0] == 412


def test_later_entries_win(agent, tmp_path):
    body = archive(("f", b"first"), ("f", b"second"), link("l", "x"), ("l", b"file"), ("g", b"1"),
                   link("g", "f"))
    for _ in range(2):
        assert put(agent, tmp_path / "t", body)[0] == 200
        assert snapshot(tmp_path / "t") == {"f": b"second", "l": b"file", "g": "-> f"}


def test_through_a_link_to_a_directory(agent, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "l").symlink_to("real")
    assert put(agent, tmp_path / "l", archive(("f", b"1")))[0] == 200
    assert (tmp_path / "real" / "f").read_text() == "1"


@pytest.mark.parametrize("kind", ["file", "dangling", "fifo", "under a file"])
def test_targets_that_are_no_directory(agent, tmp_path, kind):
    target = tmp_path / "t"
    if kind == "fifo":
        os.mkfifo(target)
    elif kind == "dangling":
        target.symlink_to("nowhere")
    else:
        target.write_text("x")
    before = os.listdir(tmp_path)
    if kind == "under a file":
        target = target / "below"
    assert put(agent, target, archive(("f", b"1")))[0] == 400
    assert os.listdir(tmp_path) == before


def test_bad_requests(agent, tmp_path):
    body = archive(("f", b"1"))
    t = tmp_path / "t"
    for headers, query, status in [
            ({"Content-Type": "application/zip"}, {}, 400), ({"Content-Encoding": "br"}, {}, 400),
            ({}, {"preserve": "yes"}, 400), ({}, {"mode": "644"}, 400), ({"If-Match": "*"}, {}, 400),
            ({"X-Metadata-A": "1"}, {}, 400), ({"If-None-Match": '"a"'}, {}, 400),
            ({}, {"username": "nobody-there"}, 401), ({}, {"owner": "0:0", "username": "nobody"}, 403)]:
        assert put(agent, t, body, headers, **query)[0] == status
    assert answer(*agent.request("POST", "/files/tar", body, TAR))[0] == 400
    assert agent.request("PUT", tar_url(t), body, TAR)[0].status == 405
    assert os.listdir(tmp_path) == []


# ---- archives that mean harm ----


def raw_head(name, type=b"0", size=0, link=b"", magic=b"ustar\x0000", fill=b""):
    """A header block byte by byte."""
    head = bytearray(512)
    head[0:len(name)] = name
    head[100:108] = b"0000644\0"
    head[108:116] = head[116:124] = b"0000000\0"
    head[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    head[136:148] = b"00000000000\0"
    head[156:157] = type
    head[157:157 + len(link)] = link
    head[257:257 + len(magic)] = magic
    head[345:345 + len(fill)] = fill
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def pad(data):
    return data + bytes(-len(data) % 512)


def pax(records, type=b"x"):
    return raw_head(b"pax", type, len(records)) + pad(records)


def record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    n = len(body)
    while len(b"%d" % n) + len(body) != n:
        n = len(b"%d" % n) + len(body)
    return b"%d" % n + body


END = bytes(1024)
HARM = {
    "absolute": archive(("/etc/evil", b"1")),
    "absolute link": archive(link("l", "/etc"), ("l/evil", b"1")),
    "above": archive(("../evil", b"1")),
    "above within": archive(("a/../../evil", b"1")),
    "only dots": archive(("..", None)),
    "through a link": archive(link("l", ".."), ("l/evil", b"1")),
    "through its own link": archive(("d", None), link("d/l", "/tmp"), ("d/l/evil", b"1")),
    "hard link to a link": archive(link("l", "/etc/passwd"), link("h", "l", tarfile.LNKTYPE)),
    "hard link out": archive(link("h", "../outside", tarfile.LNKTYPE)),
    "absolute hard link": archive(link("h", "/etc/passwd", tarfile.LNKTYPE)),
    "hard link through a link": archive(link("l", "/etc"), link("h", "l/passwd", tarfile.LNKTYPE)),
    "hard link to a directory": archive(("d", None), link("h", "d", tarfile.LNKTYPE)),
    "hard link to nothing": archive(link("h", "missing", tarfile.LNKTYPE)),
    "device": archive(("n", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5})),
    "block device": archive(("n", b"", {"type": tarfile.BLKTYPE})),
    "fifo": archive(("n", b"", {"type": tarfile.FIFOTYPE})),
    "under a file": archive(("f", b"1"), ("f/g", b"1")),
    "file over a directory": archive(("d", None), ("d", b"1")),
    "a name of ours": archive((".carrel-upload-0123456789abcdef", b"1")),
    "long component": pax(record(b"path", b"n" * 300)) + raw_head(b"x") + END,
    "long path": pax(record(b"path", b"n/" * 40_000 + b"f")) + raw_head(b"x") + END,
    "long pax": pax(record(b"comment", b"x" * 300_000)) + raw_head(b"x") + END,
    "huge pax": raw_head(b"pax", b"x", 1 << 30) + bytes(4096),
    "NUL in pax": pax(record(b"path", b"a\0b")) + raw_head(b"x") + END,
    "empty path": pax(record(b"path", b"")) + raw_head(b"x") + END,
    "no path": raw_head(b"") + END,
    "bad pax": pax(b"99 path=x\n") + raw_head(b"x") + END,
    "bad pax length": pax(b"path=x\n") + raw_head(b"x") + END,
    "short pax length": pax(b"3 a=b\n") + raw_head(b"x") + END,
    "negative size": pax(record(b"size", b"-1")) + raw_head(b"x") + END,
    "size beyond all": pax(record(b"size", b"9" * 30)) + raw_head(b"x") + END,
    "global path": pax(record(b"path", b"evil"), b"g") + raw_head(b"x") + END,
    "sparse": raw_head(b"s", b"S") + END,
    "pax sparse": pax(record(b"GNU.sparse.major", b"1")) + raw_head(b"x") + END,
    "volume": raw_head(b"v", b"V") + END,
    "unknown type": raw_head(b"v", b"\x01") + END,
    "link with content": raw_head(b"l", b"2", 5, b"x") + pad(b"12345") + END,
    "huge binary size": raw_head(b"f", b"0", b"\xff" * 12) + END,
    "size of letters": raw_head(b"f", b"0", b"abc        \0") + END,
    "wrong checksum": raw_head(b"f")[:200] + b"x" + raw_head(b"f")[201:] + END,
    "no tar": b"this is no tar at all" * 100,
    "empty": b"",
    "cut in a head": archive(("f", b"1"))[:300],
    "cut in content": archive(("f", b"1" * 5000))[:3000],
    "no end": archive(("f", b"1"))[:1024],
    "entry behind the end": bytes(512) + raw_head(b"x") + END,
}


@pytest.mark.parametrize("name", HARM)
@pytest.mark.parametrize("there", [False, True])
def test_harm(agent, tmp_path, name, there):
    (tmp_path / "outside").write_text("untouched")
    box = tmp_path / "box"
    box.mkdir()
    target = box / "t"
    if there:
        target.mkdir()
        (target / "kept").write_text("kept")
    status, body = put(agent, target, HARM[name])
    assert status == 400, body
    assert sorted(os.listdir(tmp_path)) == ["box", "outside"]
    assert (tmp_path / "outside").read_text() == "untouched"
    if there:  # what was complete before stays
        assert not [n for n in snapshot(box) if "carrel" in n or "evil" in n]
        assert (target / "kept").read_text() == "kept"
    else:
        assert os.listdir(box) == []
    assert not os.path.exists("/etc/evil") and not os.path.exists("/tmp/evil")


def test_links_that_are_there_are_not_followed(agent, tmp_path):
    """The tree belongs to somebody who expects the upload."""
    target, outside = tmp_path / "t", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (outside / "f").write_text("untouched")
    (target / "d").symlink_to("../outside")
    (target / "f").symlink_to("../outside/f")
    assert put(agent, target, archive(("d/f", b"evil")))[0] == 400
    assert put(agent, target, archive(("f", b"new")))[0] == 200
    assert (outside / "f").read_text() == "untouched" and os.listdir(outside) == ["f"]
    assert (target / "f").read_text() == "new" and not (target / "f").is_symlink()


def test_a_tree_that_is_changed_while_it_is_filled(agent, tmp_path):
    """Directories become links to a place that must stay as it is."""
    target, outside = tmp_path / "t", tmp_path / "outside"
    outside.mkdir()
    (target / "d").mkdir(parents=True)
    members = [m for i in range(80) for m in (("d/f%d" % i, b"x"), ("e/g%d" % i, b"x"),
                                               link("d/l%d" % i, "f"))]
    body = archive(*members)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                os.rename(target / "d", target / "x")
                os.symlink(outside, target / "d")
                os.unlink(target / "d")
                os.rename(target / "x", target / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(6):
            assert put(agent, target, body, username="nobody")[0] in (200, 400, 500)
            assert os.listdir(outside) == [] and os.stat(outside).st_uid == 0
    finally:
        stop.set()
        swapper.join()


def test_a_full_disk(agent, tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=True)
    try:
        body = archive(*[(f"d/{i}", b"x" * 100_000) for i in range(40)])
        status, got = put(agent, tmp_path / "t", body)
        assert status == 507 and "not enough disk space" in got["message"]
        assert os.listdir(tmp_path) == []
        bomb = gzip.compress(archive(("f", bytes(50_000_000))))
        assert put(agent, tmp_path / "t", bomb, {"Content-Encoding": "gzip"})[0] == 507
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# ---- whole or not at all ----


def wait_until(check):
    limit = time.monotonic() + DEADLINE
    while not check():
        assert time.monotonic() < limit


def raw_post(agent, target, body):
    return (f"POST {tar_url(target)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


@pytest.mark.parametrize("seed", range(3))
def test_cut_uploads(own_agent, tmp_path, seed):
    choose = random.Random(seed)
    root = tmp_path / "w"
    root.mkdir()
    for i in range(60):
        body = archive(*[(f"{choose.randrange(5)}/{j}", choose.randbytes(choose.randrange(9000)))
                         for j in range(30)])
        request = raw_post(own_agent, root / "far" / f"t{i}", body)
        connection = own_agent.connect()
        connection.connect()
        # what follows the archive's end is not needed for it: leave that out
        connection.sock.sendall(request[:choose.randrange(1, len(request) - 11_000)])
        connection.close()
        del connection
    wait_until(lambda: own_agent.request("GET", "/health")[0].status == 204 and os.listdir(root) == [])


def test_killed_agents(tmp_path):
    """A tree that was being made is swept by the next agent."""
    (tmp_path / "agent").mkdir()
    root = tmp_path / "w"
    (root / "there").mkdir(parents=True)
    agent = Supervised(str(tmp_path / "agent"))
    try:
        for target in (root / "new", root / "there"):
            body = archive(*[(f"d{j}/f", b"x" * 50_000) for j in range(40)])
            agent.wait_ready()
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(agent.socket)
                s.sendall(raw_post(agent, target, body)[:1_000_000])
                wait_until(lambda: any("f" in n for n in snapshot(root)))
                agent.kill_agent()
            agent.wait_ready()
            assert not [n for n in snapshot(root) if "carrel" in n]
        assert not (root / "new").exists()
        for name, data in snapshot(root / "there").items():
            assert data is None or data == b"x" * 50_000, name
    finally:
        agent.stop()


def test_a_target_that_appears_meanwhile(agent, tmp_path):
    body = archive(*[(f"f{j}", b"x" * 50_000) for j in range(40)])
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(agent.socket)
        s.settimeout(DEADLINE)
        request = raw_post(agent, tmp_path / "t", body)
        s.sendall(request[:1_000_000])
        wait_until(lambda: os.listdir(tmp_path))
        (tmp_path / "t").mkdir()
        s.sendall(request[1_000_000:])
        assert s.recv(100).startswith(b"HTTP/1.1 409")
    wait_until(lambda: snapshot(tmp_path) == {"t": None})


def test_what_is_not_complete_is_closed_to_others(agent, tmp_path):
    body = archive(*[(f"f{j}", b"x" * 50_000) for j in range(40)])
    os.chown(tmp_path, NOBODY, NOBODY)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(agent.socket)
        s.sendall(raw_post(agent, tmp_path / "t", body)[:1_000_000])
        wait_until(lambda: os.listdir(tmp_path))
        st = os.stat(tmp_path / os.listdir(tmp_path)[0])
        assert (st.st_uid, st.st_mode & 0o777) == (0, 0o700)
    wait_until(lambda: os.listdir(tmp_path) == [])


def test_many_at_once(tmp_path):
    (tmp_path / "agent").mkdir()
    agent = Agent(str(tmp_path / "agent"), CONFIG)
    try:
        body = archive(*[(f"{j % 7}/{j}", b"%d" % j) for j in range(70)])
        results = []
        threads = [threading.Thread(target=lambda i=i: results.append(
            put(agent, tmp_path / "t" / str(i % 4), body)[0])) for i in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert set(results) <= {200, 409}
        for i in range(4):
            assert len(snapshot(tmp_path / "t" / str(i))) == 77
    finally:
        agent.stop()
