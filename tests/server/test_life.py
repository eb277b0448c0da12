# SPDX-License-Identifier: Apache-2.0
"""Deaths and returns: of clients, sandboxes, launcher and server."""
import json
import os
import signal
import sqlite3
import threading

import pytest

from conftest import DRIVER, eventually
from fakes import CREATE, DESTROY, ERR_EXHAUSTED, ERR_INTERNAL, FREEZE, LIST, echo

NOT_FOUND = "The sandbox was not found"


def ids(server):
    return {s["sandboxID"] for s in server.api("GET", "/v2/sandboxes").json}


def rows(server):
    with sqlite3.connect(server.state + "/server/carrel.db") as db:
        found = {row[0] for row in db.execute("SELECT id FROM sandboxes")}
    db.close()
    return found


def test_creation_that_fails_leaves_nothing(server):
    before = rows(server)
    server.launcher.override[CREATE] = lambda call: {"code": ERR_EXHAUSTED, "message": "no room"}
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
    server.launcher.override.clear()
    assert reply.status >= 400 and "no room" in reply.message
    assert rows(server) == before


def test_client_that_goes_away_during_creation(server):
    """Nobody knows the sandbox then: it is not kept."""
    launcher = server.launcher
    held = []
    launcher.override[CREATE] = lambda call: held.append(call)
    stream = server.stream()
    stream.sock.sendall(b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + server.key.encode() +
                        b"\r\nContent-Length: 21\r\n\r\n{\"templateID\":\"base\"}")
    launcher.wait(lambda: held)
    assert ids(server) == set(), "not there before it is ready"
    stream.sock.close()
    launcher.override.clear()
    eventually(lambda: "peer" and server.request("GET", "/health").status == 204)
    call = held[0]
    launcher.carry_out(call)
    launcher.reply(CREATE, call.serial, call.id, pid=1)
    launcher.wait_call(DESTROY, call.id)
    assert ids(server) == set()


def test_sandbox_that_ends_by_itself(server):
    sandbox = server.create()
    sandbox.agent.ports[3000] = lambda s, h: (
        s.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), s.sock.recv(1))
    server.launcher.die(sandbox.id)
    eventually(lambda: sandbox.info().status == 404)
    reply = sandbox.request("GET", "/health")
    assert (reply.status, reply.json["message"]) == (502, NOT_FOUND)
    server.launcher.wait_call(DESTROY, sandbox.id)


def test_destruction_that_fails_is_repeated(server):
    sandbox = server.create()
    server.launcher.override[DESTROY] = lambda call: {"code": ERR_INTERNAL, "message": "umount: busy"}
    reply = server.api("DELETE", f"/sandboxes/{sandbox.id}")
    assert reply.status == 500 and "umount: busy" in reply.message
    assert sandbox.info().status == 404, "gone for clients all the same"
    server.launcher.override.clear()
    server.launcher.wait_call(DESTROY, sandbox.id, times=2)
    eventually(lambda: sandbox.id not in server.launcher.boxes)


def test_pause_that_fails(server):
    sandbox = server.create()
    server.launcher.override[FREEZE] = lambda call: {"code": ERR_INTERNAL, "message": "freezer: no"}
    reply = sandbox.post("pause")
    assert reply.status == 500 and "freezer: no" in reply.message
    assert sandbox.info().json["state"] == "running"
    server.launcher.override.clear()
    assert sandbox.post("pause").status == 204
    sandbox.kill()


def test_kill_during_pause(server):
    sandbox = server.create()
    held = []
    server.launcher.override[FREEZE] = lambda call: held.append(call)
    replies = []
    pausing = threading.Thread(target=lambda: replies.append(sandbox.post("pause")))
    pausing.start()
    server.launcher.wait(lambda: held)
    assert sandbox.info().json["state"] == "paused"
    assert sandbox.kill() == 204
    pausing.join()
    assert replies[0].status == 404
    server.launcher.override.clear()
    server.launcher.reply(FREEZE, held[0].serial, sandbox.id)  # late: nobody cares
    assert server.request("GET", "/health").status == 204


# ---- launcher -----------------------------------------------------------------------------------


def test_launcher_comes_back(fresh):
    server = fresh()
    launcher = server.launcher
    kept, lost, paused = server.create(), server.create(), server.create()
    assert paused.post("pause").status == 204
    launcher.stop()
    assert kept.request("GET", "/health").status == 200, "running sandboxes need no launcher"
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(
        server.api("POST", "/v2/sandboxes", {"templateID": "base"})))
    waiting.start()
    eventually(lambda: "launcher lost" in server.log())
    launcher.remove_box(lost.id)
    launcher.add_box("istray")
    launcher.start()
    waiting.join()
    assert replies[0].status == 201, "who asks meanwhile, waits"
    launcher.wait_call(DESTROY, "istray")
    launcher.wait_call(DESTROY, lost.id)
    eventually(lambda: ids(server) == {kept.id, paused.id, replies[0].json["sandboxID"]})
    assert paused.info().json["state"] == "paused"
    assert paused.post("connect").status == 201
    assert kept.kill() == 204


def test_launcher_dies_during_a_creation(fresh):
    server = fresh()
    launcher = server.launcher
    held = []
    launcher.override[CREATE] = lambda call: (held.append(call), launcher.add_box(call.id))[2:] or None
    replies = []
    asking = threading.Thread(target=lambda: replies.append(
        server.api("POST", "/v2/sandboxes", {"templateID": "base"})))
    asking.start()
    launcher.wait(lambda: held and launcher.count(CREATE))
    launcher.stop()
    asking.join()
    assert replies[0].status == 503 and "restarted" in replies[0].message
    launcher.override.clear()
    launcher.start()
    launcher.wait_call(DESTROY, held[0].id)
    assert ids(server) == set()


# ---- server -------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [True, False])
def test_server_dies_during_a_creation(fresh, made):
    """Written down by then: what was made is kept, what was not is forgotten."""
    server = fresh()
    launcher = server.launcher
    held = []
    launcher.override[CREATE] = lambda call: held.append(call)
    stream = server.stream()
    stream.sock.sendall(b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-KEY: " + server.key.encode() +
                        b"\r\nContent-Length: 21\r\n\r\n{\"templateID\":\"base\"}")
    launcher.wait(lambda: held)
    name = held[0].id
    eventually(lambda: name in rows(server))
    server.stop(signal.SIGKILL)
    stream.sock.close()
    launcher.override.clear()
    if made:
        launcher.add_box(name)
    server.start()
    if made:
        eventually(lambda: ids(server) == {name})
    else:
        launcher.wait_call(DESTROY, name)
        eventually(lambda: not ids(server) and name not in rows(server))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_server_comes_back(fresh, how):
    server = fresh()
    running = server.create(timeout=1000, metadata={"a": "ä"}, network={"allowPublicTraffic": False})
    paused, gone, expired = server.create(), server.create(), server.create()
    auto = server.create(autoPause=True)
    assert paused.post("pause").status == 204
    before = {s.id: s.info().json for s in (running, paused)}
    server.stop(how)

    launcher = server.launcher
    launcher.remove_box(gone.id)
    launcher.add_box("istray")
    launcher.frozen.add(auto.id)  # frozen, but killed before it was written down
    with sqlite3.connect(server.state + "/server/carrel.db") as db:
        db.execute("UPDATE sandboxes SET ends = 1 WHERE id = ?", (expired.id,))
    db.close()
    server.start()
    assert {s.id: s.info().json for s in (running, paused)} == before
    assert running.post("connect", {"timeout": 1}).json == running.created
    assert running.request("GET", "/health").status == 200
    assert running.request("GET", "/envs", token=False).status == 401
    assert running.request("GET", "/", port=80).status == 403
    assert auto.info().json["state"] == "paused"
    for name in ("istray", gone.id, expired.id):
        launcher.wait_call(DESTROY, name)
    eventually(lambda: ids(server) == {running.id, paused.id, auto.id})
    assert paused.post("connect").json == paused.created
    assert server.exports["E2B_API_KEY"] == server.key


def test_requests_wait_for_a_restart(fresh):
    """The listening socket outlives the server: who connects meanwhile is served afterwards."""
    server = fresh()
    sandbox = server.create()
    server.stop(signal.SIGKILL)
    replies = []
    asking = threading.Thread(target=lambda: replies.append(sandbox.info()))
    asking.start()
    server.start()
    asking.join()
    assert replies[0].status == 200


def test_graceful_stop_finishes_what_runs(fresh):
    server = fresh()
    sandbox = server.create()
    asked, go_on = threading.Event(), threading.Event()

    def slow(stream, head):
        asked.set()
        go_on.wait(10)
        echo(stream, head)

    sandbox.agent.handler = slow
    replies = []
    asking = threading.Thread(target=lambda: replies.append(sandbox.request("GET", "/slow")))
    asking.start()
    assert asked.wait(10)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping" in server.log())
    go_on.set()
    asking.join()
    assert replies[0].status == 200
    assert server.process.wait(10) == 0
    assert server.launcher.count(DESTROY) == 0, "sandboxes go on"
    server.start()
    assert sandbox.info().status == 200


def test_stop_does_not_wait_for_ever(fresh):
    server = fresh("--stop-timeout", "1")
    sandbox = server.create()
    asked = threading.Event()
    sandbox.agent.handler = lambda stream, head: (asked.set(), stream.sock.recv(1))
    stream = server.stream()
    stream.sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nE2b-Sandbox-Id: {sandbox.id}\r\n"
                        f"E2b-Sandbox-Port: 49983\r\nX-Access-Token: {sandbox.token}\r\n\r\n".encode())
    assert asked.wait(10)
    assert server.stop(seconds=10) == 0


def test_ephemeral_stop_leaves_no_sandbox(fresh):
    server = fresh("--ephemeral")
    made = [server.create() for _ in range(3)]
    assert made[0].post("pause").status == 204
    assert server.stop() == 0
    assert server.launcher.boxes == {}
    server.start()
    assert ids(server) == set()


def test_state_that_cannot_be_read(fresh):
    server = fresh()
    assert server.stop() == 0
    with sqlite3.connect(server.state + "/server/carrel.db") as db:
        db.execute("PRAGMA user_version = 77")
    db.close()
    server.start(ready=False)
    assert server.process.wait(10) != 0
    server.process.stdout.close()
    assert "newer" in server.log()
    with sqlite3.connect(server.state + "/server/carrel.db") as db:
        db.execute("PRAGMA user_version = 3")
        db.execute("INSERT INTO sandboxes VALUES ('ibad','default','base','running',1,1,"
                   "4000000000000000000,'not json')")
    db.close()
    server.launcher.add_box("ibad")
    server.start()
    assert "not understood" in server.log()
    # What the columns say holds, and its owner comes to it again.
    assert ids(server) == {"ibad"}
    token = server.api("POST", "/sandboxes/ibad/connect", {}).json["envdAccessToken"]
    headers = {"E2b-Sandbox-Id": "ibad", "E2b-Sandbox-Port": "49983"}
    assert server.request("GET", "/envs", headers=headers).status == 401
    headers["X-Access-Token"] = token
    assert server.request("GET", "/envs", headers=headers).status == 200


def spoil(path):
    for part in (path, path + "-wal"):
        if os.path.exists(part):
            with open(part, "r+b") as file:
                file.write(b"this was a database, once upon a time" * 200)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_damaged_database(fresh, how):
    server = fresh()
    sandbox, paused = server.create(metadata={"a": "b"}), server.create()
    assert paused.post("pause").status == 204
    snapshot = sandbox.post("snapshots", {"name": "kept"}).json
    other = server.another_key("other", project="other")
    before = {s.id: s.info().json for s in (sandbox, paused)}
    server.stop(how)
    spoil(server.state + "/server/carrel.db")
    server.start()
    assert "its copy has taken its place" in server.log()
    assert {s.id: s.info().json for s in (sandbox, paused)} == before
    assert server.api("GET", "/snapshots").json == [snapshot]
    assert server.api("GET", "/v2/sandboxes", key=other).json == []
    assert os.path.exists(server.state + "/server/carrel.db.damaged")
    assert sandbox.request("GET", "/envs").status == 200, "the same token"
    # And again: the copy is a copy of what has become of it.
    third = server.create()
    assert paused.kill() == 204
    server.stop(signal.SIGKILL)
    spoil(server.state + "/server/carrel.db")
    server.start()
    assert ids(server) == {sandbox.id, third.id}


def test_a_lost_database(fresh):
    server = fresh()
    sandbox, paused, cold = server.create(), server.create(), server.create()
    snapshot = sandbox.post("snapshots", {}).json["snapshotID"].split(":")[0]
    assert paused.post("pause").status == 204
    assert cold.post("pause", {"memory": False}).status == 204
    server.stop()
    for name in ("carrel.db", "carrel-copy.db"):
        spoil(server.state + "/server/" + name)
    server.start()
    assert "are lost" in server.log()
    assert ids(server) == {sandbox.id, paused.id, cold.id}
    states = {s["sandboxID"]: s["state"] for s in server.api("GET", "/v2/sandboxes").json}
    assert states == {sandbox.id: "running", paused.id: "paused", cold.id: "paused"}
    token = sandbox.post("connect").json["envdAccessToken"]
    assert token != sandbox.token and sandbox.request("GET", "/envs").status == 401
    assert sandbox.request("GET", "/envs", token=False,
                           headers={"X-Access-Token": token}).status == 200
    assert cold.post("connect").status == 201
    assert server.launcher.snapshots == {snapshot} and server.launcher.count(DESTROY) == 0


# ---- load ---------------------------------------------------------------------------------------


def test_many_at_once(fresh):
    server = fresh()
    made, errors = [], []

    def work():
        try:
            for _ in range(5):
                sandbox = server.create(timeout=60)
                assert sandbox.request("GET", "/health").status == 200
                made.append(sandbox)
                if len(made) % 2:
                    assert sandbox.kill() == 204
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(made) == 100 and len({s.id for s in made}) == 100
    assert ids(server) == set(server.launcher.boxes)
