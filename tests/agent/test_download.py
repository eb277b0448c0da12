# SPDX-License-Identifier: Apache-2.0
"""GET /files (protocol.md 3.3): bytes, heads, ranges, conditions, codings, and every error."""
import email.utils
import fcntl
import gzip
import json
import os
import signal
import socket
import stat
import threading

import pytest
from files import answer, download, peak_kib, upload, url


@pytest.fixture
def thousand(tmp_path):
    data = os.urandom(1000)
    (tmp_path / "t").write_bytes(data)
    return str(tmp_path / "t"), data


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 1_000_000, 20_000_000])
def test_bytes(agent, tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    response, body = download(agent, str(tmp_path / "f"))
    assert (response.status, body) == (200, data)
    assert response.headers["Content-Length"] == str(size)
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Vary"] == "Accept-Encoding"
    when = email.utils.parsedate_to_datetime(response.headers["Last-Modified"]).timestamp()
    assert when == int(os.stat(tmp_path / "f").st_mtime)


def test_several_on_one_connection(agent, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    (tmp_path / "e").write_bytes(b"")
    connection = agent.connect()
    for _ in range(50):
        for name, size in (("f", 100_000), ("e", 0), ("missing", None)):
            response, body = agent.request("GET", url(str(tmp_path / name)), connection=connection)
            assert response.status == (404 if size is None else 200)
            assert size is None or len(body) == size


def test_head(agent, thousand):
    response, body = agent.request("HEAD", url(thousand[0]))
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "1000")


def test_symlinks_and_dots(agent, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to("../b/c")
    (tmp_path / "b" / "f").write_bytes(b"here")
    assert download(agent, f"{tmp_path}/a/link/../f")[1] == b"here"


def test_a_sparse_file_larger_than_memory(own_agent, tmp_path):
    with open(tmp_path / "f", "wb") as f:
        f.truncate(20 << 30)
    connection = own_agent.connect()
    connection.request("GET", url(str(tmp_path / "f")))
    response = connection.getresponse()
    assert response.headers["Content-Length"] == str(20 << 30)
    assert len(response.read(300 << 20)) == 300 << 20
    connection.close()
    assert peak_kib(own_agent) < 12_000
    response, body = download(own_agent, str(tmp_path / "f"), {"Range": f"bytes={(20 << 30) - 5}-"})
    assert (response.status, body) == (206, bytes(5))


# ---- heads ----


@pytest.mark.parametrize("name,data,kind", [
    ("a.txt", b"", "text/plain; charset=utf-8"), ("a.JSON", b"{}", "application/json"),
    ("a.html", b"", "text/html; charset=utf-8"), ("a.csv", b"", "text/csv; charset=utf-8"),
    ("a.png", b"", "image/png"), ("a.tar.gz", b"", "application/gzip"),
    ("none", b"text\n\xc3\xa4", "text/plain; charset=utf-8"), ("none", b"", "text/plain; charset=utf-8"),
    ("none", b"\0\1", "application/octet-stream"), ("none", b"%PDF-1.4", "application/pdf"),
    ("none", b"\x89PNG\r\n\x1a\n", "image/png"), ("x.unknown", b"GIF89a", "image/gif"),
    (".png", b"\xff\xd8\xff\xe0", "image/png"),
])
def test_content_type(agent, tmp_path, name, data, kind):
    (tmp_path / name).write_bytes(data)
    assert download(agent, str(tmp_path / name))[0].headers["Content-Type"] == kind


@pytest.mark.parametrize("name,shown", [
    ("a.txt", "filename=a.txt"), ("a b", 'filename="a b"'), ('q"\\', 'filename="q\\"\\\\"'),
    ("ä b", "filename*=utf-8''%C3%A4%20b"), ("a\nb", "filename*=utf-8''a%0Ab"),
    ("a;b", 'filename="a;b"'), ("100%", "filename=100%"),
])
def test_content_disposition(agent, tmp_path, name, shown):
    (tmp_path / name).write_bytes(b"1")
    response, _ = download(agent, str(tmp_path / name))
    assert response.headers["Content-Disposition"] == "inline; " + shown


# ---- ranges and conditions ----


@pytest.mark.parametrize("value,first,last", [
    ("bytes=0-0", 0, 0), ("bytes=0-9", 0, 9), ("bytes=990-", 990, 999), ("bytes=-10", 990, 999),
    ("bytes=0-99999", 0, 999), ("bytes=-5000", 0, 999), ("BYTES= 5 - 6", 5, 6),
    ("bytes=999-999", 999, 999), ("bytes=1-99999999999999999999999", 1, 999),
])
def test_range(agent, thousand, value, first, last):
    path, data = thousand
    response, body = download(agent, path, {"Range": value})
    assert (response.status, body) == (206, data[first:last + 1])
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/1000"
    assert response.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("value", ["bytes=1000-", "bytes=2000-3000", "bytes=-0",
                                   "bytes=99999999999999999999-"])
def test_range_outside(agent, thousand, value):
    response, body = download(agent, thousand[0], {"Range": value})
    assert answer(response, body)[0] == 416
    assert response.headers["Content-Range"] == "bytes */1000"


@pytest.mark.parametrize("value", ["bytes=5-4", "bytes=", "bytes=a-b", "bytes", "lines=1-2", "",
                                   "bytes=0-1,5-6", "bytes=--1", "bytes=1", "bytes=-"])
def test_range_ignored(agent, thousand, value):
    response, body = download(agent, thousand[0], {"Range": value})
    assert (response.status, body) == (200, thousand[1])


def test_range_of_an_empty_file(agent, tmp_path):
    (tmp_path / "e").write_bytes(b"")
    assert download(agent, str(tmp_path / "e"), {"Range": "bytes=0-"})[0].status == 416


def test_conditions(agent, thousand):
    path, data = thousand
    head = download(agent, path)[0].headers
    etag, date = head["ETag"], head["Last-Modified"]
    before = "Sun, 06 Nov 1994 08:49:37 GMT"

    def status(**headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        response, body = download(agent, path, headers)
        assert body == (data if response.status == 200 else
                        data[:2] if response.status == 206 else b"")
        return response.status

    assert status(If_Modified_Since=date) == 304 == status(If_None_Match=etag)
    assert status(If_Modified_Since=before) == 200 == status(If_Modified_Since="yesterday")
    assert status(If_None_Match=f'"x", W/{etag}') == 304 == status(If_None_Match="*")
    assert status(If_None_Match='"x"', If_Modified_Since=date) == 200
    assert status(If_Match='"x"') == 412 == status(If_Unmodified_Since=before)
    assert status(If_Match=etag) == 200 == status(If_Unmodified_Since=date)
    two = {"Range": "bytes=0-1"}
    assert status(If_Range=etag, **two) == 206 == status(If_Range=date, **two)
    assert status(If_Range='"x"', **two) == 200 == status(If_Range=before, **two)


# ---- codings ----


@pytest.mark.parametrize("accept,coding", [
    (None, None), ("", None), ("gzip, deflate", None), ("gzip, deflate, br", None), ("*", None),
    ("identity", None), ("gzip;q=0.5, identity", None), ("br", None), ("gzip;q=0", None),
    ("gzip", "gzip"), ("x-gzip", "gzip"), ("gzip, identity;q=0.5", "gzip"),
    ("identity;q=0, gzip;q=0.1", "gzip"), ("identity;q=0, *", "gzip"), ("deflate;q=0,gzip", "gzip"),
    ("identity;q=0", 406), ("identity;q=0, br", 406), ("*;q=0", 406), ("identity;q=0, gzip;q=0", 406),
])
def test_accept_encoding(agent, tmp_path, accept, coding):
    data = b"compress me " * 100_000
    (tmp_path / "f").write_bytes(data)
    connection = agent.connect()
    connection.putrequest("GET", url(str(tmp_path / "f")), skip_accept_encoding=True)
    if accept is not None:
        connection.putheader("Accept-Encoding", accept)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    if coding == 406:
        assert answer(response, body)[0] == 406
    elif coding:
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(body) < 50_000 and gzip.decompress(body) == data
    else:
        assert "Content-Encoding" not in response.headers and body == data


def test_gzip_is_not_for_ranges_and_small_files(agent, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 5000)
    (tmp_path / "s").write_bytes(b"x" * 100)
    gz = {"Accept-Encoding": "gzip"}
    assert download(agent, str(tmp_path / "f"), {**gz, "Range": "bytes=1-3"})[1] == b"xxx"
    assert download(agent, str(tmp_path / "s"), gz)[1] == b"x" * 100


def test_gzip_of_random_bytes(agent, tmp_path):
    data = os.urandom(5_000_000)
    (tmp_path / "f").write_bytes(data)
    assert gzip.decompress(download(agent, str(tmp_path / "f"), {"Accept-Encoding": "gzip"})[1]) == data


# ---- files that lie about their size ----


@pytest.mark.parametrize("path", ["/proc/version", "/proc/sys/kernel/random/boot_id", "/proc/cpuinfo",
                                  "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sys/kernel/osrelease"])
def test_pseudo_files(agent, path):
    if not os.path.exists(path):
        pytest.skip(f"no {path}")
    with open(path, "rb") as f:
        expected = f.read()
    response, body = download(agent, path)
    assert (response.status, body) == (200, expected)
    assert response.headers["Content-Length"] == str(len(expected))


def test_a_large_pseudo_file(agent):
    with open("/proc/kallsyms", "rb") as f:
        expected = f.read()
    response, body = download(agent, "/proc/kallsyms")
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert len(expected) > 1_000_000 and len(body) == len(expected)


def test_an_empty_pseudo_file(agent):
    path = "/proc/2/cmdline"  # of a kernel thread
    if not os.path.exists(path) or open(path, "rb").read():
        pytest.skip("no kernel threads in sight")
    response, body = download(agent, path)
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "0")


def test_a_file_that_shrinks_is_cut_off(agent, tmp_path):
    """The length was promised; the only honest end is a broken one."""
    size = 64 << 20
    with open(tmp_path / "f", "wb") as f:
        f.truncate(size)
    connection = agent.connect()
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.request("GET", url(str(tmp_path / "f")))
    response = connection.getresponse()
    response.read(1000)
    os.truncate(tmp_path / "f", 1 << 20)
    with pytest.raises(Exception) as raised:
        while True:
            data = response.read(1 << 20)
            if not data:
                break
        raise EOFError(response.length)
    assert not isinstance(raised.value, EOFError) or response.length > 0
    assert agent.request("GET", "/health")[0].status == 204


def test_a_file_replaced_while_it_is_read(agent, tmp_path):
    (tmp_path / "f").write_bytes(b"a" * (32 << 20))
    connection = agent.connect()
    connection.request("GET", url(str(tmp_path / "f")))
    response = connection.getresponse()
    first = response.read(1000)
    agent.request("POST", url(str(tmp_path / "f")), b"b" * 100, {"Content-Type": "application/octet-stream"})
    assert set(first + response.read()) == {ord("a")}


# ---- errors ----


def test_missing(agent, tmp_path):
    status, body = answer(*download(agent, f"{tmp_path}/no"))
    assert (status, body["message"]) == (404, f"path '{tmp_path}/no' does not exist")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert download(agent, f"{tmp_path}/dangling")[0].status == 404


def test_directories(agent, tmp_path):
    for path in (tmp_path, f"{tmp_path}/", "/"):
        status, body = answer(*download(agent, str(path)))
        assert (status, body["message"]) == (400, f"path '{path}' is a directory")


def test_a_file_as_parent(agent, thousand):
    assert answer(*download(agent, thousand[0] + "/x"))[0] == 500


def test_link_cycle(agent, tmp_path):
    (tmp_path / "a").symlink_to("a")
    assert answer(*download(agent, str(tmp_path / "a")))[0] == 500


def test_long_paths(agent, tmp_path):
    assert answer(*download(agent, f"{tmp_path}/" + "x" * 256))[0] == 500
    assert answer(*download(agent, "/" + "x/" * 10000))[0] == 500


def test_special_files_are_never_opened(agent, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
        for name in ("fifo", "null", "socket"):
            status, body = answer(*download(agent, str(tmp_path / name)))
            assert status == 400 and "not a regular file" in body["message"]
    assert answer(*download(agent, "/dev/zero"))[0] == 400


def test_a_slow_reader_holds_up_nobody(agent, tmp_path):
    (tmp_path / "f").write_bytes(bytes(64 << 20))
    slow = [agent.connect() for _ in range(20)]
    for c in slow:
        c.request("GET", url(str(tmp_path / "f")))
    done = []
    readers = [threading.Thread(target=lambda: done.append(len(download(agent, str(tmp_path / "f"))[1])))
               for _ in range(4)]
    for t in readers:
        t.start()
    for t in readers:
        t.join()
    assert done == [64 << 20] * 4
    for c in slow:
        c.close()


def test_a_leased_file_holds_up_nobody(agent, tmp_path):
    """Its holder could make an open wait for 45 seconds."""
    file = tmp_path / "f"
    file.write_text("x" * 100)
    with open(file, "r+") as holder:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert download(agent, str(file))[0].status == 500
        assert upload(agent, str(file), b"new")[0] == 200
        response, _ = agent.request("POST", "/files/compose", json.dumps(
            {"source_paths": [str(file)], "destination": str(tmp_path / "c")}))
        assert response.status == 200
    assert (tmp_path / "c").read_text() == "new"
