# SPDX-License-Identifier: Apache-2.0
"""What docs/wire.md adds to files and watching, in real sandboxes, and that the published SDKs work
beside it as if it were not there."""

import asyncio
import base64
import hashlib
import io
import json
import random
import tarfile
import uuid
from urllib.parse import urlencode

import pytest
from e2b import AsyncSandbox, FilesystemEventType, NotFoundException

from harness import eventually

OCTETS = {"Content-Type": "application/octet-stream"}
TAR = {"Content-Type": "application/x-tar"}


@pytest.fixture
def folder(shared):
    path = f"/home/user/x-{uuid.uuid4().hex[:8]}"
    shared.files.make_dir(path)
    return path


@pytest.fixture
def wire(server, shared):
    """Requests to the sandbox, with its token."""

    def wire(method, route, body=None, headers=None, **query):
        return server.sandbox(shared.sandbox_id, method, f"{route}?{urlencode(query)}", body, headers or {},
                              token=server.token(shared.sandbox_id))

    return wire


def archive(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


# ---- uploads ----


def test_two_writers_know_of_each_other(wire, shared, folder):
    path = f"{folder}/f"
    shared.files.write(path, "stock")
    tag = wire("GET", "/files", path=path).headers["ETag"]
    reply = wire("POST", "/files", b"first", {**OCTETS, "If-Match": tag}, path=path)
    assert reply.status == 200 and reply.headers["ETag"] != tag
    assert wire("POST", "/files", b"second", {**OCTETS, "If-Match": tag}, path=path).status == 412
    assert wire("POST", "/files", b"third", {**OCTETS, "If-None-Match": "*"}, path=path).status == 412
    assert shared.files.read(path) == "first"


def test_mode_owner_and_fsync(wire, shared, folder):
    path = f"{folder}/run"
    assert wire("POST", "/files", b"#!/bin/sh\necho ran\n", OCTETS, path=path, mode="755",
                fsync="true").status == 200
    assert shared.commands.run(path).stdout == "ran\n"
    assert wire("POST", "/files", b"1", OCTETS, path=path, owner="root").status == 403
    assert wire("POST", "/files", b"1", OCTETS, path=path, owner="root", username="root").status == 200
    assert shared.files.get_info(path).owner == "root"


def test_digests(wire, shared, folder):
    data = random.Random(3).randbytes(700_000)
    field = "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"
    path = f"{folder}/f"
    headers = {**OCTETS, "Repr-Digest": field, "Want-Repr-Digest": "sha-256=1"}
    assert wire("POST", "/files", data, headers, path=path).headers["Repr-Digest"] == field
    assert wire("POST", "/files", data[1:], headers, path=path).status == 400
    reply = wire("HEAD", "/files", None, {"Want-Repr-Digest": "sha-256=1"}, path=path)
    assert (reply.status, reply.headers["Repr-Digest"]) == (200, field)
    out = shared.commands.run(f"sha256sum {path}").stdout
    assert out.split()[0] == hashlib.sha256(data).hexdigest()


# ---- directories ----


def test_a_directory_there_and_back(wire, shared, folder):
    members = {f"d{i % 3}/f{i}": random.Random(i).randbytes(i * 700) for i in range(40)}
    reply = wire("POST", "/files/tar", archive(members), TAR, path=f"{folder}/t")
    assert reply.status == 200 and json.loads(reply.body)["entries"] == 40
    assert shared.files.read(f"{folder}/t/d1/f7", format="bytes") == members["d1/f7"]
    assert shared.files.get_info(f"{folder}/t/d1/f7").owner == "user"
    shared.commands.run(f"ln -s d1 {folder}/t/link; chmod 600 {folder}/t/d0/f0")
    reply = wire("GET", "/files/tar", path=f"{folder}/t")
    with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}
        assert found == members
        assert tar.getmember("link").linkname == "d1" and tar.getmember("d0/f0").mode == 0o600


def test_tar_wants_the_token(server, shared, folder):
    for method, body in (("GET", None), ("POST", archive({"f": b"1"}))):
        path = f"/files/tar?{urlencode({'path': folder})}"
        assert server.sandbox(shared.sandbox_id, method, path, body, TAR).status == 401
        assert server.sandbox(shared.sandbox_id, method, path, body, TAR, token="wrong").status == 401


def test_an_archive_stays_in_its_directory(wire, shared, folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("l")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
        tar.addfile(tarfile.TarInfo("l/evil"))
    for target in (f"{folder}/new", folder):
        assert wire("POST", "/files/tar", out.getvalue(), TAR, path=target, username="root").status == 400
    assert not shared.files.exists("/etc/evil")
    assert [e.name for e in shared.files.list(folder)] == ["l"]


# ---- watching ----


def rpc(wire, method, **message):
    reply = wire("POST", f"/filesystem.Filesystem/{method}", json.dumps(message).encode(),
                 {"Content-Type": "application/json"})
    return reply.status, json.loads(reply.body)


def test_waiting_for_a_path(wire, shared, folder):
    path = f"{folder}/later/still"
    with pytest.raises(NotFoundException):
        shared.files.watch_dir(path)
    status, made = rpc(wire, "CreateWatcher", path=path, recursive=True, waitForPath=True)
    assert status == 200
    shared.files.write(f"{path}/f", "1")
    found = []

    def look():
        found.extend((e["type"], e["name"]) for e in rpc(wire, "GetWatcherEvents", **made)[1].get("events", []))
        return ("EVENT_TYPE_CREATE", "f") in found

    eventually(look)
    assert found[0] == ("EVENT_TYPE_CREATE", ".")
    assert rpc(wire, "RemoveWatcher", **made)[0] == 200


async def test_stock_watchers_do_not_see_a_rescan(server, shared, folder):
    """The asynchronous SDK's stream and the polled one, over an overflow of the kernel's queue."""
    sandbox = await AsyncSandbox.connect(shared.sandbox_id)
    created = set()
    handle = await sandbox.files.watch_dir(
        folder, on_event=lambda e: created.add(e.name) if e.type == FilesystemEventType.CREATE else None,
        recursive=True, timeout=0)
    polled = await asyncio.to_thread(shared.files.watch_dir, folder, recursive=True)
    await sandbox.commands.run(
        f"cd {folder}; mkdir a b; for d in a b; do (cd $d; seq 20000 | xargs touch); done", timeout=60)
    wanted = {"a", "b"} | {f"{d}/{i}" for d in "ab" for i in range(1, 20001)}
    seen = set()

    def look():
        seen.update(e.name for e in polled.get_new_events() if e.type == FilesystemEventType.CREATE)
        return wanted <= seen and wanted <= created

    await asyncio.to_thread(eventually, look, 60, "all names")
    await handle.stop()
    await asyncio.to_thread(polled.stop)


def test_root_deleted_and_made_again_with_the_sdk(shared, folder):
    handle = shared.files.watch_dir(folder, recursive=True)
    shared.commands.run(f"rm -r {folder}; mkdir {folder}; touch {folder}/new")
    found = []

    def look():
        found.extend((e.type, e.name) for e in handle.get_new_events())
        return (FilesystemEventType.CREATE, "new") in found

    eventually(look)
    assert found.index((FilesystemEventType.REMOVE, ".")) < found.index((FilesystemEventType.CREATE, "."))
    handle.stop()


# ---- somebody hostile inside ----


def test_files_that_hang_or_lie_are_answered(shared, folder):
    """FIFOs, sockets, devices and kernel files where a client reads, lists, removes and writes."""
    shared.commands.run(
        f"cd {folder}; mkfifo fifo; ln -s fifo to-fifo; ln -s /dev/zero zero; ln -s /proc/self/mem mem; "
        "ln -s /dev/tty tty; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")' || true; "
        "ln -s loop loop; ln -s /proc/self/fd/0 fd; ln -s /proc/kmsg kmsg")
    for name in ("fifo", "to-fifo", "zero", "tty", "loop", "mem", "fd", "kmsg"):
        for call in (lambda p: shared.files.read(p, request_timeout=20),
                     lambda p: shared.files.write(p, "x", request_timeout=20)):
            try:
                call(f"{folder}/{name}")
            except Exception as e:
                assert "timed out" not in str(e).lower(), (name, e)
    assert shared.files.list(folder)
    shared.files.remove(folder)
    assert shared.is_running()


def test_passwd_that_hangs(create):
    """Root inside owns /etc/passwd: a FIFO there must not hold up anybody."""
    sandbox = create()
    sandbox.commands.run("mv /etc/passwd /etc/passwd.was; mkfifo /etc/passwd", user="root")
    with pytest.raises(Exception):
        sandbox.files.list("/home", request_timeout=20)
    assert sandbox.is_running()
