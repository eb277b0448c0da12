# SPDX-License-Identifier: Apache-2.0
"""What an upload may ask for beyond the wire of the SDKs (docs/wire.md): conditions, mode, owner,
digest, fsync; and the digest of a file."""
import base64
import gzip
import hashlib
import os
import shutil
import subprocess
import threading
import time

import pytest
from conftest import CONFIG, DEADLINE, Agent
from files import OCTETS, download, form, fs, snapshot, upload, upload_form, url


def digest(data):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


def put(agent, path, data, headers=None, **query):
    """(status, fields of the answer)"""
    response, _ = agent.request("POST", url(str(path), **query), data, {**OCTETS, **(headers or {})})
    return response.status, response.headers


def tag(agent, path):
    return download(agent, str(path))[0].headers["ETag"]


# ---- conditions ----


@pytest.mark.parametrize("size", [5, 2_000_000])
def test_a_write_answers_with_the_tag_that_a_read_has(agent, tmp_path, size):
    file = tmp_path / "f"
    for content in (b"a" * size, b"b" * size):
        status, headers = put(agent, file, content)
        assert (status, headers["ETag"]) == (200, tag(agent, file))
    response, _ = agent.request("POST", url(str(file)), form(("f", b"1")),
                                {"Content-Type": "multipart/form-data; boundary=----formdata-carrel-0123456789"})
    assert response.headers["ETag"] == tag(agent, file)
    status, body = upload_form(agent, form((f"{tmp_path}/a", b"1"), (f"{tmp_path}/b", b"2")))
    assert status == 200


def test_if_match(agent, tmp_path):
    file = tmp_path / "f"
    file.write_text("old")
    first = tag(agent, file)
    assert put(agent, file, b"x", {"If-Match": '"other"'})[0] == 412
    assert file.read_text() == "old"
    status, headers = put(agent, file, b"new", {"If-Match": f'"other", {first}'})
    assert status == 200 and file.read_text() == "new"
    assert put(agent, file, b"x", {"If-Match": first})[0] == 412
    assert put(agent, file, b"newer", {"If-Match": headers["ETag"]})[0] == 200
    assert put(agent, file, b"newest", {"If-Match": "*"})[0] == 200
    assert put(agent, tmp_path / "missing", b"x", {"If-Match": "*"})[0] == 412
    assert os.listdir(tmp_path) == ["f"]


def test_if_none_match(agent, tmp_path):
    file = tmp_path / "d" / "f"
    assert put(agent, file, b"1", {"If-None-Match": "*"})[0] == 200
    assert put(agent, file, b"2", {"If-None-Match": "*"})[0] == 412
    assert file.read_text() == "1"
    assert put(agent, file, b"3", {"If-None-Match": tag(agent, file)})[0] == 412
    assert put(agent, file, b"4", {"If-None-Match": '"other"'})[0] == 200
    assert file.read_text() == "4"


def test_a_condition_is_looked_at_when_the_body_has_come(agent, tmp_path):
    """The file is changed after the head was taken, before the body ends."""
    file = tmp_path / "f"
    file.write_text("old")
    connection = agent.connect()
    connection.putrequest("POST", url(str(file)))
    for name, value in {**OCTETS, "Content-Length": "6", "If-Match": tag(agent, file)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"abc")
    limit = time.monotonic() + DEADLINE
    while not any(os.readlink(f"/proc/{agent.process.pid}/fd/{fd}").endswith("(deleted)")
                  for fd in os.listdir(f"/proc/{agent.process.pid}/fd")
                  if os.path.lexists(f"/proc/{agent.process.pid}/fd/{fd}")):
        assert time.monotonic() < limit
    file.write_text("somebody else's")
    connection.send(b"def")
    assert connection.getresponse().status == 412
    assert file.read_text() == "somebody else's"


def test_of_many_at_once_one_creates(agent, tmp_path):
    results = []

    def create(i):
        results.append(put(agent, tmp_path / "f", b"%d" % i * 300_000, {"If-None-Match": "*"})[0])

    threads = [threading.Thread(target=create, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [200] + [412] * 11


def test_counting_loses_nothing(agent, tmp_path):
    """Read, add one, write if nobody else has: what conditions are for."""
    file = tmp_path / "counter"
    file.write_text("0")

    def count():
        for _ in range(15):
            while True:
                response, body = download(agent, str(file))
                number = b"%d" % (int(body) + 1)
                if put(agent, file, number, {"If-Match": response.headers["ETag"]})[0] == 200:
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert file.read_text() == "60"


# ---- mode, owner, fsync ----


@pytest.mark.parametrize("mode", ["0", "600", "0755", "1777", "4755", "6711"])
@pytest.mark.parametrize("there", [False, True])
def test_mode(agent, tmp_path, mode, there):
    file = tmp_path / "f"
    if there:
        file.write_text("old")
        file.chmod(0o640)
    assert put(agent, file, b"1", mode=mode)[0] == 200
    assert file.stat().st_mode & 0o7777 == int(mode, 8)


@pytest.mark.parametrize("query", [
    {"mode": ""}, {"mode": "8"}, {"mode": "10000"}, {"mode": "-1"}, {"mode": "0x1"}, {"mode": "rwx"},
    {"mode": "000755"}, {"fsync": "yes"}, {"fsync": ""}, {"owner": ""}, {"owner": "nobody-there"},
    {"owner": "1:"}, {"owner": ":1"}, {"owner": "1:2:3"}, {"owner": "-1:0"}, {"owner": "4294967295:0"},
    {"owner": "a" * 300}])
def test_bad_terms(agent, tmp_path, query):
    assert put(agent, tmp_path / "f", b"1", **query)[0] == 400
    assert os.listdir(tmp_path) == []


def test_owner(agent, tmp_path):
    put(agent, tmp_path / "d" / "f", b"1", owner="12:34", username="root")
    for path in (tmp_path / "d" / "f", tmp_path / "d"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)
    assert put(agent, tmp_path / "d" / "f", b"1", owner="nobody", username="root")[0] == 200
    assert (tmp_path / "d" / "f").stat().st_uid == 65534
    assert put(agent, tmp_path / "n", b"1", owner="nobody", username="nobody")[0] == 200
    status, body = upload(agent, str(tmp_path / "g"), b"1", owner="root", username="nobody")
    assert status == 403 and "username=root" in body["message"]
    assert not (tmp_path / "g").exists()


def test_a_signed_address_gives_nothing_away(agent, tmp_path):
    """mode with setuid is the user's own; the owner is in the signature."""
    assert put(agent, tmp_path / "f", b"1", mode="4755", username="nobody")[0] == 200
    st = (tmp_path / "f").stat()
    assert (st.st_uid, st.st_mode & 0o7777) == (65534, 0o4755)


@pytest.fixture
def bad_disk(tmp_path, tmp_path_factory, monkeypatch):
    """An agent whose fsync fails."""
    compiler = shutil.which("cc")
    if not compiler or os.environ.get("ASAN_OPTIONS") is not None:
        pytest.skip("no C compiler, or the sanitizer wants to be first")
    library = tmp_path_factory.mktemp("preload") / "no_fsync.so"
    source = os.path.join(os.path.dirname(__file__), "no_fsync.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    (tmp_path / "agent").mkdir()
    agent = Agent(str(tmp_path / "agent"), CONFIG)
    yield agent
    agent.stop()


@pytest.mark.parametrize("there", [False, True])
def test_fsync(agent, bad_disk, tmp_path, there):
    (tmp_path / "w").mkdir()
    file = tmp_path / "w" / "f"
    if there:
        file.write_text("old")
    before = snapshot(tmp_path / "w")
    assert put(bad_disk, file, b"1", fsync="true")[0] == 500
    assert snapshot(tmp_path / "w") == before
    assert put(bad_disk, file, b"2", fsync="false")[0] == 200
    assert put(agent, file, b"3", fsync="true")[0] == 200
    assert file.read_text() == "3"


# ---- digests ----


@pytest.mark.parametrize("data", [b"", b"abc", os.urandom(3_000_000)])
def test_digest_of_a_file(agent, tmp_path, data):
    (tmp_path / "f").write_bytes(data)
    for method in ("GET", "HEAD"):
        response, body = agent.request(method, url(f"{tmp_path}/f"), None, {
            "Want-Repr-Digest": "sha-512=1, sha-256=5", "Accept-Encoding": "gzip;q=1, identity;q=0.5"})
        assert response.headers["Repr-Digest"] == digest(data)
        assert "Content-Encoding" not in response.headers
        assert body == (data if method == "GET" else b"")
        assert response.headers["Content-Length"] == str(len(data))
    response, body = download(agent, f"{tmp_path}/f",
                              {"Want-Repr-Digest": "sha-256=1", "Range": "bytes=1-2"})
    if data:  # of the whole file
        assert (response.status, body) == (206, data[1:3])
        assert response.headers["Repr-Digest"] == digest(data)


@pytest.mark.parametrize("want", ["sha-256=0", "sha-512=9", "", "nonsense"])
def test_digest_not_wanted(agent, tmp_path, want):
    (tmp_path / "f").write_text("1")
    response, _ = download(agent, f"{tmp_path}/f", {"Want-Repr-Digest": want})
    assert response.status == 200 and "Repr-Digest" not in response.headers


def test_a_digest_nobody_waits_for(own_agent, tmp_path):
    """A long one is given up when its client goes."""
    with open(tmp_path / "large", "wb") as f:
        f.truncate(200 << 30)
    fds = f"/proc/{own_agent.process.pid}/fd"
    own_agent.request("GET", "/health")
    before = len(os.listdir(fds))
    connection = own_agent.connect()
    connection.request("GET", url(f"{tmp_path}/large"), None, {"Want-Repr-Digest": "sha-256=1"})
    connection.close()
    limit = time.monotonic() + DEADLINE
    while len(os.listdir(fds)) > before + 1:
        assert time.monotonic() < limit
        own_agent.request("GET", "/health")


@pytest.mark.parametrize("size", [0, 7, 1_500_000])
@pytest.mark.parametrize("kind", ["octets", "gzip", "form"])
def test_digest_of_an_upload(agent, tmp_path, size, kind):
    data = os.urandom(size)
    body, headers = data, {"Want-Repr-Digest": "sha-256=1", "Repr-Digest": digest(data)}
    if kind == "gzip":
        body = gzip.compress(data, 1)
        headers["Content-Encoding"] = "gzip"
    if kind == "form":
        body = form(("f", data))
        headers["Content-Type"] = "multipart/form-data; boundary=----formdata-carrel-0123456789"
    status, answer = put(agent, tmp_path / "f", body, headers)
    assert (status, answer["Repr-Digest"]) == (200, digest(data))
    status, _ = put(agent, tmp_path / "f", body, {**headers, "Repr-Digest": digest(data + b"x")})
    assert status == 400
    assert (tmp_path / "f").read_bytes() == data


@pytest.mark.parametrize("value,status", [
    ("sha-256=abc", 400), ("sha-256=:abc:", 400), ("sha-256=" + ":" * 46, 400), ("sha-512=:abc:", 200),
    ("", 200), ("sha-256", 400)])
def test_odd_digests(agent, tmp_path, value, status):
    assert put(agent, tmp_path / "f", b"1", {"Repr-Digest": value})[0] == status


def test_one_digest_for_two_files(agent, tmp_path):
    status, _ = upload_form(agent, form((f"{tmp_path}/a", b"1"), (f"{tmp_path}/b", b"1")),
                            {"Repr-Digest": digest(b"1")})
    assert status == 400 and os.listdir(tmp_path) == []
    assert fs(agent, "ListDir", path=str(tmp_path)) == {}
