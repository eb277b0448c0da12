# SPDX-License-Identifier: Apache-2.0
"""Files: content, directories, copies in both directions."""

import contextlib
import gzip
import io
import os
import shutil
import subprocess
import tarfile
from types import SimpleNamespace

import pytest
from carrel import (
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    NotEnoughSpaceException,
    SandboxException,
)
from conftest import run_python


def test_text_bytes_and_names(shared, folder):
    info = shared.files.write(f"{folder}/añ 1.txt", "line 1\nüñ\n")
    assert (info.name, info.path) == ("añ 1.txt", f"{folder}/añ 1.txt")
    assert shared.files.read(info.path) == "line 1\nüñ\n"
    assert shared.files.read(info.path, format="bytes") == "line 1\nüñ\n".encode()
    data = bytes(range(256)) * 5000
    shared.files.write(f"{folder}/b", data)
    assert shared.files.read(f"{folder}/b", format="bytes") == data
    shared.files.write(f"{folder}/empty", "")
    assert shared.files.read(f"{folder}/empty") == ""


@pytest.mark.parametrize("compress", [False, True])
def test_what_can_be_written(shared, folder, tmp_path, compress):
    data = os.urandom(700_000)
    (tmp_path / "local").write_bytes(data)
    with gzip.open(tmp_path / "packed.gz", "wb") as file:
        file.write(data)

    def pieces():
        yield data[:300_000]
        yield b""
        yield data[300_000:]

    with open(tmp_path / "local", "rb") as binary, gzip.open(tmp_path / "packed.gz") as packed:
        sources = [data, bytearray(data), memoryview(data), io.BytesIO(data), binary, packed]
        for source in [*sources, pieces()]:
            shared.files.write(f"{folder}/x", source, gzip=compress)
            assert shared.files.read(f"{folder}/x", format="bytes") == data
    shared.files.write(f"{folder}/t", io.StringIO("täxt"), gzip=compress)
    assert shared.files.read(f"{folder}/t") == "täxt"
    with open(tmp_path / "local", "rb") as file:
        file.seek(699_990)
        shared.files.write(f"{folder}/x", file)
    assert shared.files.read(f"{folder}/x", format="bytes") == data[699_990:]
    with pytest.raises(TypeError, match="cannot write int"):
        shared.files.write(f"{folder}/x", 5)


def test_many_at_once_and_metadata(shared, folder):
    files = [{"path": f"{folder}/m/{i}.txt", "data": f"of {i}"} for i in range(300)]
    files.append({"path": f"{folder}/m/stream", "data": io.BytesIO(b"streamed")})
    written = shared.files.write_files(files, metadata={"from": "test"})
    assert len(written) == 301 and written[0].metadata == {"from": "test"}
    assert shared.files.read(f"{folder}/m/299.txt") == "of 299"
    assert shared.files.read(f"{folder}/m/stream") == "streamed"
    assert shared.files.get_info(f"{folder}/m/7.txt").metadata == {"from": "test"}
    assert shared.files.write_files([]) == []


def test_reading_as_a_stream(shared, folder):
    data = os.urandom(3_000_000)
    shared.files.write(f"{folder}/s", data)
    assert b"".join(shared.files.read(f"{folder}/s", format="stream")) == data
    with shared.files.read(f"{folder}/s", format="stream") as stream:
        assert data.startswith(next(iter(stream)))
    assert shared.files.read(f"{folder}/s", format="bytes") == data  # and a connection is left


def test_entries(shared, folder):
    shared.files.write(f"{folder}/src/main.py", "print('main')")
    shared.files.write(f"{folder}/README.md", "# Project")
    shared.commands.run("ln -s README.md link; mkfifo fifo", cwd=folder)
    entries = {entry.name: entry for entry in shared.files.list(folder)}
    assert set(entries) == {"src", "README.md", "link"}  # a fifo is neither file nor directory
    assert entries["src"].is_dir and entries["src"].type == FileType.DIR == "dir"
    readme = entries["README.md"]
    assert not readme.is_dir and readme.size == 9 and readme.permissions == "-rw-r--r--"
    assert readme.owner == readme.group == "user" and readme.mode == 0o644
    assert readme.modified_time.tzinfo is not None
    assert entries["link"].symlink_target == f"{folder}/README.md"
    deep = shared.files.list(folder, depth=2)
    assert [e.path for e in deep if e.name == "main.py"] == [f"{folder}/src/main.py"]
    with pytest.raises(InvalidArgumentException):
        shared.files.list(folder, depth=0)


def test_directories_and_names(shared, folder):
    files = shared.files
    assert files.make_dir(f"{folder}/a/b") is True and files.make_dir(f"{folder}/a/b") is False
    files.write(f"{folder}/a/one", "1")
    assert files.rename(f"{folder}/a/one", f"{folder}/c/two").name == "two"
    assert files.exists(f"{folder}/c/two") and not files.exists(f"{folder}/a/one")
    files.remove(f"{folder}/c")
    files.remove(f"{folder}/c")
    assert not files.exists(f"{folder}/c/two")
    for call in (files.read, files.get_info, files.list):
        with pytest.raises(FileNotFoundException) as failure:
            call(f"{folder}/nothing")
        assert failure.value.code == "not_found" and folder in str(failure.value)
    with pytest.raises(InvalidArgumentException, match="directory"):
        files.read(folder)
    with pytest.raises(SandboxException):
        files.write(folder, "a directory is no file")


def test_whose_file_it_is(shared):
    shared.files.write("/root/secret", "of root", user="root")
    assert shared.files.get_info("/root/secret").owner == "root"
    assert shared.files.read("secret", user="root") == "of root"


def tree(top):
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                found[os.path.relpath(path, top)] = os.readlink(path)
            elif os.path.isdir(path):
                found[os.path.relpath(path, top)] = None
            else:
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = file.read()
    return found


def test_copies_of_directories(shared, folder, tmp_path):
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "a.txt").write_text("a")
    (source / "deep" / "er" / "ü b").write_bytes(os.urandom(100_000))
    (source / "none").write_bytes(b"")
    (source / "tool").write_text("")
    (source / "tool").chmod(0o755)
    os.link(source / "a.txt", source / "second")
    (source / "link").symlink_to("a.txt")
    (source / "loop").symlink_to(".")
    (source / "nowhere").symlink_to("/no/such")
    seen = []
    shared.files.upload(source, f"{folder}/up", progress=seen.append)
    assert seen == sorted(seen) and seen[-1] >= 100_001
    back = tmp_path / "back"
    count = shared.files.download(f"{folder}/up", back)
    expected = {k: v for k, v in tree(source).items() if k != "nowhere"}  # leads out
    assert tree(back) == expected and count == 100_002
    assert (back / "tool").stat().st_mode & 0o111
    (back / "own").write_text("mine")
    shared.files.download(f"{folder}/up", back)  # once more, into what is there
    assert tree(back) == {**expected, "own": b"mine"}
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".carrel")]
    shared.files.upload(source, f"{folder}/into/")
    assert shared.files.read(f"{folder}/into/source/a.txt") == "a"


def test_copies_of_files(shared, folder, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 1_000_000)
    shared.files.upload(tmp_path / "f", f"{folder}/f")
    shared.files.upload(io.BytesIO(b"of memory"), f"{folder}/g")
    assert shared.files.get_info(f"{folder}/f").size == 1_000_000
    target = io.BytesIO()
    assert shared.files.download(f"{folder}/f", target) == 1_000_000
    assert target.getvalue() == b"x" * 1_000_000
    shared.files.download(f"{folder}/g", str(tmp_path))  # into a directory, under its own name
    assert (tmp_path / "g").read_bytes() == b"of memory"
    assert (tmp_path / "g").stat().st_mode & 0o777 == 0o666 & ~current_umask()
    with pytest.raises(FileNotFoundException):
        shared.files.download(f"{folder}/nothing", tmp_path / "h")
    with pytest.raises(FileNotFoundError):
        shared.files.upload(tmp_path / "nothing", f"{folder}/h")
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


# ---- bad input ----


def test_names_that_are_not_utf8(shared, folder, tmp_path):
    shared.commands.run("printf x > $'bad\\xff'; echo y > good", cwd=folder)
    entries = {entry.name for entry in shared.files.list(folder)}
    assert entries == {"bad\N{REPLACEMENT CHARACTER}", "good"}
    shared.files.download(folder, tmp_path / "copy")  # a directory takes any names
    assert set(os.listdir(bytes(tmp_path / "copy"))) == {b"bad\xff", b"good"}
    shared.files.upload(tmp_path / "copy", f"{folder}/back")
    shared.commands.run("cmp $'bad\\xff' $'back/bad\\xff'", cwd=folder)
    for call in (shared.files.read, shared.files.list, shared.files.exists):
        with pytest.raises(InvalidArgumentException, match="UTF-8"):
            call(os.fsdecode(b"bad\xff"))
    shared.files.remove(folder)


def test_a_listing_of_many(shared, folder):
    shared.commands.run(
        "seq -f 'file number %06g of many' 10000 | xargs -d '\\n' touch", cwd=folder
    )
    entries = shared.files.list(folder)
    assert len(entries) == 10000 and len({entry.name for entry in entries}) == 10000
    shared.files.remove(folder)


def test_hostile_archives_stay_inside(tmp_path):
    """What a sandbox could send for a directory: nothing is written outside the target."""
    from carrel._transfer import Copy, TarReader, unpack

    def archive(*members):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for name, kind, link in members:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, link
                info.size = 1 if kind == tarfile.REGTYPE else 0
                tar.addfile(info, io.BytesIO(b"x"))
        return data.getvalue()

    target = tmp_path / "target"
    file, link, hard, fifo = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE
    for members in (
        [("../evil", file, "")],
        [("a/../../evil", file, "")],
        [("/evil", file, "")],
        [("out", link, ".."), ("out/evil", file, "")],
        [("out", link, str(tmp_path)), ("out/evil", file, "")],
        [("passwd", hard, "../../../../etc/passwd")],
        [("pipe", fifo, "")],
        [("in", link, "."), ("in/in/../../evil", file, "")],
        [("x/y", link, ".."), ("l", link, "x/y/../..")],
    ):
        target.mkdir()
        data = iter([archive(*members)])
        reader = TarReader(lambda: next(data, b""), Copy(SimpleNamespace(_io=None), None, 0, None))
        with contextlib.suppress(SandboxException):
            unpack(reader, str(target))
        assert os.listdir(tmp_path) == ["target"], members
        names = {name for _, folders, files in os.walk(target) for name in folders + files}
        assert names <= {"evil", "a", "in", "out", "x", "y"}, names
        assert not os.path.lexists(target / "l") and not (target / "out").is_symlink()
        shutil.rmtree(target)


def test_a_full_disk_here_leaves_nothing(shared, folder, tmp_path):
    """A download that the local disk cannot hold: the old file stays, nothing partial is left."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", mount], check=True)
    try:
        (mount / "big").write_text("old")
        shared.files.write(f"{folder}/big", b"x" * 4_000_000)
        with pytest.raises(OSError, match="No space left"):
            shared.files.download(f"{folder}/big", mount / "big")
        assert os.listdir(mount) == ["big"] and (mount / "big").read_text() == "old"
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_full_disk_there(shared):
    shared.commands.run("mkdir -p /tmp/small", user="root")
    with pytest.raises((NotEnoughSpaceException, SandboxException)) as failure:
        shared.files.write("/dev/full", "x")
    assert str(failure.value)


def test_a_source_that_fails_leaves_the_old_file(shared, folder):
    shared.files.write(f"{folder}/x", "old")

    class Broken(io.RawIOBase):
        parts = [b"new " * 100_000, OSError("the disk has gone")]

        def read(self, size=-1):
            part = self.parts.pop(0)
            if isinstance(part, Exception):
                raise part
            return part

    with pytest.raises(OSError, match="the disk has gone"):
        shared.files.write(f"{folder}/x", Broken())
    assert shared.files.read(f"{folder}/x") == "old"


def test_a_file_that_shrinks_while_it_is_sent(shared, folder, tmp_path):
    shared.files.write(f"{folder}/x", "old")
    (tmp_path / "x").write_bytes(b"n" * 1_000_000)
    with open(tmp_path / "x", "rb") as file:

        def shrink(done):
            os.truncate(tmp_path / "x", 300_000)

        with pytest.raises(OSError, match="before it should"):
            shared.files.upload(file, f"{folder}/x", progress=shrink)
    assert shared.files.read(f"{folder}/x") == "old"


async def test_awaiting(awaiting, folder, tmp_path):
    files = awaiting.files
    data = os.urandom(2_000_000)

    async def pieces():
        yield data[:1_000_000]
        yield data[1_000_000:]

    await files.write(f"{folder}/a", pieces())
    assert await files.read(f"{folder}/a", format="bytes") == data
    stream = await files.read(f"{folder}/a", format="stream")
    assert b"".join([piece async for piece in stream]) == data
    await files.download(f"{folder}/a", tmp_path / "a")
    await files.upload(tmp_path / "a", f"{folder}/b")
    assert (await files.get_info(f"{folder}/b")).size == 2_000_000
    assert {entry.name for entry in await files.list(folder)} == {"a", "b"}
    with pytest.raises(FileNotFoundException):
        await files.read(f"{folder}/nothing")


def test_memory_stays_flat(shared, folder, tmp_path):
    """200 MB in each direction while 40 MB of address space are left to the client."""
    script = (
        "import resource, sys\n"
        "from carrel import Sandbox\n"
        f"s = Sandbox.connect({shared.sandbox_id!r})\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20),) * 2)\n"
        f"s.files.upload('big', '{folder}/big')\n"
        f"print(s.files.download('{folder}/big', 'back'))\n"
    )
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 200 << 20)
    done = run_python(script, tmp_path)
    assert done.stdout == f"{200 << 20}\n", done.stderr
    shared.files.remove(f"{folder}/big")
