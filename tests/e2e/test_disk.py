# SPDX-License-Identifier: Apache-2.0
"""A sandbox that has filled its disk: told so, alone in it, and well again with the first room."""

import pytest
from e2b import CommandExitException, NotEnoughSpaceException, Sandbox

from harness import Server, eventually, pointed_at

LIMIT_MB = 96
MB = 1 << 20


@pytest.fixture(scope="module")
def small():
    """A server whose sandboxes may write little; a process of its own reads its log."""
    server = Server(extra=["--disk-mb", str(LIMIT_MB), "--pool", "none"])
    with pointed_at(server):
        yield server
    status = server.stop()
    left = server.leftovers()
    server.remove()
    assert status == 0
    assert left == []


@pytest.fixture
def full(small):
    if "disk limits bind" not in small.log.read_text():
        pytest.skip("nothing on this host binds disk limits: carrel doctor says why")
    sandbox = Sandbox.create(timeout=120)
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run(f"head -c {2 * LIMIT_MB}M /dev/zero > /root/big", user="root")
    assert "quota exceeded" in caught.value.stderr or "No space left" in caught.value.stderr
    yield sandbox
    sandbox.kill()


def test_it_is_told_and_goes_on(full):
    size = int(full.commands.run("stat -c %s /root/big", user="root").stdout)
    assert LIMIT_MB * MB // 2 < size <= LIMIT_MB * MB
    # Streams and processes do without the disk.
    assert full.commands.run("seq 100000 | tail -1").stdout == "100000\n"
    assert full.files.exists("/etc/passwd")


def test_uploads_are_refused_whole(full):
    before = full.commands.run("ls -A /tmp").stdout
    with pytest.raises(NotEnoughSpaceException):
        full.files.write("/tmp/new", b"n" * (8 * MB))
    assert not full.files.exists("/tmp/new")
    assert full.commands.run("ls -A /tmp").stdout == before, "temporary files"


def test_room_comes_back(full):
    full.commands.run("rm /root/big", user="root")
    full.files.write("/tmp/new", b"n" * (16 * MB))
    assert full.files.read("/tmp/new", format="bytes")[-1:] == b"n"


def test_others_have_their_own(full):
    other = Sandbox.create(timeout=120)
    try:
        other.files.write("/tmp/new", b"n" * (16 * MB))
        assert other.commands.run("stat -c %s /tmp/new").stdout.strip() == str(16 * MB)
    finally:
        other.kill()


def test_it_is_measured(full):
    def sample():
        return [m for m in full.get_metrics() if m.disk_used > LIMIT_MB * MB // 2]

    metric = eventually(sample, 30, "a sample of the full disk")[-1]
    assert metric.disk_total == LIMIT_MB * MB
    assert metric.disk_used <= (LIMIT_MB + 2) * MB


def test_packages_fit_into_a_usual_limit(small):
    """Metadata counts as well: many small files are not many times their size."""
    sandbox = Sandbox.create(timeout=120)
    try:
        sandbox.commands.run("mkdir /tmp/t && cd /tmp/t && seq 5000 | split -l 1 -a 4")
        assert sandbox.commands.run("ls /tmp/t | wc -l").stdout.strip() == "5000"
    finally:
        sandbox.kill()
