# SPDX-License-Identifier: Apache-2.0
"""Input: pipes, terminals, streams of it; back-pressure and closed ends."""
import base64
import json
import os
import threading

import pytest
from conftest import Stream, envelope, refused

PTY = {"size": {"cols": 80, "rows": 24}}


def b64(data):
    return base64.b64encode(data).decode()


def test_stdin_and_its_end(agent, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stream = agent.sh("cat; cat $1", str(fifo), stdin=True)
    agent.send(stream.pid, b"one\n")
    assert stream.data() == b"one\n"
    agent.send(stream.pid, b"")
    agent.send(stream.pid, b"\x00\xfftwo")
    for _ in range(2):
        assert agent.unary("CloseStdin", {"process": {"pid": stream.pid}}) == {}
    refused(lambda: agent.send(stream.pid, b"x"), "internal")
    fifo.write_bytes(b"")
    out, end = stream.finish()
    assert out["stdout"] == b"\x00\xfftwo" and end["exited"]


def test_stdin_is_open_unless_refused(agent):
    stream = agent.stream("Start", {"process": {"cmd": "/bin/cat"}}).started()
    agent.send(stream.pid, b"x")
    agent.unary("CloseStdin", {"process": {"pid": stream.pid}})
    assert stream.finish()[0]["stdout"] == b"x"
    assert agent.run("/bin/cat", stdin=False)[0]["stdout"] == b""


def test_input_to_a_process_without(agent, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stream = agent.start("/bin/cat", str(fifo), stdin=False)
    message = refused(lambda: agent.send(stream.pid, b"x"), "internal")
    assert message == "stdin not enabled or closed"
    refused(lambda: agent.send(stream.pid, b"x", "pty"), "internal")
    assert agent.unary("CloseStdin", {"process": {"pid": stream.pid}}) == {}
    fifo.write_bytes(b"")
    stream.finish()


def test_a_process_that_closes_its_input(agent, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stream = agent.sh("exec <&-; echo closed; cat $1", str(fifo), stdin=True)
    stream.until(b"closed\n")
    assert refused(lambda: agent.send(stream.pid, b"x"), "internal") == "stdin not enabled or closed"
    fifo.write_bytes(b"")
    stream.finish()


def test_large_input_waits_for_the_process(agent):
    data = os.urandom(2 << 20)
    stream = agent.sh("read go; cat", stdin=True)
    agent.send(stream.pid, b"\n")
    thread = threading.Thread(target=agent.send, args=(stream.pid, data))
    thread.start()
    got = b""
    while len(got) < len(data):
        got += stream.data()
    thread.join(20)
    assert got == data and not thread.is_alive()
    agent.unary("CloseStdin", {"process": {"pid": stream.pid}})
    stream.finish()


def test_input_that_is_never_read(agent):
    """It stays queued when its sender goes, and fails when the process dies."""
    stream = agent.sh("echo ready; kill -STOP $$", stdin=True)
    stream.until(b"ready\n")
    answers = []

    def send():
        try:
            agent.send(stream.pid, bytes(1 << 20))
        except Exception as e:
            answers.append(e)
    thread = threading.Thread(target=send)
    thread.start()
    gone = agent.connect()
    gone.request("POST", "/process.Process/SendInput", json.dumps(
        {"process": {"pid": stream.pid}, "input": {"stdin": b64(bytes(1 << 20))}}),
        {"Content-Type": "application/json"})
    gone.close()
    agent.request("GET", "/health")
    agent.signal(stream.pid)
    stream.finish()
    thread.join(20)
    assert [e.code for e in answers] in (["internal"], ["not_found"])


@pytest.mark.parametrize("value", [{}, {"stdin": "aGkK", "pty": "aGkK"}, {"stdin": 5},
                                   {"stdin": "not base64!"}, {"stdin": "a"}, None, "x"])
def test_malformed_input(agent, value):
    stream = agent.start("/bin/cat", stdin=True)
    refused(lambda: agent.unary("SendInput", {"process": {"pid": stream.pid}, "input": value}),
            "invalid_argument")
    agent.signal(stream.pid)
    stream.finish()


@pytest.mark.parametrize("text", ["_-8", "_-8=", "/+8=", "/+8"])
def test_base64_in_every_dress(agent, text):
    stream = agent.start("/bin/cat", stdin=True)
    agent.unary("SendInput", {"process": {"pid": stream.pid}, "input": {"stdin": text}})
    assert stream.until(b"\xff\xef") == b"\xff\xef"
    agent.signal(stream.pid)
    stream.finish()


# ---- terminals ----

def test_a_terminal(agent):
    stream = agent.sh("tty; stty size; ps -o sid=,tpgid= -p $$; echo $$; exit 4", pty=PTY)
    out, end = stream.finish()
    lines = out["pty"].decode().split("\r\n")
    assert lines[0].startswith("/dev/pts/") and lines[1] == "24 80"
    assert lines[2].split() == [str(stream.pid)] * 2
    assert end["exitCode"] == 4 and out["stdout"] == out["stderr"] == b""


def test_terminal_input_echo_and_resize(agent):
    script = "trap 'stty size' WINCH; echo ready; while read x; do echo got $x; done"
    stream = agent.start("/bin/bash", "-c", script, pty=PTY)  # dash's read ends at a signal
    stream.until(b"ready\r\n", "pty")
    agent.unary("Update", {"process": {"pid": stream.pid}, "pty": {"size": {"cols": 100, "rows": 30}}})
    agent.send(stream.pid, b"line\n", "pty")
    text = stream.until(b"got line\r\n", "pty")
    assert text.startswith((b"line\r\n", b"30 100\r\n"))
    if b"30 100" not in text:
        stream.until(b"30 100\r\n", "pty")
    agent.send(stream.pid, b"\x04", "pty")
    assert stream.finish()[1]["exited"]


def test_ctrl_c_reaches_the_foreground(agent):
    stream = agent.sh("trap 'echo interrupted; exit 9' INT; echo ready; read x", pty=PTY)
    stream.until(b"ready\r\n", "pty")
    agent.send(stream.pid, b"\x03", "pty")
    out, end = stream.finish()
    assert b"interrupted" in out["pty"] and end["exitCode"] == 9


def test_an_interactive_shell(agent):
    stream = agent.start("/bin/bash", "-i", "-l", pty=PTY,
                         envs={"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ "})
    agent.send(stream.pid, b"echo $((6*7))\n", "pty")
    stream.until(b"42\r\n", "pty")
    again = agent.attach(stream.pid)
    agent.send(stream.pid, b"exit 3\n", "pty")
    for s in (stream, again):
        assert s.finish()[1]["exitCode"] == 3


def test_killing_a_terminal(agent):
    stream = agent.start("/bin/bash", "-i", pty=PTY)
    agent.signal(stream.pid)
    assert stream.finish()[1]["status"] == "signal: killed"


def test_what_does_not_fit_a_terminal(agent):
    stream = agent.start("/bin/cat", pty=PTY)
    refused(lambda: agent.send(stream.pid, b"x", "stdin"), "internal")
    refused(lambda: agent.unary("CloseStdin", {"process": {"pid": stream.pid}}), "unknown")
    assert agent.unary("Update", {"process": {"pid": stream.pid}}) == {}
    refused(lambda: agent.unary("Update", {"process": {"pid": stream.pid},
                                           "pty": {"size": {"cols": 70000, "rows": 1}}}),
            "invalid_argument")
    agent.signal(stream.pid)
    stream.finish()


def test_resizing_what_has_no_terminal(agent):
    stream = agent.start("/bin/cat", stdin=True)
    refused(lambda: agent.unary("Update", {"process": {"pid": stream.pid}, "pty": PTY}), "internal")
    agent.signal(stream.pid)
    stream.finish()


# ---- StreamInput ----

def messages(*items):
    return b"".join(envelope(json.dumps(item).encode()) for item in items)


def test_stream_input(agent):
    stream = agent.start("/bin/cat", stdin=True)
    answer = agent.stream("StreamInput", messages(
        {"start": {"process": {"pid": stream.pid}}}, {"data": {"input": {"stdin": b64(b"one ")}}},
        {"keepalive": {}}, {"data": {"input": {"stdin": b64(b"two\n")}}}))
    assert list(answer) == [{}] and answer.end == {}
    assert stream.until(b"two\n") == b"one two\n"
    agent.signal(stream.pid)
    stream.finish()


def test_stream_input_in_small_chunks_with_back_pressure(agent):
    data = os.urandom(3 << 20)
    stream = agent.start("/bin/cat", stdin=True)
    parts = [{"start": {"process": {"pid": stream.pid}}}]
    parts += [{"data": {"input": {"stdin": b64(data[i:i + 100000])}}}
              for i in range(0, len(data), 100000)]
    body = messages(*parts)
    answers = []

    def send():
        answers.append(list(send_chunked(agent, body)))
    thread = threading.Thread(target=send)
    thread.start()
    got = b""
    while len(got) < len(data):
        got += stream.data()
    thread.join(20)
    assert got == data and answers == [[{}]]
    agent.signal(stream.pid)
    stream.finish()


def send_chunked(agent, body):
    connection = agent.connect()
    connection.request("POST", "/process.Process/StreamInput",
                       iter([body[i:i + 7777] for i in range(0, len(body), 7777)]),
                       {"Content-Type": "application/connect+json"}, encode_chunked=True)
    return Stream(connection, connection.getresponse())


@pytest.mark.parametrize("items, code", [
    ([], "invalid_argument"),
    ([{"data": {"input": {"stdin": "aGkK"}}}], "invalid_argument"),
    ([{"start": {"process": {"pid": 999999}}}], "not_found"),
    ([{"start": {}}], "invalid_argument"),
    ([{"keepalive": {}}], "invalid_argument"),
])
def test_stream_input_refusals(agent, items, code):
    answer = agent.stream("StreamInput", messages(*items))
    assert list(answer) == [] and answer.end["error"]["code"] == code


def test_stream_input_to_a_process_that_ends(agent):
    stream = agent.sh("exec <&-; echo closed; sleep 5", stdin=True)
    stream.until(b"closed\n")
    answer = agent.stream("StreamInput", messages(
        {"start": {"process": {"pid": stream.pid}}}, {"data": {"input": {"stdin": "aGkK"}}},
        {"data": {"input": {"stdin": "aGkK"}}}))
    assert list(answer) == [] and answer.end["error"]["code"] == "internal"
    agent.signal(stream.pid)
    stream.finish()
