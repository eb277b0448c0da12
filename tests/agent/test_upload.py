# SPDX-License-Identifier: Apache-2.0
"""POST /files (protocol.md 3.4): forms and plain bodies, what they do to targets, and every error."""
import gzip
import os
import random
import stat
import subprocess

import pytest
from files import FORM, OCTETS, answer, download, form, part, snapshot, upload, upload_form, url

NOBODY = 65534


def content(path):
    with open(path, "rb") as f:
        return f.read()


# ---- bodies ----


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 3, os.urandom(300_000),
                                  os.urandom(3_000_000)])
def test_octets(agent, tmp_path, data):
    target = str(tmp_path / "a.bin")
    assert upload(agent, target, data) == (
        200, [{"path": target, "name": "a.bin", "type": "file"}])
    assert content(target) == data
    assert snapshot(tmp_path) == {"a.bin": data}


def test_chunked(agent, tmp_path):
    data = os.urandom(400_000)
    pieces = [data[i:i + 7001] for i in range(0, len(data), 7001)]
    status, _ = upload(agent, str(tmp_path / "c"), iter(pieces))
    assert status == 200 and content(tmp_path / "c") == data


@pytest.mark.parametrize("size", [0, 100, 1_000_000])
def test_form_with_path(agent, tmp_path, size):
    data = os.urandom(size)
    target = str(tmp_path / "real")
    assert upload_form(agent, form(("ignored", data)), path=target)[1] == [
        {"path": target, "name": "real", "type": "file"}]
    assert snapshot(tmp_path) == {"real": data}


def test_form_with_many_files(agent, tmp_path):
    files = {f"d{i % 7}/f{i}": os.urandom(i * 37 % 5000) for i in range(300)}
    body = form(("note", b"skipped", "other"), *[(f"{tmp_path}/{n}", d) for n, d in files.items()])
    status, entries = upload_form(agent, body)
    assert status == 200
    assert [e["path"] for e in entries] == [f"{tmp_path}/{n}" for n in files]
    assert {n: d for n, d in snapshot(tmp_path).items() if d is not None} == files


def test_form_without_files(agent):
    assert upload_form(agent, form()) == (200, [])
    assert upload_form(agent, form(("x", b"1", "field"))) == (200, [])


@pytest.mark.parametrize("name", ["with space", "ünï-漢字", 'quo"te', "a%b+c&d=e;f", "new\nline",
                                  "cr\rlf\n", "tab\t", "-", "...", "back\\slash", "x" * 255])
def test_names(agent, tmp_path, name):
    target = f"{tmp_path}/{name}"
    assert upload(agent, target, b"1")[1][0] == {"path": target, "name": name, "type": "file"}
    if "%" not in name:
        # latin-1 is how http.client writes text; the wire has raw UTF-8
        assert upload_form(agent, form((target, b"2")))[1][0]["path"] == target
        assert snapshot(tmp_path) == {name: b"2"}


def test_names_that_are_not_utf8(agent, tmp_path):
    target = os.fsencode(tmp_path) + b"/\xff\xfe"
    quoted = "".join(f"%{b:02x}" for b in target)
    response, body = agent.request("POST", f"/files?path={quoted}", b"raw", OCTETS)
    assert answer(response, body)[1][0]["name"] == "\ufffd\ufffd"
    assert content(target) == b"raw"
    assert agent.request("GET", f"/files?path={quoted}")[1] == b"raw"


@pytest.mark.parametrize("size", [0, 5, 2_000_000])
@pytest.mark.parametrize("kind", ["octets", "form"])
def test_gzip(agent, tmp_path, size, kind):
    data = (b"compressible " * (size // 13 + 1))[:size]
    target = str(tmp_path / "z")
    body = gzip.compress(data if kind == "octets" else form(("z", data)))
    headers = {"Content-Encoding": "gzip", **(OCTETS if kind == "octets" else FORM)}
    assert answer(*agent.request("POST", url(target), body, headers))[0] == 200
    assert content(target) == data


def test_gzip_members_and_chunks(agent, tmp_path):
    parts = [os.urandom(50_000) for _ in range(5)]
    body = b"".join(gzip.compress(p) for p in parts)
    pieces = iter([body[i:i + 1000] for i in range(0, len(body), 1000)])
    assert upload(agent, str(tmp_path / "z"), pieces, {"Content-Encoding": "gzip"})[0] == 200
    assert content(tmp_path / "z") == b"".join(parts)


def test_expect_continue(agent, tmp_path):
    connection = agent.connect()
    connection.connect()
    head = (f"POST {url(str(tmp_path / 'e'))} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\n")
    connection.sock.sendall(head.encode())
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.sock.sendall(b"hello")
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    assert content(tmp_path / "e") == b"hello"


# ---- targets ----


def test_new_file_belongs_to_the_user(agent, tmp_path):
    target = tmp_path / "made" / "on" / "the way" / "f"
    assert upload(agent, str(target), b"1", username="nobody")[0] == 200
    st = os.stat(target)
    assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (NOBODY, 0o644)
    for level in list(target.parents)[:3]:
        st = os.stat(level)
        assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (NOBODY, 0o755)
    assert os.stat(tmp_path).st_uid == 0


def test_existing_file_keeps_its_mode(agent, tmp_path):
    target = tmp_path / "f"
    target.write_bytes(b"old content that is longer")
    target.chmod(0o750)
    os.setxattr(target, "user.other", b"kept")
    assert upload(agent, str(target), b"new", username="nobody")[0] == 200
    st = os.stat(target)
    assert (content(target), st.st_uid, stat.S_IMODE(st.st_mode)) == (b"new", NOBODY, 0o750)
    assert os.getxattr(target, "user.other") == b"kept"
    assert snapshot(tmp_path) == {"f": b"new"}


def test_setuid_is_not_kept(agent, tmp_path):
    target = tmp_path / "f"
    target.write_bytes(b"old")
    target.chmod(0o6755)
    assert upload(agent, str(target), b"new")[0] == 200
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o755


def test_hard_links_keep_the_old_content(agent, tmp_path):
    (tmp_path / "one").write_bytes(b"old")
    os.link(tmp_path / "one", tmp_path / "two")
    assert upload(agent, str(tmp_path / "one"), b"new")[0] == 200
    assert snapshot(tmp_path) == {"one": b"new", "two": b"old"}


def test_an_open_reader_keeps_the_old_content(agent, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    with open(tmp_path / "f", "rb") as reader:
        assert upload(agent, str(tmp_path / "f"), b"new")[0] == 200
        assert reader.read() == b"old"


def test_a_running_program_can_be_replaced(agent, tmp_path):
    target = tmp_path / "program"
    target.write_bytes(content("/bin/sleep"))
    target.chmod(0o755)
    running = subprocess.Popen([target, "100"])
    try:
        assert upload(agent, str(target), b"#!/bin/sh\necho new\n")[0] == 200
        assert subprocess.check_output([target]) == b"new\n"
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("text", ["real", "{dir}/real", "./sub/../real", "hop", "missing",
                                  "sub/missing"])
def test_symlinks_are_followed(agent, tmp_path, text):
    (tmp_path / "sub").mkdir()
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "hop").symlink_to("sub/back")
    (tmp_path / "sub" / "back").symlink_to("../real")
    text = text.format(dir=tmp_path)
    (tmp_path / "link").symlink_to(text)
    assert upload(agent, str(tmp_path / "link"), b"new")[1][0]["name"] == "link"
    assert os.readlink(tmp_path / "link") == text
    assert content(tmp_path / "link") == b"new"
    if "missing" not in text:
        assert content(tmp_path / "real") == b"new"


def test_symlinked_directories_are_followed(agent, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "way").symlink_to("dir")
    assert upload(agent, f"{tmp_path}/way/new/f", b"1")[0] == 200
    assert content(tmp_path / "dir" / "new" / "f") == b"1"


def test_dots_go_to_the_kernel(agent, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "far").mkdir()
    (tmp_path / "a" / "link").symlink_to("../far")
    (tmp_path / "up").mkdir()
    assert upload(agent, f"{tmp_path}/a/link/../f", b"1")[0] == 200
    assert content(tmp_path / "f") == b"1"  # the parent of far, not a


def test_relative_and_home(agent, tmp_path):
    name = f".carrel-test-{os.getpid()}"
    try:
        assert upload(agent, name, b"1")[1][0]["path"] == f"/root/{name}"
        assert upload(agent, f"~/{name}", b"2")[1][0]["path"] == f"/root/{name}"
        assert download(agent, name)[1] == b"2"
    finally:
        os.unlink(f"/root/{name}")


def test_a_mount_point_is_written_in_place(agent, tmp_path):
    (tmp_path / "real").write_bytes(b"old and longer")
    (tmp_path / "mounted").write_bytes(b"")
    subprocess.run(["mount", "--bind", tmp_path / "real", tmp_path / "mounted"], check=True)
    try:
        assert upload(agent, str(tmp_path / "mounted"), b"new")[0] == 200
        assert content(tmp_path / "mounted") == b"new" == content(tmp_path / "real")
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)
    assert sorted(os.listdir(tmp_path)) == ["mounted", "real"]


# ---- metadata ----


def attributes(path):
    return {n: os.getxattr(path, n).decode() for n in os.listxattr(path) if n.startswith("user.e2b.")}


def test_metadata(agent, tmp_path):
    target = str(tmp_path / "f")
    status, entries = upload(agent, target, b"1", {"X-Metadata-Author": "mish", "x-metadata-B": ""})
    assert entries == [{"path": target, "name": "f", "type": "file",
                        "metadata": {"author": "mish", "b": ""}}]
    assert attributes(target) == {"user.e2b.author": "mish", "user.e2b.b": ""}
    status, entries = upload(agent, target, b"2", {"X-Metadata-C": "d"})
    assert attributes(target) == {"user.e2b.c": "d"}
    assert upload(agent, target, b"3")[1] == [{"path": target, "name": "f", "type": "file"}]
    assert attributes(target) == {}


def test_metadata_of_many_files(agent, tmp_path):
    names = [f"{tmp_path}/{i}" for i in range(3)]
    upload_form(agent, form(*[(n, b"1") for n in names]), {"X-Metadata-K": "v"})
    assert [attributes(n) for n in names] == [{"user.e2b.k": "v"}] * 3


@pytest.mark.parametrize("headers", [
    {"X-Metadata-": "v"}, {"X-Metadata-" + "k" * 247: "v"}, {"X-Metadata-k": "v" * 4090},
    {"X-Metadata-k": "ä"}, {"X-Metadata-k": "a\tb"}, {"X-Metadata-k": "1", "x-metadata-K": "2"},
    {f"X-Metadata-{i}": "v" * 1000 for i in range(5)},
])
def test_bad_metadata(agent, tmp_path, headers):
    assert upload(agent, str(tmp_path / "f"), b"1", headers)[0] == 400
    assert os.listdir(tmp_path) == []


def test_largest_metadata(agent, tmp_path):
    assert upload(agent, str(tmp_path / "f"), b"1", {"X-Metadata-" + "k" * 246: "v" * 255})[0] == 200
    assert len(attributes(tmp_path / "f")) == 1


# ---- errors ----


def test_directories_as_targets(agent, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    for path in ("d", "d/", "d/.", "d/..", "new/", "link", ""):
        status, body = upload(agent, f"{tmp_path}/{path}", b"1")
        assert status == 400 and body["message"] == f"path is a directory: {tmp_path}/{path}"
    assert upload(agent, "/", b"1")[0] == 400
    assert snapshot(tmp_path) == {"d": None, "link": "-> d"}


def test_special_files_as_targets(agent, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    for name in ("fifo", "device"):
        status, body = upload(agent, str(tmp_path / name), b"1")
        assert status == 400 and "not a regular file" in body["message"]


def test_a_file_as_parent(agent, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    for path in ("f/a", "f/b/c", "f/../a"):
        assert upload(agent, f"{tmp_path}/{path}", b"1")[0] == 500
    assert snapshot(tmp_path) == {"f": b"x"}


def test_link_cycles(agent, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert upload(agent, str(tmp_path / "a"), b"1")[0] == 500
    assert upload(agent, f"{tmp_path}/a/x", b"1")[0] == 500


def test_duplicate_targets(agent, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    body = form((f"{tmp_path}/g", b"1"), (f"{tmp_path}/f", b"2"), (f"{tmp_path}/f", b"3"))
    assert upload_form(agent, body)[0] == 400
    assert upload_form(agent, form(("a", b"1"), ("b", b"2")), path=f"{tmp_path}/f")[0] == 400
    assert snapshot(tmp_path) == {"f": b"old"}


@pytest.mark.parametrize("headers,query,status", [
    ({"Content-Type": "text/plain"}, True, 400),
    ({"Content-Type": ""}, True, 400),
    ({"Content-Type": "multipart/form-data"}, True, 400),
    ({"Content-Type": "multipart/form-data; boundary=" + "b" * 71}, True, 400),
    ({"Content-Type": "multipart/mixed; boundary=x"}, True, 400),
    (OCTETS, False, 400),
    ({**OCTETS, "Content-Encoding": "br"}, True, 400),
    ({**OCTETS, "Content-Encoding": "gzip"}, True, 400),
])
def test_bad_heads(agent, tmp_path, headers, query, status):
    where = url(str(tmp_path / "f")) if query else url()
    assert answer(*agent.request("POST", where, b"12345", headers))[0] == status
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("where,status", [
    (url("~other/x"), 400), ("/files?path=%zz", 400), ("/files?path=a%00b", 400),
    ("/files?path=%", 400), (url("/tmp/x", username="who-is-this"), 401),
    ("/files?path=/tmp/x&username=%ff%fe", 401), (url(""), 400),
])
def test_bad_queries(agent, where, status):
    for method in ("GET", "POST"):
        assert answer(*agent.request(method, where, b"1" if method == "POST" else None,
                                     OCTETS))[0] == status


def test_unknown_user(agent):
    status, body = upload(agent, "/tmp/x", b"1", username="who")
    assert status == 401 and body["message"].startswith("error looking up user 'who': ")


@pytest.mark.parametrize("body", [
    b"", b"not a form", part("x", b"1"), form(("x", b"1"))[:-6],
    form(("x", b"1")).replace(b"form-data;", b"form-data; name=\"a\";"),
    form(("x", b"1")).replace(b"\r\nContent-Type:", b"\r\nfolded\r\n Content-Type:"),
    form(("x" * 40000, b"1")),
])
def test_malformed_forms(agent, tmp_path, body):
    (tmp_path / "f").write_bytes(b"old")
    assert upload_form(agent, body, path=str(tmp_path / "f"))[0] == 500
    assert snapshot(tmp_path) == {"f": b"old"}


def test_bad_names_in_forms(agent, tmp_path):
    assert upload_form(agent, form(("", b"1")))[0] == 400
    assert upload_form(agent, form(("~other", b"1")))[0] == 400


@pytest.mark.parametrize("size", [50, 900_000])
def test_broken_gzip(agent, tmp_path, size):
    (tmp_path / "f").write_bytes(b"old")
    whole = bytearray(gzip.compress(os.urandom(size)))
    broken = bytes(whole[:-6]) + bytes([whole[-6] ^ 1]) + bytes(whole[-5:])
    for body in (whole[:-1], whole[:len(whole) // 2], broken, whole + b"junk", b""):
        assert upload(agent, str(tmp_path / "f"), bytes(body), {"Content-Encoding": "gzip"})[0] == 400
    assert snapshot(tmp_path) == {"f": b"old"}


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=8", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("kind", ["octets", "chunked", "form", "bomb", "huge"])
def test_a_full_disk(agent, small_disk, kind):
    (small_disk / "f").write_bytes(b"old")
    target, data = str(small_disk / "f"), random.Random(1).randbytes(3_000_000)
    if kind == "octets":
        status, body = upload(agent, target, data)
    elif kind == "chunked":
        status, body = upload(agent, target, iter([data[:1_500_000], data[1_500_000:]]))
    elif kind == "form":
        status, body = upload_form(agent, form(("x", data)), path=target)
    elif kind == "bomb":
        status, body = upload(agent, target, gzip.compress(bytes(50_000_000)),
                              {"Content-Encoding": "gzip"})
    else:  # refused by what the length announces
        connection = agent.connect()
        connection.putrequest("POST", url(target))
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(1 << 40))
        connection.endheaders()
        response = connection.getresponse()
        status, body = answer(response, response.read())
    assert status == 507 and "not enough disk space available" in body["message"]
    assert snapshot(small_disk) == {"f": b"old"}
    assert upload(agent, target, b"fits")[0] == 200


def test_no_inodes(agent, small_disk):
    statuses = [upload(agent, str(small_disk / str(i)), b"1")[0] for i in range(12)]
    assert statuses[0] == 200 and statuses[-1] == 507
    assert len(os.listdir(small_disk)) == statuses.count(200)


def test_many_at_once(own_agent, tmp_path):
    """Interleaved uploads of 2 MB each, in small pieces over thirty connections."""
    agent, size, pieces = own_agent, 2_000_000, 40
    datas = [os.urandom(size) for _ in range(30)]
    connections = []
    for i in range(30):
        c = agent.connect()
        c.putrequest("POST", url(f"{tmp_path}/{i}"))
        c.putheader("Content-Type", "application/octet-stream")
        c.putheader("Content-Length", str(size))
        c.endheaders()
        connections.append(c)
    step = size // pieces
    for at in range(0, size, step):
        for c, data in zip(connections, datas):
            c.send(data[at:at + step])
    for i, (c, data) in enumerate(zip(connections, datas)):
        assert c.getresponse().status == 200
        assert content(tmp_path / str(i)) == data


def memory(agent, field):
    with open(f"/proc/{agent.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field))


@pytest.mark.parametrize("kind", ["octets", "form", "gzip"])
def test_memory_is_bounded(own_agent, tmp_path, kind):
    agent, piece = own_agent, os.urandom(1 << 20)
    upload(agent, str(tmp_path / "warm"), piece * 3)
    before = memory(agent, "VmHWM")
    body, headers = (piece for _ in range(300)), OCTETS
    if kind == "form":
        head, tail = form(("x", b"\0")).split(b"\0")
        body, headers = iter([head, *[piece] * 300, tail]), FORM
    elif kind == "gzip":
        packed = gzip.compress(bytes(1 << 20))
        body, headers = (packed for _ in range(300)), {**OCTETS, "Content-Encoding": "gzip"}
    assert agent.request("POST", url(str(tmp_path / "f")), body, headers)[0].status == 200
    assert os.stat(tmp_path / "f").st_size == 300 << 20
    assert memory(agent, "VmHWM") - before < 4096 or "ASAN_OPTIONS" in os.environ
