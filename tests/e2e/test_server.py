# SPDX-License-Identifier: Apache-2.0
"""The server as a program: what it prints, how it stops, what it leaves."""

import re
import subprocess

import pytest
from e2b import Sandbox

from conftest import finish
from harness import BINARY, Residue, Server, eventually


def test_prints_what_to_paste(server):
    assert re.fullmatch(r"e2b_[0-9a-f]{40}", server.key)
    assert server.env["E2B_API_URL"] == server.env["E2B_SANDBOX_URL"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)


@pytest.mark.parametrize("name", ["server", "egress"])
def test_what_faces_others_gives_up_root(server, name):
    children = server.children()
    assert set(children) == {"server", "launcher", "egress"}
    status = open(f"/proc/{children[name]}/status").read()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(re.search(rf"^{kind}:\s+(\w+)", status, re.M).group(1), 16) == 0, kind
    assert re.search(r"^Uid:\t[1-9]", status, re.M)
    assert "NoNewPrivs:\t1" in status


def test_launcher_has_no_network_of_its_own(server):
    """Nothing listens in the launcher; only the server holds the listening socket."""
    launcher = server.children()["launcher"]
    port = server.address[1]
    holders = subprocess.run(
        ["ss", "-Htlnp", f"sport = :{port}"], capture_output=True, text=True
    ).stdout
    assert f"pid={server.children()['server']}," in holders
    assert f"pid={launcher}," not in holders


def test_two_servers_side_by_side(server):
    second = Server()
    second.start()
    try:
        assert second.url != server.url and second.key != server.key
        options = {"api_key": second.key, "api_url": second.url, "sandbox_url": second.url}
        ours, theirs = Sandbox.create(timeout=60), Sandbox.create(timeout=60, **options)
        assert Sandbox.kill(theirs.sandbox_id) is False, "another server's sandbox"
        assert theirs.commands.run("echo two").stdout == "two\n"
        assert ours.commands.run("echo one").stdout == "one\n"
        ours.kill()
        held = Residue.of(second).all()
        assert {"cgroups", "links", "tables", "processes"} <= held.keys(), held
    finally:
        finish(second)  # its sandbox is still there


def test_stop_ends_streams_and_sandboxes(server):
    second = Server()
    second.start()
    options = {"api_key": second.key, "api_url": second.url, "sandbox_url": second.url}
    made = [Sandbox.create(timeout=60, **options) for _ in range(5)]
    handles = [s.commands.run("exec sleep 1000", background=True, timeout=0) for s in made]
    assert len(handles) == 5
    finish(second)


def test_restart_finds_sandboxes_again(server):
    """Without --ephemeral a sandbox outlives its server and is found again by the next one."""
    first = Server(ephemeral=False)
    first.start()
    host, port = first.address
    options = {"api_key": first.key, "api_url": first.url, "sandbox_url": first.url}
    sandbox = Sandbox.create(timeout=300, metadata={"a": "b"}, **options)
    sandbox.files.write("kept", "kept")
    worker = sandbox.commands.run("read x; echo got $x", background=True, stdin=True, timeout=0)
    key = first.key
    assert first.stop() == 0
    first.start(listen=f"{host}:{port}")
    try:
        assert first.key == key
        eventually(sandbox.is_running, what="the sandbox again")
        assert sandbox.files.read("kept") == "kept"
        assert sandbox.get_info().metadata == {"a": "b"}
        sandbox.commands.send_stdin(worker.pid, "x\n")
        assert sandbox.commands.connect(worker.pid).wait().stdout == "got x\n"
        assert sandbox.kill() is True
    finally:
        finish(first)


def test_start_fails_with_a_reason(tmp_path):
    for arguments in (
        ["--listen", "nonsense"],
        ["--listen", "127.0.0.1:99999"],
        ["--no-such-option"],
        [
            "--listen",
            "127.0.0.1:0",
            "--templates",
            str(tmp_path / "none"),
            "--state",
            str(tmp_path / "s"),
            "--run",
            str(tmp_path / "r"),
            "--ephemeral",
        ],
    ):
        done = subprocess.run(
            [str(BINARY), "serve", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode != 0, arguments
        assert done.stderr.strip(), f"{arguments}: says nothing"


def test_listening_twice_on_one_port(server, tmp_path):
    host, port = server.address
    done = subprocess.run(
        [
            str(BINARY),
            "serve",
            "--ephemeral",
            "--listen",
            f"{host}:{port}",
            "--state",
            str(tmp_path / "s"),
            "--run",
            str(tmp_path / "r"),
            "--templates",
            str(server.templates),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0 and str(port) in done.stderr
