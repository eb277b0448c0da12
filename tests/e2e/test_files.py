# SPDX-License-Identifier: Apache-2.0
"""Files through the SDK and over the wire (protocol.md 3.3 to 3.6 and 5.5 to 5.8)."""

import gzip
import hashlib
import io
import os
import time
import uuid
from urllib.parse import quote, urlencode

import pytest
import requests
from e2b import (
    AuthenticationException,
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    SandboxException,
    TimeoutException,
)


@pytest.fixture
def files(shared):
    return shared.files


@pytest.fixture
def folder(shared):
    """A fresh directory of the default user."""
    path = f"/home/user/t-{uuid.uuid4().hex[:8]}"
    shared.files.make_dir(path)
    return path


# ---- write and read -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "plain\n", "zweizeilig\r\n\tünï — 漢字 🚀\n", "a\0b"])
def test_text(files, folder, text):
    info = files.write(f"{folder}/a.txt", text)
    assert (info.name, info.path, info.type) == ("a.txt", f"{folder}/a.txt", FileType.FILE)
    assert files.read(f"{folder}/a.txt") == text
    assert files.read(f"{folder}/a.txt", format="bytes") == text.encode()


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "ünïcode-漢字-🚀",
        "quo\"te'",
        "percent%20%",
        "a+b&c=d;e",
        "-dash",
        "semi;colon",
        "back\\slash",
        "new\nline",
    ],
)
def test_names(shared, folder, name):
    path = f"{folder}/{name}"
    shared.files.write(path, name)
    assert shared.files.read(path) == name
    assert [e.name for e in shared.files.list(folder)] == [name]
    assert shared.files.exists(path)
    shared.files.write_files(
        [{"path": f"{folder}/{name}.1", "data": "1"}, {"path": f"{folder}/{name}.2", "data": "2"}]
    )
    assert shared.files.read(f"{folder}/{name}.2") == "2"
    shared.files.remove(path)
    assert not shared.files.exists(path)


def test_all_byte_values(files, folder):
    data = bytes(range(256)) * 300
    files.write(f"{folder}/b", data)
    assert files.read(f"{folder}/b", format="bytes") == data
    assert b"".join(files.read(f"{folder}/b", format="stream")) == data


def test_overwrite_keeps_mode_and_shrinks(shared, folder):
    shared.files.write(f"{folder}/x", "long content")
    shared.commands.run(f"chmod 0640 {folder}/x")
    shared.files.write(f"{folder}/x", "short")
    assert shared.files.read(f"{folder}/x") == "short"
    assert shared.files.get_info(f"{folder}/x").mode == 0o640


def test_parents_are_made(shared, folder):
    shared.files.write(f"{folder}/p/q/r.txt", "deep")
    assert shared.commands.run(f"stat -c '%U:%G %a' {folder}/p/q").stdout == "user:user 755\n"
    assert shared.commands.run(f"stat -c '%U:%G %a' {folder}/p/q/r.txt").stdout == "user:user 644\n"


def test_through_symlinks(shared, folder):
    shared.commands.run(
        f"mkdir {folder}/real && ln -s real {folder}/link && ln -s real/f {folder}/fl"
    )
    shared.files.write(f"{folder}/link/f", "1")
    assert shared.files.read(f"{folder}/real/f") == "1"
    shared.files.write(f"{folder}/fl", "2")
    assert shared.files.read(f"{folder}/real/f") == "2"
    assert shared.commands.run(f"readlink {folder}/fl").stdout == "real/f\n"


@pytest.mark.parametrize("kind", ["multipart", "octet-stream", "stream", "gzip"])
def test_64_mib(shared, folder, kind):
    data = hashlib.shake_256(kind.encode()).digest(1 << 20) * 64
    digest = hashlib.sha256(data).hexdigest()
    path = f"{folder}/big"
    if kind == "stream":
        shared.files.write(path, io.BytesIO(data))
    elif kind == "gzip":
        shared.files.write(path, data, gzip=True)
    else:
        shared.files.write(path, data, use_octet_stream=kind == "octet-stream")
    assert shared.commands.run(f"sha256sum < {path}").stdout.split()[0] == digest
    assert hashlib.sha256(shared.files.read(path, format="bytes")).hexdigest() == digest
    shared.files.remove(path)


def test_iterable_upload_is_chunked(files, folder):
    files.write(f"{folder}/it", (b"%d\n" % n for n in range(10000)))
    assert files.read(f"{folder}/it") == "".join(f"{n}\n" for n in range(10000))


def test_many_files_in_one_request(files, folder):
    entries = [
        {"path": f"{folder}/many/{n % 7}/{n}.txt", "data": f"content {n}"} for n in range(300)
    ]
    written = files.write_files(entries)
    assert [w.path for w in written] == [e["path"] for e in entries]
    assert files.read(f"{folder}/many/3/297.txt") == "content 297"
    listed = [e for e in files.list(f"{folder}/many", depth=2) if e.type == FileType.FILE]
    assert len(listed) == 300


def test_gzip_download(files, folder):
    files.write(f"{folder}/z", "squeeze " * 10000)
    assert files.read(f"{folder}/z", gzip=True) == "squeeze " * 10000


def test_metadata(shared, folder):
    path = f"{folder}/m"
    assert shared.files.write(path, "1", metadata={"Author": "me", "k2": "v 2"}).metadata == {
        "author": "me",
        "k2": "v 2",
    }
    assert shared.files.get_info(path).metadata == {"author": "me", "k2": "v 2"}
    assert shared.files.list(folder)[0].metadata == {"author": "me", "k2": "v 2"}
    moved = shared.files.rename(path, path + "2")
    assert moved.metadata == {"author": "me", "k2": "v 2"}
    shared.files.write(path + "2", "2")
    assert shared.files.get_info(path + "2").metadata is None
    shared.commands.run(
        f"python3 -c \"import os; os.setxattr('{path}2', 'user.e2b.inside', b'yes')\""
    )
    assert shared.files.get_info(path + "2").metadata == {"inside": "yes"}


def test_special_files_of_the_kernel(files):
    assert files.read("/proc/sys/kernel/ostype") == "Linux\n"


def test_empty_file_says_its_length(server, shared, folder):
    shared.files.write(f"{folder}/empty", "")
    token = server.token(shared.sandbox_id)
    reply = server.sandbox(shared.sandbox_id, "GET", f"/files?path={folder}/empty", token=token)
    assert reply.status == 200 and reply.headers["Content-Length"] == "0" and reply.body == b""


def test_ranges_and_conditions(server, shared, folder):
    shared.files.write(f"{folder}/r", "0123456789")
    token = server.token(shared.sandbox_id)

    def get(**headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.sandbox(
            shared.sandbox_id, "GET", f"/files?path={folder}/r", headers=headers, token=token
        )

    whole = get()
    assert whole.status == 200 and whole.headers["Accept-Ranges"] == "bytes"
    part = get(Range="bytes=2-4")
    assert part.status == 206 and part.body == b"234"
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    assert get(Range="bytes=-3").body == b"789"
    assert get(Range="bytes=20-").status == 416
    assert get(If_Modified_Since=whole.headers["Last-Modified"]).status == 304


# ---- users and paths ----------------------------------------------------------------------------


def test_users(shared, folder):
    shared.files.write(f"{folder}/as-root", "r", user="root")
    shared.files.write(f"{folder}/as-user", "u", user="user")
    owners = {e.name: (e.owner, e.group) for e in shared.files.list(folder)}
    assert owners == {"as-root": ("root", "root"), "as-user": ("user", "user")}
    shared.files.write("/root/secret", "s", user="root")
    assert shared.files.read("/root/secret", user="root") == "s"
    with pytest.raises(AuthenticationException, match="nobody-here"):
        shared.files.read("/etc/hostname", user="nobody-here")
    with pytest.raises(AuthenticationException, match="nobody-here"):
        shared.files.list("/", user="nobody-here")
    with pytest.raises(AuthenticationException, match="nobody-here"):
        shared.files.write("/tmp/x", "x", user="nobody-here")


def test_relative_and_home_paths(shared, folder):
    name = os.path.basename(folder)
    assert shared.files.write(f"{name}/rel", "1").path == f"{folder}/rel"
    assert shared.files.read(f"~/{name}/rel") == "1"
    assert shared.files.get_info(f"~/{name}/rel").path == f"{folder}/rel"
    assert shared.files.write("rel-root", "2", user="root").path == "/root/rel-root"
    assert shared.files.exists("~/rel-root", user="root")
    assert shared.files.read(f"{folder}/../{name}/rel") == "1"
    with pytest.raises(InvalidArgumentException):
        shared.files.read("~other/x")
    with pytest.raises(InvalidArgumentException):
        shared.files.list("~other/x")


def test_top_directories_can_be_made_by_upload(shared):
    shared.files.write("/0/x.txt", "top")
    assert shared.commands.run("cat /0/x.txt").stdout == "top"


# ---- what is not there, and what is a directory -------------------------------------------------


def test_missing(files, folder):
    for call in (
        lambda p: files.read(p),
        files.list,
        files.get_info,
        lambda p: files.rename(p, p + "2"),
    ):
        with pytest.raises(FileNotFoundException, match="no-such"):
            call(f"{folder}/no-such")
    assert not files.exists(f"{folder}/no-such")
    files.remove(f"{folder}/no-such")  # a missing path is no failure


def test_directory_where_a_file_is_meant(files, folder):
    with pytest.raises(InvalidArgumentException, match="is a directory"):
        files.read(folder)
    with pytest.raises(InvalidArgumentException, match="is a directory"):
        files.write(folder, "x")


def test_file_where_a_directory_is_meant(files, folder):
    files.write(f"{folder}/f", "x")
    with pytest.raises(InvalidArgumentException):
        files.list(f"{folder}/f")
    with pytest.raises(InvalidArgumentException):
        files.make_dir(f"{folder}/f")
    with pytest.raises(SandboxException):
        files.write(f"{folder}/f/below", "x")
    assert files.read(f"{folder}/f") == "x"


def test_same_target_twice_in_one_request(files, folder):
    with pytest.raises(InvalidArgumentException):
        files.write_files(
            [{"path": f"{folder}/d", "data": "1"}, {"path": f"{folder}/d", "data": "2"}]
        )


# ---- list, info, make, move, remove -------------------------------------------------------------


@pytest.fixture
def tree(shared, folder):
    shared.files.write_files(
        [
            {"path": f"{folder}/{p}", "data": p}
            for p in ("b.txt", "a/1.txt", "a/deep/2.txt", "c/3.txt", "a-file")
        ]
    )
    shared.commands.run(f"ln -s a {folder}/link && ln -s nowhere {folder}/broken")
    return folder


def test_list_depth(files, tree):
    def names(depth):
        return [e.path[len(tree) + 1 :] for e in files.list(tree, depth=depth)]

    assert [n for n in names(1) if n != "broken"] == ["a", "a-file", "b.txt", "c", "link"]
    assert [n for n in names(2) if n != "broken"] == [
        "a",
        "a/1.txt",
        "a/deep",
        "a-file",
        "b.txt",
        "c",
        "c/3.txt",
        "link",
    ]
    assert "a/deep/2.txt" in names(3) and "link/1.txt" not in names(5)
    with pytest.raises(InvalidArgumentException):
        files.list(tree, depth=0)


def test_list_entries(files, tree):
    entries = {e.name: e for e in files.list(tree)}
    a, b = entries["a"], entries["b.txt"]
    assert (a.type, a.permissions, a.mode, a.path) == (
        FileType.DIR,
        "drwxr-xr-x",
        0o755,
        f"{tree}/a",
    )
    assert (b.type, b.permissions, b.mode, b.size) == (FileType.FILE, "-rw-r--r--", 0o644, 5)
    assert b.owner == b.group == "user"
    assert abs(b.modified_time.timestamp() - time.time()) < 60
    assert entries["link"].symlink_target == f"{tree}/a"
    # the root may itself be a link; its entries keep the path asked for
    assert files.list(f"{tree}/link")[0].path.startswith(f"{tree}/link/")


def test_info_of_kinds(shared, tree):
    files = shared.files
    shared.commands.run(
        f"cd {tree} && mkfifo pipe && chmod u+s b.txt && chmod 1777 c && chmod g+s a"
    )
    assert files.get_info(f"{tree}/link").symlink_target == f"{tree}/a"
    assert files.get_info(f"{tree}/broken").symlink_target == f"{tree}/broken"
    assert files.get_info(f"{tree}/pipe").permissions.startswith("p")
    assert files.get_info(f"{tree}/b.txt").permissions == "urw-r--r--"
    assert files.get_info(f"{tree}/c").permissions == "dtrwxrwxrwx"
    assert files.get_info(f"{tree}/a").permissions == "dgrwxr-xr-x"
    assert files.get_info("/").type == FileType.DIR
    assert files.get_info("/dev/null").permissions.startswith("Dc")


def test_make_dir(shared, folder):
    assert shared.files.make_dir(f"{folder}/x/y/z") is True
    assert shared.files.make_dir(f"{folder}/x/y/z") is False
    assert shared.commands.run(f"stat -c %U {folder}/x").stdout == "user\n"


def test_rename(files, tree):
    moved = files.rename(f"{tree}/b.txt", f"{tree}/new/place.txt")
    assert (moved.name, moved.path, moved.size) == ("place.txt", f"{tree}/new/place.txt", 5)
    assert not files.exists(f"{tree}/b.txt")
    files.rename(f"{tree}/new/place.txt", f"{tree}/a-file")  # files are overwritten
    assert files.read(f"{tree}/a-file") == "b.txt"
    files.rename(f"{tree}/a", f"{tree}/moved-dir")
    assert files.read(f"{tree}/moved-dir/deep/2.txt") == "a/deep/2.txt"
    files.make_dir(f"{tree}/empty")
    with pytest.raises(SandboxException):
        files.rename(f"{tree}/c", f"{tree}/empty")  # an existing directory is no target


def test_remove(files, tree):
    files.remove(f"{tree}/link")
    assert files.exists(f"{tree}/a/1.txt")
    files.remove(f"{tree}/a")
    assert not files.exists(f"{tree}/a")
    files.remove(tree)
    assert not files.exists(tree)


# ---- signed addresses ---------------------------------------------------------------------------


def test_signed_upload_and_download(shared, folder):
    path = f"{folder}/signed file+1.txt"
    reply = requests.post(shared.upload_url(path), files={"file": b"by form"}, timeout=20)
    assert reply.status_code == 200, reply.text
    assert reply.json() == [{"name": "signed file+1.txt", "path": path, "type": "file"}]
    reply = requests.get(shared.download_url(path), timeout=20)
    assert (reply.status_code, reply.content) == (200, b"by form")
    url = shared.download_url(path, user="root", use_signature_expiration=60)
    assert requests.get(url, timeout=20).content == b"by form"


def test_signed_expired(shared, folder):
    shared.files.write(f"{folder}/s", "x")
    url = shared.download_url(f"{folder}/s", use_signature_expiration=-10)
    reply = requests.get(url, timeout=20)
    assert reply.status_code == 401
    assert reply.json() == {"code": 401, "message": "signature is already expired"}


def test_signed_for_something_else(server, shared, folder):
    shared.files.write(f"{folder}/s", "x")
    url = shared.download_url(f"{folder}/s")
    # the signature names the sandbox, so a wrong one can name none: say it by header
    headers = {"E2b-Sandbox-Id": shared.sandbox_id, "E2b-Sandbox-Port": "49983"}
    for bad in (
        url.replace(quote(f"{folder}/s", safe=""), "%2Fetc%2Fpasswd"),
        url + "&username=root",
        url.replace("v1_", "v1_A"),
    ):
        reply = requests.get(bad, headers=headers, timeout=20)
        assert reply.status_code == 401 and reply.json()["message"] == "invalid signature", (
            reply.text
        )
    upload = shared.upload_url(f"{folder}/s")
    reply = requests.get(upload, headers=headers, timeout=20)
    assert reply.status_code == 401, "a signature for writing does not read"
    plain = f"{server.url}/files?{urlencode({'path': f'{folder}/s'})}"
    reply = requests.get(plain, headers=headers, timeout=20)
    assert reply.status_code == 401
    assert reply.json()["message"] == "missing signature query parameter"
    reply = requests.get(plain, headers={**headers, "X-Access-Token": "wrong"}, timeout=20)
    assert reply.status_code == 401
    assert reply.json()["message"] == "access token present in header but does not match"


def test_signed_address_dies_with_the_sandbox(create):
    sandbox = create()
    sandbox.files.write("x", "x")
    url = sandbox.download_url("x")
    assert requests.get(url, timeout=20).status_code == 200
    sandbox.kill()
    assert requests.get(url, timeout=20).status_code in (401, 404, 502)


# ---- over the wire ------------------------------------------------------------------------------


def test_chunked_gzip_upload(server, shared, folder):
    token = server.token(shared.sandbox_id)
    body = gzip.compress(b"two members, ") + gzip.compress(b"one file")
    headers = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
    reply = server.sandbox(
        shared.sandbox_id, "POST", f"/files?path={folder}/g", body, headers, token=token
    )
    assert reply.status == 200, reply.text
    assert shared.files.read(f"{folder}/g") == "two members, one file"


def test_expect_continue(server, shared, folder):
    token = server.token(shared.sandbox_id)
    with server.connect() as sock:
        sock.sendall(
            (
                f"POST /files?path={folder}/e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                f"E2b-Sandbox-Id: {shared.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\n"
                f"X-Access-Token: {token}\r\nContent-Type: application/octet-stream\r\n"
                "Content-Length: 5\r\n\r\n"
            ).encode()
        )
        assert sock.recv(4096).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"12345")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert shared.files.read(f"{folder}/e") == "12345"


def test_files_of_a_dead_sandbox(create):
    sandbox = create()
    sandbox.kill()
    with pytest.raises(TimeoutException):
        sandbox.files.write("x", "y")
    with pytest.raises(TimeoutException):
        sandbox.files.list("/")
