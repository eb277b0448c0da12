# SPDX-License-Identifier: Apache-2.0
"""Starting processes, how they end, and the calls on them."""
import json
import os
import signal
import stat
import time

import pytest
from conftest import RpcError, basic, refused


def test_a_command(agent):
    out, end = agent.run("/bin/echo", "hello")
    assert out == {"stdout": b"hello\n", "stderr": b"", "pty": b""}
    assert end == {"exited": True, "status": "exit status 0"}


def test_exit_code_and_both_outputs(agent):
    out, end = agent.sh("echo out; echo err >&2; exit 3").finish()
    assert (out["stdout"], out["stderr"]) == (b"out\n", b"err\n")
    assert end == {"exitCode": 3, "exited": True, "status": "exit status 3", "error": "exit status 3"}


@pytest.mark.parametrize("number, status", [
    (9, "signal: killed"), (15, "signal: terminated"), (2, "signal: interrupt"),
    (11, "signal: segmentation fault"), (10, "signal: user defined signal 1"),
    (34, "signal: signal 34")])
def test_death_by_signal(agent, number, status):
    _, end = agent.sh(f"ulimit -c 0; kill -{number} $$").finish()
    assert end == {"exitCode": -1, "status": status, "error": status}


def test_the_pid_is_the_real_one(agent):
    stream = agent.sh("echo $$")
    out, _ = stream.finish()
    assert int(out["stdout"]) == stream.pid


def test_snake_case_and_null(agent):
    stream = agent.stream("Start", {"process": {"cmd": "/bin/echo", "args": ["x"], "envs": None,
                                                "cwd": None}, "pty": None, "tag": None,
                                    "stdin": None, "new_field": 1})
    out, _ = stream.started().finish()
    assert out["stdout"] == b"x\n"


# ---- program, user, environment, directory ----

@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program", "/etc/passwd/x"])
def test_a_missing_program_ends_like_in_a_shell(agent, name):
    out, end = agent.run(name)
    assert end["exitCode"] == 127
    assert out["stderr"] == f"sh: exec: {name}: not found\n".encode()


def test_a_program_that_may_not_be_executed(agent, tmp_path):
    out, end = agent.run("/etc/passwd")
    assert end["exitCode"] == 126 and b"Permission denied" in out["stderr"]
    _, end = agent.run(str(tmp_path))
    assert end["exitCode"] == 126


def test_a_missing_program_with_a_terminal(agent):
    out, end = agent.run("no-such-program", pty={"size": {"cols": 80, "rows": 24}})
    assert end["exitCode"] == 127 and b"not found" in out["pty"]


def test_too_long_an_argument(agent):
    out, end = agent.run("/bin/true", "x" * 200_000)
    assert end["exitCode"] == 126 and b"too long" in out["stderr"]


def test_a_script_without_a_first_line(agent, tmp_path):
    script = tmp_path / "script"
    script.write_text("echo $1 from $0\n")
    script.chmod(0o755)
    out, _ = agent.run(str(script), "hello")
    assert out["stdout"] == f"hello from {script}\n".encode()


def test_the_path_of_the_request_finds_the_program(agent, tmp_path):
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    out, _ = agent.run("only-here", envs={"PATH": f"/nowhere:{tmp_path}:/bin"})
    assert out["stdout"] == b"found\n"
    assert agent.run("only-here")[1]["exitCode"] == 127


def environment(out):
    return dict(line.split("=", 1) for line in out["stdout"].decode().splitlines())


def test_environment_order(agent):
    out, _ = agent.run("/usr/bin/env", envs={"COLOUR": "own", "HOME": "/own", "EMPTY": ""})
    assert environment(out) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/own",
        "USER": "root", "LOGNAME": "root", "E2B_SANDBOX": "true", "E2B_SANDBOX_ID": "itest",
        "COLOUR": "own", "EMPTY": ""}


def test_user_by_basic_authorization(agent):
    out, _ = agent.sh("id -u; id -G; pwd; echo $HOME $USER $LOGNAME; umask", cwd="/",
                      headers=basic("nobody")).finish()
    nobody = [line.split(":") for line in open("/etc/passwd") if line.startswith("nobody:")][0]
    assert out["stdout"].decode().splitlines() == [
        nobody[2], nobody[3], "/", f"{nobody[5]} nobody nobody", "0022"]


def test_unknown_user(agent):
    message = refused(lambda: list(agent.stream("Start", {"process": {"cmd": "/bin/true"}},
                                                basic("nobody-here")).events()), "unauthenticated")
    assert message == "invalid username: 'nobody-here'"
    assert refused(lambda: agent.unary("List", {}, basic("nobody-here")),
                   "unauthenticated") == message


@pytest.mark.parametrize("header", ["Basic !!!", "Bearer abc", "Basic " + "A" * 4000, "Basic"])
def test_strange_authorization(agent, header):
    refused(lambda: agent.unary("List", {}, {"Authorization": header}), "unauthenticated")


def test_no_user_at_all(own_agent):
    own_agent.request("POST", "/init", b"{}")
    assert refused(lambda: own_agent.unary("List", {}), "unauthenticated") == "no user specified"


@pytest.mark.parametrize("cwd, expected", [(None, "/tmp"), ("", "/tmp"), ("/usr/", "/usr"),
                                           ("~", "/root"), ("/usr/../etc", "/etc")])
def test_working_directory(agent, cwd, expected):
    fields = {} if cwd is None else {"cwd": cwd}
    out, _ = agent.run("/bin/pwd", "-P", **fields)
    assert out["stdout"].decode().strip() == os.path.realpath(expected)


@pytest.mark.parametrize("cwd, message", [
    ("/no/such", "cwd '/no/such' does not exist"), ("/etc/passwd", "not a directory"),
    ("~other", ""), ("/etc/passwd/x", "does not exist")])
def test_bad_working_directory(agent, cwd, message):
    stream = agent.stream("Start", {"process": {"cmd": "/bin/true", "cwd": cwd}})
    assert message in refused(lambda: list(stream.events()), "invalid_argument")


def test_a_directory_that_the_user_may_not_enter(agent, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stream = agent.stream("Start", {"process": {"cmd": "/bin/true", "cwd": str(closed)}},
                          basic("nobody"))
    assert "cannot enter cwd" in refused(lambda: list(stream.events()), "invalid_argument")


def test_nothing_of_the_agent_reaches_a_process(agent):
    out, _ = agent.sh("ls -l /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status;"
                      "ulimit -n; cat /proc/self/oom_score_adj").finish()
    lines = out["stdout"].decode().split("\n")
    assert int(lines[0]) <= 5  # total, 0, 1, 2, and the directory itself
    assert lines[1].split()[1] == lines[2].split()[1] == "0" * 16
    assert lines[3] == str(os.popen("ulimit -n").read().strip())
    assert lines[4] == "100"
    assert open(f"/proc/{agent.process.pid}/oom_score_adj").read().strip() != "100"


def test_a_command_has_its_own_process_group_but_no_session(agent):
    out, _ = agent.sh("ps -o pgid=,sid= -p $$; echo $$").finish()
    pgid, sid, pid = out["stdout"].split()
    assert pgid == pid and sid != pid


def test_kill_0_in_one_command_spares_the_others(agent):
    other = agent.start("/bin/cat", stdin=True)
    _, end = agent.sh("kill -TERM 0; sleep 60").finish()
    assert end["status"] == "signal: terminated"
    agent.send(other.pid, b"alive\n")
    assert other.data() == b"alive\n"
    agent.signal(other.pid)
    other.finish()


# ---- list, find ----

def test_list_shows_what_runs(agent):
    assert agent.unary("List", {}) == {}
    stream = agent.start("/bin/cat", "-", envs={"A": "1"}, cwd="/usr", tag="t1", stdin=True)
    plain = agent.start("/bin/cat", stdin=True)
    listed = agent.unary("List", {})["processes"]
    assert listed == [
        {"config": {"cmd": "/bin/cat", "args": ["-"], "envs": {"A": "1"}, "cwd": "/usr"},
         "pid": stream.pid, "tag": "t1"},
        {"config": {"cmd": "/bin/cat"}, "pid": plain.pid}]
    for s in (stream, plain):
        agent.unary("CloseStdin", {"process": {"pid": s.pid}})
        s.finish()
    assert agent.unary("List", {}) == {}


def test_selecting_by_tag(agent):
    stream = agent.start("/bin/cat", tag="by-tag", stdin=True)
    agent.unary("SendInput", {"process": {"tag": "by-tag"}, "input": {"stdin": "aGkK"}})
    assert stream.data() == b"hi\n"
    agent.unary("CloseStdin", {"process": {"tag": "by-tag"}})
    stream.finish()
    again = agent.stream("Connect", {"process": {"tag": "by-tag"}}).started()
    assert again.pid == stream.pid
    assert agent.unary("List", {}) == {}
    message = refused(lambda: agent.unary("SendSignal", {"process": {"tag": "by-tag"},
                                                         "signal": 9}), "not_found")
    assert message == "process with tag 'by-tag' not found"


@pytest.mark.parametrize("method, more", [
    ("SendSignal", {"signal": "SIGNAL_SIGKILL"}), ("SendInput", {"input": {"stdin": "aGkK"}}),
    ("CloseStdin", {}), ("Update", {"pty": {"size": {"cols": 1, "rows": 1}}})])
def test_unknown_pid(agent, method, more):
    message = refused(lambda: agent.unary(method, {"process": {"pid": 999999}, **more}), "not_found")
    assert message == "process with pid 999999 not found"
    response, _ = agent.request("POST", f"/process.Process/{method}", json.dumps(
        {"process": {"pid": 999999}, **more}), {"Content-Type": "application/json"})
    assert response.status == 404


def test_connect_to_an_unknown_pid(agent):
    stream = agent.stream("Connect", {"process": {"pid": 999999}})
    assert refused(lambda: list(stream.events()), "not_found") == "process with pid 999999 not found"


# ---- signals, time limits ----

def test_kill(agent):
    stream = agent.sh("exec sleep 1000")
    assert agent.signal(stream.pid) == {}
    _, end = stream.finish()
    assert end == {"exitCode": -1, "status": "signal: killed", "error": "signal: killed"}
    refused(lambda: agent.signal(stream.pid), "not_found")


def test_terminate_can_be_caught(agent):
    stream = agent.sh("trap 'echo caught; exit 7' TERM; echo ready; while :; do read x; done",
                      stdin=True)
    stream.until(b"ready\n")
    agent.signal(stream.pid, "SIGNAL_SIGTERM")
    out, end = stream.finish()
    assert out["stdout"] == b"caught\n" and end["exitCode"] == 7


@pytest.mark.parametrize("number", ["SIGNAL_UNSPECIFIED", 0, 32, 64, -1])
def test_what_is_no_signal_is_not_sent(agent, number):
    stream = agent.start("/bin/cat", stdin=True)
    refused(lambda: agent.signal(stream.pid, number), "unimplemented")
    refused(lambda: agent.signal(stream.pid, "SIGHUP"), "invalid_argument")
    agent.signal(stream.pid, 9)
    stream.finish()


def test_other_signals_go_by_number(agent):
    stream = agent.sh("trap 'echo caught' INT; trap 'exit 5' USR1; echo ready; "
                      "while :; do read x; done", stdin=True)  # fmt: skip
    stream.until(b"ready\n")
    agent.signal(stream.pid, 2)
    stream.until(b"caught\n")
    agent.signal(stream.pid, 10)
    assert stream.finish()[1]["exitCode"] == 5


def test_a_child_that_holds_the_pipe_delays_the_end(agent, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stream = agent.sh("cat $1 & echo parent", str(fifo))
    assert stream.data() == b"parent\n"
    assert stream.pid in agent.pids()
    fifo.write_bytes(b"late\n")
    out, end = stream.finish()
    assert out["stdout"] == b"late\n" and end["exited"]


def test_after_a_kill_nobody_waits_for_the_pipe(agent, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stream = agent.sh("cat $1 & echo parent; wait", str(fifo))
    assert stream.data() == b"parent\n"
    agent.signal(stream.pid)
    _, end = stream.finish()
    assert end["status"] == "signal: killed"
    fifo.write_bytes(b"")  # lets the child go


def test_a_kill_frees_one_that_has_ended_but_left_a_child(agent, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stream = agent.sh("cat $1 & echo parent", str(fifo))
    stream.data()
    limit = time.monotonic() + 20
    while os.path.exists(f"/proc/{stream.pid}"):
        assert time.monotonic() < limit
    agent.signal(stream.pid)
    _, end = stream.finish()
    assert end == {"exited": True, "status": "exit status 0"}
    fifo.write_bytes(b"")


def test_output_before_a_kill_is_not_lost(agent):
    stream = agent.sh("head -c 50000 /dev/zero; kill -STOP $$")
    limit = time.monotonic() + 20
    while open(f"/proc/{stream.pid}/stat").read().split()[2] != "T":
        assert time.monotonic() < limit
    agent.signal(stream.pid)
    out, _ = stream.finish()
    assert len(out["stdout"]) == 50000


def test_time_limit(agent):
    stream = agent.sh("echo before; exec sleep 1000", headers={"Connect-Timeout-Ms": "300"})
    pid = stream.pid
    other = agent.attach(pid)
    assert stream.data() == b"before\n"
    refused(stream.finish, "deadline_exceeded")
    assert stream.end["error"]["code"] == "deadline_exceeded"
    _, end = other.finish()
    assert end["status"] == "signal: killed"
    assert pid not in agent.pids()


def test_the_limit_holds_when_the_client_has_gone(agent):
    stream = agent.sh("exec sleep 1000", headers={"Connect-Timeout-Ms": "200"})
    stream.close()
    agent.wait_gone(stream.pid)
    _, end = agent.attach(stream.pid).finish()
    assert end["status"] == "signal: killed"


def test_the_limit_of_a_connect_ends_only_the_stream(agent):
    stream = agent.start("/bin/cat", stdin=True)
    other = agent.attach(stream.pid, {"Connect-Timeout-Ms": "100"})
    refused(other.finish, "deadline_exceeded")
    agent.send(stream.pid, b"alive\n")
    assert stream.data() == b"alive\n"
    agent.signal(stream.pid)
    stream.finish()


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "12345678901", "5 5", "0x10"])
def test_malformed_time_limit(agent, text):
    refused(lambda: agent.unary("List", {}, {"Connect-Timeout-Ms": text}), "invalid_argument")


def test_a_finished_process_is_remembered(agent):
    stream = agent.sh("exit 5")
    stream.finish()
    for _ in range(2):
        out, end = agent.attach(stream.pid).finish()
        assert end["exitCode"] == 5 and out["stdout"] == b""


def test_keepalive_and_reset_by_data(agent):
    stream = agent.start("/bin/cat", stdin=True, headers={"Keepalive-Ping-Interval": "1"})
    begun = time.monotonic()
    assert next(stream) == {"event": {"keepalive": {}}}
    assert 0.9 < time.monotonic() - begun < 5
    agent.signal(stream.pid)
    stream.finish()


def test_many_at_once(agent):
    streams = [agent.sh('echo $1; echo $1 >&2; exit $(($1 % 7))', str(i)) for i in range(100)]
    for i, stream in enumerate(streams):
        out, end = stream.finish()
        assert out["stdout"] == out["stderr"] == f"{i}\n".encode()
        assert end.get("exitCode", 0) == i % 7
    assert len({s.pid for s in streams}) == 100


def test_nothing_is_left_behind(own_agent):
    own_agent.run("/bin/true")

    def held():
        return len(os.listdir(f"/proc/{own_agent.process.pid}/fd"))
    before = held()
    for _ in range(50):
        own_agent.run("/bin/echo", "x", stdin=True)
        own_agent.run("/bin/echo", "x", pty={"size": {"cols": 1, "rows": 1}})
        with pytest.raises(RpcError):
            list(own_agent.stream("Start", {"process": {"cmd": "x", "cwd": "/no"}}).events())
    limit = time.monotonic() + 20
    while held() > before + 1:  # a connection may still be closing
        assert time.monotonic() < limit
    zombies = [p for p in os.listdir("/proc") if p.isdigit() and is_zombie_of(p, own_agent)]
    assert zombies == []


def is_zombie_of(pid, agent):
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[0] == "Z" and int(fields[1]) == agent.process.pid
