# SPDX-License-Identifier: Apache-2.0
"""Output on its way to readers: complete, in order, once; slow, late and vanished readers."""
import base64
import hashlib
import os
import socket

import pytest

from conftest import CONFIG, Agent

MIB = 1 << 20


def test_16_mib_arrive_unchanged(agent, tmp_path):
    content = os.urandom(16 * MIB)
    (tmp_path / "f").write_bytes(content)
    out, _ = agent.run("/bin/cat", str(tmp_path / "f"))
    assert hashlib.sha256(out["stdout"]).digest() == hashlib.sha256(content).digest()


def test_two_outputs_keep_their_own_order(agent):
    out, _ = agent.sh("for i in $(seq 2000); do echo $i; echo $i >&2; done").finish()
    expected = "".join(f"{i}\n" for i in range(1, 2001)).encode()
    assert out["stdout"] == out["stderr"] == expected


def test_chunks_are_bounded_and_do_not_cut_characters(agent, tmp_path):
    text = ("a€" + "😀é" * 40000).encode()
    (tmp_path / "f").write_bytes(text)
    got = b""
    for event in agent.start("/bin/cat", str(tmp_path / "f")).events():
        if "data" in event:
            piece = base64.b64decode(event["data"]["stdout"])
            assert 0 < len(piece) <= 32768
            piece.decode()
            got += piece
    assert got == text


@pytest.mark.parametrize("script, kind", [("cat $1 >&2", "stderr"), ("stty -opost; cat $1", "pty")])
def test_characters_stay_whole_wherever_they_are_written(agent, tmp_path, script, kind):
    text = ("a€" + "😀é" * 20000).encode()
    (tmp_path / "f").write_bytes(text)
    pty = {"pty": {"size": {"cols": 80, "rows": 24}}} if kind == "pty" else {}
    got = b""
    for event in agent.sh(script, str(tmp_path / "f"), **pty).events():
        if "data" in event:
            piece = base64.b64decode(event["data"][kind])
            piece.decode()
            got += piece
    assert got == text


def test_half_a_character_is_not_withheld(agent):
    stream = agent.sh(r"printf 'x\342'; read go; printf '\202\254y'", stdin=True)
    assert stream.until(b"\xe2") == b"x\xe2"
    agent.send(stream.pid, b"\n")
    out, _ = stream.finish()
    assert out["stdout"] == b"\x82\xacy"


def test_a_lone_byte_at_the_end(agent):
    out, _ = agent.sh(r"head -c 8191 /dev/zero | tr '\0' a; printf '\342'").finish()
    assert out["stdout"] == b"a" * 8191 + b"\xe2"


def test_two_readers_get_the_same(agent, tmp_path):
    content = os.urandom(MIB)
    (tmp_path / "f").write_bytes(content)
    first = agent.sh("read go; cat $1", str(tmp_path / "f"), stdin=True)
    second = agent.attach(first.pid)
    agent.send(first.pid, b"\n")
    for stream in (first, second):
        out, end = stream.finish()
        assert out["stdout"] == content and end["exited"]


def test_a_late_reader_beside_another_sees_only_what_is_new(agent):
    first = agent.sh("echo one; read go; echo two", stdin=True)
    assert first.data() == b"one\n"
    second = agent.attach(first.pid)
    agent.send(first.pid, b"\n")
    assert second.finish()[0]["stdout"] == b"two\n"
    assert first.finish()[0]["stdout"] == b"two\n"


def leave(agent, stream):
    """The client goes; returns when the agent can be expected to know."""
    stream.close()
    agent.request("GET", "/health")


def test_what_nobody_saw_goes_to_the_next(agent):
    stream = agent.sh("echo one; read a; echo two; read b; echo three", stdin=True)
    pid = stream.pid
    assert stream.data() == b"one\n"
    leave(agent, stream)
    agent.send(pid, b"\n")
    stream = agent.attach(pid)
    assert stream.data() == b"two\n"
    leave(agent, stream)
    agent.send(pid, b"\n")
    agent.wait_gone(pid)
    assert agent.attach(pid).finish()[0]["stdout"] == b"three\n"
    out, end = agent.attach(pid).finish()
    assert out["stdout"] == b"" and end["exited"]


def test_disconnecting_does_not_kill(agent):
    stream = agent.start("/bin/cat", stdin=True)
    pid = stream.pid
    leave(agent, stream)
    assert pid in agent.pids()
    again = agent.attach(pid)
    agent.send(pid, b"x")
    assert again.data() == b"x"
    agent.unary("CloseStdin", {"process": {"pid": pid}})
    assert again.finish()[1]["exited"]


@pytest.fixture
def small_agent(tmp_path):
    """Holds 1 MiB of a process in memory and 4 MiB in all."""
    agent = Agent(str(tmp_path), {**CONFIG, "spool": {"processBytes": 4 * MIB}})
    yield agent
    agent.stop()


def test_at_the_bound_the_oldest_goes_and_is_counted(small_agent, tmp_path):
    agent = small_agent
    content = os.urandom(9 * MIB)
    (tmp_path / "f").write_bytes(content)
    stream = agent.sh("read go; cat $1", str(tmp_path / "f"), stdin=True)
    leave(agent, stream)
    agent.send(stream.pid, b"\n")
    agent.wait_gone(stream.pid)
    late = agent.attach(stream.pid)
    late.position = 0
    out, end = late.finish()
    kept = out["stdout"]
    assert 4 * MIB * 7 // 8 < len(kept) <= 4 * MIB
    assert content.endswith(kept)
    assert late.missed == len(content) - len(kept)
    assert late.end["metadata"] == {"carrel-missed-bytes": [str(late.missed)]}
    assert end["exited"]


def test_a_process_waits_at_the_bound_for_a_reader_that_reads(small_agent, tmp_path):
    content = os.urandom(40 * MIB)
    (tmp_path / "f").write_bytes(content)
    stream = small_agent.sh("cat $1; cat $1", str(tmp_path / "f"))
    out, end = stream.finish()
    assert out["stdout"] == content * 2 and stream.end == {}


def test_but_not_for_one_that_does_not(tmp_path):
    limits = {"processBytes": 4 * MIB, "holdSeconds": 1}
    agent = Agent(str(tmp_path), {**CONFIG, "spool": limits})
    try:
        stream = agent.sh("head -c 20000000 /dev/zero; printf end")
        agent.wait_gone(stream.pid)
        out, end = stream.finish()
        assert end["exited"] and out["stdout"].endswith(b"end") and stream.missed > 10 * MIB
        assert len(out["stdout"]) + stream.missed == 20000003
    finally:
        agent.stop()


def test_memory_and_then_disk_hold_what_nobody_reads(agent, tmp_path):
    content = os.urandom(20 * MIB)
    (tmp_path / "f").write_bytes(content)
    stream = agent.sh("read go; cat $1", str(tmp_path / "f"), stdin=True)
    leave(agent, stream)
    agent.send(stream.pid, b"\n")
    agent.wait_gone(stream.pid)
    late = agent.attach(stream.pid)
    out, end = late.finish()
    assert out["stdout"] == content and late.end == {} and end["exited"]


@pytest.mark.parametrize("size", [8 * MIB, 40 * MIB])
def test_a_reader_that_does_not_read_holds_up_nobody(agent, tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    fast = agent.sh("read go; cat $1", str(tmp_path / "f"), stdin=True)
    stuck = agent.attach(fast.pid)
    agent.send(fast.pid, b"\n")
    out, _ = fast.finish()
    assert out["stdout"] == content
    out, end = stuck.finish()
    assert out["stdout"] == content and stuck.end == {} and end["exited"]


def test_a_slow_reader_delays_neither_the_process_nor_loses_anything(agent, tmp_path):
    content = os.urandom(8 * MIB)
    (tmp_path / "f").write_bytes(content)
    stream = agent.sh("cat $1; exit 3", str(tmp_path / "f"))
    agent.wait_gone(stream.pid)  # ended, with next to nothing read
    out, end = stream.finish()
    assert out["stdout"] == content and end["exitCode"] == 3
    assert stream.end == {}


def test_what_a_stuck_reader_has_not_taken_goes_to_the_next(agent, tmp_path):
    content = os.urandom(8 * MIB)
    (tmp_path / "f").write_bytes(content)
    stuck = agent.sh("cat $1; read end", str(tmp_path / "f"), stdin=True)
    first = base64.b64decode(next(stuck)["event"]["data"]["stdout"])
    assert content.startswith(first)
    # The connection is half dead: nobody reads it, but it is there.
    late = agent.attach(stuck.pid)
    agent.send(stuck.pid, b"\n")
    out, end = late.finish()
    assert len(out["stdout"]) > 7 * MIB and content.endswith(out["stdout"]) and end["exited"]


def test_a_process_held_up_goes_on_when_its_reader_leaves(agent, tmp_path):
    (tmp_path / "f").write_bytes(bytes(8 * MIB))
    stream = agent.sh("cat $1", str(tmp_path / "f"))
    leave(agent, stream)
    agent.wait_gone(stream.pid)
    assert agent.attach(stream.pid).finish()[1]["exited"]


def test_a_flood_that_is_killed(agent):
    stream = agent.start("/usr/bin/yes")
    for _ in range(20):
        assert stream.data().startswith((b"y", b"\n"))
    agent.signal(stream.pid)
    out, end = stream.finish()
    assert end["status"] == "signal: killed"


def test_a_stuck_reader_of_a_flood_and_a_kill(agent):
    stream = agent.start("/usr/bin/yes")
    for _ in range(200):
        agent.request("GET", "/health")
    agent.signal(stream.pid)
    out, end = stream.finish()
    assert end["status"] == "signal: killed"
    assert set(out["stdout"]) == set(b"y\n")


def test_cut_in_the_middle_of_a_frame(agent):
    """The connection breaks while much is under way; the agent and the process go on."""
    for size in (1, 100, 5000, 300000):
        stream = agent.sh("head -c 3000000 /dev/zero; read go; echo end", stdin=True)
        s = stream.connection.sock
        got = 0
        while got < size:
            got += len(s.recv(min(65536, size - got)))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stream.close()
        again = agent.attach(stream.pid)
        agent.send(stream.pid, b"\n")
        out, end = again.finish()
        assert out["stdout"].endswith(b"end\n") and end["exited"]
