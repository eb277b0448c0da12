# SPDX-License-Identifier: Apache-2.0
"""Snapshots, forks and cold pauses as the server keeps them, on a fake launcher."""
import json
import signal
import threading

import pytest

from conftest import eventually
from fakes import (CREATE, DESTROY, DROP, ERR_EXHAUSTED, ERR_INTERNAL, FREEZE, LIST, PARK, SNAPSHOT,
                   THAW)


def snapshot(sandbox, **fields):
    reply = sandbox.post("snapshots", fields)
    assert reply.status == 201, reply.body
    return reply.json["snapshotID"]


def listed(server, query="", key=None):
    reply = server.api("GET", "/snapshots" + query, key=key)
    assert reply.status == 200, reply.body
    return [s["snapshotID"] for s in reply.json]


def delete(server, name, key=None):
    return server.api("DELETE", "/templates/" + name.replace("/", "%2F"), key=key).status


def test_create_from_a_snapshot(server):
    source = server.create(envVars={"A": "1", "B": "1"}, metadata={"m": "of the source"})
    name = snapshot(source)
    assert name.endswith(":default") and server.launcher.snapshots == {name.split(":")[0]}
    copy = server.create(templateID=name, envVars={"B": "2"})
    call = [c for c in server.launcher.calls if c.op == CREATE][-1]
    assert call.base + ":default" == name and call.template == "base" and not call.again
    envs = json.loads(call.config)["envs"]
    assert (envs["A"], envs["B"], envs["E2B_TEMPLATE_ID"]) == ("1", "2", call.base)
    info = copy.info().json
    assert info["templateID"] == call.base and "metadata" not in info and "alias" not in info
    assert [s["sandboxID"] for s in
            server.api("GET", f"/v2/sandboxes?template={call.base}").json] == [copy.id]
    assert delete(server, name) == 204 and delete(server, name) == 404
    server.launcher.wait_call(DROP, call.base)
    reply = server.api("POST", "/v2/sandboxes", {"templateID": name})
    assert reply.status == 404, reply.body
    for sandbox in (source, copy):
        assert sandbox.kill() == 204


def test_names(server):
    sandbox = server.create()
    first = snapshot(sandbox, name="Mine")
    assert first == "default/mine:default" and snapshot(sandbox, name="mine:v2") == "default/mine:v2"
    assert snapshot(sandbox, name="default/mine") == first, "the name goes to the newest"
    server.launcher.wait_call(DROP)
    assert sorted(listed(server, "?name=mine")) == ["default/mine:default", "default/mine:v2"]
    assert listed(server, "?name=mine:v2") == ["default/mine:v2"]
    for name, status in (("base", 409), ("other/mine", 403), ("a b", 400), ("", 400), ("x:", 400)):
        reply = sandbox.post("snapshots", {"name": name})
        assert reply.status == status and reply.message, (name, reply.body)
    assert sandbox.post("snapshots", {"memory": True}).status == 501
    assert delete(server, "mine:v2") == 204 and delete(server, "default/mine") == 204
    assert listed(server, "?name=mine") == []
    assert delete(server, "base") == 403 and delete(server, "nothing") == 404
    sandbox.kill()


def test_pages(server):
    sandbox = server.create()
    names = [snapshot(sandbox) for _ in range(5)][::-1]
    query, found = f"?sandboxID={sandbox.id}&limit=2", []
    token = ""
    for _ in range(3):
        reply = server.api("GET", "/snapshots" + query + token)
        found += [s["snapshotID"] for s in reply.json]
        token = f"&nextToken={reply.headers['X-Next-Token']}"
    assert found == names and reply.headers["X-Next-Token"] is None
    for bad in ("&nextToken=x", "&nextToken=1", "&nextToken=_", "&limit=0", "&limit=101", "&limit=x"):
        query = f"?sandboxID={sandbox.id}{bad}"
        assert server.api("GET", "/snapshots" + query).status == 400, bad
    for name in names:
        assert delete(server, name) == 204
    sandbox.kill()


def test_projects_do_not_see_each_other(fresh, tmp_path):
    server = fresh()
    sandbox = server.create()
    name = snapshot(sandbox, name="mine")
    plain = snapshot(sandbox)
    other = server.another_key("other", project="other")
    assert listed(server, key=other) == [] and len(listed(server)) == 2
    for ref in (name, plain):
        assert delete(server, ref, key=other) == 404
        reply = server.api("POST", "/v2/sandboxes", {"templateID": ref}, key=other)
        assert reply.status == 404, reply.body
    for what in ("snapshots", "fork", "pause", "connect"):
        assert server.api("POST", f"/sandboxes/{sandbox.id}/{what}", {}, key=other).status == 404


def test_failures(server):
    sandbox = server.create()
    server.launcher.override[SNAPSHOT] = lambda call: {"code": ERR_INTERNAL, "message": "copy /a: full"}
    try:
        for what in ("snapshots", "fork"):
            reply = sandbox.post(what, {})
            assert reply.status == 500 and "copy /a: full" in reply.message
    finally:
        server.launcher.override.clear()
    assert listed(server) == []
    sandbox.post("pause")
    for what in ("snapshots", "fork"):
        assert sandbox.post(what, {}).status == 409
    sandbox.kill()


def test_one_at_a_time(server):
    """Those that come while one is taken wait for it, and are told when the sandbox goes."""
    sandbox, launcher = server.create(), server.launcher
    before = launcher.count(SNAPSHOT)
    held = []
    launcher.override[SNAPSHOT] = lambda call: held.append(call)
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(sandbox.post("snapshots", {})))
               for _ in range(3)]
    for thread in threads:
        thread.start()
    launcher.wait_call(SNAPSHOT, sandbox.id)
    launcher.override.clear()
    assert launcher.count(SNAPSHOT) == before + 1
    assert sandbox.kill() == 204
    for thread in threads:
        thread.join(10)
    assert [r.status for r in replies] == [404] * 3
    # The files of the one that was under way are nobody's when it is done after all.
    launcher.snapshots.add(held[0].base)
    launcher.reply(SNAPSHOT, held[0].serial, sandbox.id)
    launcher.wait_call(DROP, held[0].base)
    assert listed(server) == []


def test_fork(server):
    launcher = server.launcher
    parent = server.create(envVars={"A": "1"}, metadata={"m": "1"}, autoPause=True,
                           network={"allowPublicTraffic": False, "denyOut": ["1.1.1.1"]})
    reply = parent.post("fork", {"count": 3, "timeout": 77})
    assert reply.status == 201, reply.body
    children = [r["sandbox"] for r in reply.json]
    calls = [c for c in launcher.calls if c.op == CREATE][-3:]
    assert len({c["sandboxID"] for c in children}) == 3 and len({c.base for c in calls}) == 1
    assert calls[0].network == [c for c in launcher.calls if c.id == parent.id][0].network
    assert len({c["envdAccessToken"] for c in children} | {parent.token}) == 4
    assert all(c["trafficAccessToken"] for c in children)
    info = server.api("GET", "/sandboxes/" + children[0]["sandboxID"]).json
    assert info["metadata"] == {"m": "1"} and info["lifecycle"]["onTimeout"] == "pause"
    assert info["templateID"] == "base" and info["network"] == parent.info().json["network"]
    assert json.loads(calls[0].config)["envs"]["A"] == "1"
    launcher.wait_call(DROP, calls[0].base)
    assert listed(server) == [], "its files are no snapshot of anybody's"
    for bad in ({"count": 0}, {"count": 101}, {"count": "1"}, {"timeout": 0}):
        assert parent.post("fork", bad).status == 400, bad
    for child in (*children, {"sandboxID": parent.id}):
        assert server.api("DELETE", "/sandboxes/" + child["sandboxID"]).status == 204


def test_each_fork_fails_by_itself(fresh):
    server = fresh("--max-sandboxes", "4")
    parent, launcher = server.create(), server.launcher
    made = []

    def every_second(call):
        made.append(call.id)
        if len(made) % 2:
            return launcher.carry_out(call)
        return {"code": ERR_EXHAUSTED, "message": "no slot"}

    launcher.override[CREATE] = every_second
    results = parent.post("fork", {"count": 6}).json
    assert [sorted(r) for r in results].count(["sandbox"]) == 2, results
    errors = [r["error"] for r in results if "error" in r]
    assert {e["code"] for e in errors} == {503}
    assert sorted(e["message"].split(":")[-1].strip() for e in errors) == [
        "no slot", *["the limit of 4 sandboxes is reached"] * 3]


def test_a_client_that_goes_away_leaves_no_forks(server):
    parent, launcher = server.create(), server.launcher
    held = []
    launcher.override[CREATE] = lambda call: held.append(call)
    before = launcher.count(CREATE)
    connection = server.connect()
    body = b'{"count": 2}'
    connection.sendall(b"POST /sandboxes/%s/fork HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (parent.id.encode(), server.key.encode(),
                                                         len(body), body))
    launcher.wait(lambda: launcher.count(CREATE) == before + 2)
    connection.close()
    launcher.wait_call(DROP, held[0].base)
    launcher.override.clear()
    for call in held:
        launcher.add_box(call.id, call.config)
        launcher.reply(CREATE, call.serial, call.id, pid=1)
        launcher.wait_call(DESTROY, call.id)
    parent.kill()


# ---- cold ---------------------------------------------------------------------------------------


def test_files_only(server):
    launcher = server.launcher
    sandbox = server.create(envVars={"A": "1"}, network={"denyOut": ["1.1.1.1"]})
    first = launcher.calls[-1]
    assert sandbox.post("pause", {"memory": False}).status == 204
    assert launcher.count(PARK, sandbox.id) == 1 and launcher.count(FREEZE, sandbox.id) == 0
    info = sandbox.info().json
    assert (info["state"], info["pauseMode"]) == ("paused", "filesystem")
    assert sandbox.post("pause", {"memory": False}).status == 409
    reply = sandbox.post("connect", {"timeout": 50})
    assert reply.status == 201 and reply.json == sandbox.created, "the same tokens"
    call = launcher.calls[-1]
    assert (call.op, call.again, call.network) == (CREATE, 1, first.network)
    assert json.loads(call.config) == json.loads(first.config)
    assert sandbox.request("GET", "/health").status == 200
    assert "pauseMode" not in sandbox.info().json
    # Its memory is there, but not wanted.
    assert sandbox.post("pause").status == 204 and sandbox.info().json["pauseMode"] == "full"
    assert sandbox.post("connect", {"memory": False}).status == 201
    assert launcher.count(PARK, sandbox.id) == 2 and launcher.count(THAW, sandbox.id) == 0
    assert sandbox.kill() == 204


def test_cold_at_the_end_of_life(server):
    sandbox = server.create(autoPause=True, autoPauseMemory=False, timeout=1)
    server.launcher.wait_call(PARK, sandbox.id)
    eventually(lambda: sandbox.info().json.get("pauseMode") == "filesystem")
    assert sandbox.kill() == 204
    for fields in ({"autoPauseMemory": False},
                   {"autoPause": True, "autoPauseMemory": False, "autoResume": {"enabled": True}}):
        assert server.api("POST", "/v2/sandboxes", {"templateID": "base", **fields}).status == 400


def test_traffic_does_not_start_it(server):
    sandbox = server.create(autoPause=True, autoResume={"enabled": True})
    assert sandbox.post("pause", {"memory": False}).status == 204
    assert sandbox.request("GET", "/files?path=/x").status == 502
    assert sandbox.request("GET", "/", port=80).status == 502
    assert server.launcher.count(CREATE, sandbox.id) == 1
    sandbox.kill()


def test_a_cold_start_that_fails_leaves_it_paused(server):
    sandbox = server.create()
    assert sandbox.post("pause", {"memory": False}).status == 204
    server.launcher.override[CREATE] = lambda call: {"code": ERR_INTERNAL, "message": "mount"}
    reply = sandbox.post("connect")
    assert reply.status == 500 and "mount" in reply.message
    server.launcher.override.clear()
    assert sandbox.info().json["pauseMode"] == "filesystem"
    assert sandbox.post("connect").status == 201
    sandbox.kill()


# ---- over deaths --------------------------------------------------------------------------------


def test_after_a_restart(fresh):
    server = fresh()
    launcher = server.launcher
    plain, cold, parked, started = (server.create() for _ in range(4))
    kept, lost = snapshot(plain, name="kept"), snapshot(plain)
    copy = server.create(templateID=kept, envVars={"A": "1"})
    for sandbox in (cold, started):
        assert sandbox.post("pause", {"memory": False}).status == 204
    before = {s.id: s.info().json for s in (plain, cold, copy, started)}
    server.stop(signal.SIGKILL)
    launcher.snapshots -= {lost.split(":")[0]}
    launcher.snapshots |= {"snobody"}
    launcher.remove_box(parked.id)  # parked, but killed before it was written down
    launcher.parked[parked.id] = True
    launcher.parked["istray"] = True
    del launcher.parked[started.id]  # started again, but killed before it was written down
    launcher.add_box(started.id)
    server.start()
    launcher.wait_call(DROP, "snobody")
    launcher.wait_call(DESTROY, "istray")
    launcher.wait_call(PARK, started.id, times=2)
    assert listed(server) == [kept]
    assert parked.info().json["pauseMode"] == "filesystem"
    eventually(lambda: started.info().json.get("pauseMode") == "filesystem")
    for sandbox in (plain, cold, copy):
        assert sandbox.info().json == before[sandbox.id]
    assert cold.post("connect").json == cold.created
    assert server.create(templateID=kept).kill() == 204
    assert copy.post("pause", {"memory": False}).status == 204
    assert copy.post("connect").status == 201
    envs = json.loads(launcher.calls[-1].config)["envs"]
    assert envs["A"] == "1" and envs["E2B_TEMPLATE_ID"] == before[copy.id]["templateID"]


def test_the_launcher_dies_while_a_snapshot_is_taken(fresh):
    server = fresh()
    sandbox, launcher = server.create(), server.launcher
    held = []
    launcher.override[SNAPSHOT] = lambda call: held.append(call)
    replies = []
    thread = threading.Thread(target=lambda: replies.append(sandbox.post("fork", {"count": 2})))
    thread.start()
    launcher.wait_call(SNAPSHOT)
    launcher.override.clear()
    launcher.stop()
    launcher.snapshots.add(held[0].base)  # it was done, but did not come to say so
    thread.join(10)
    assert replies[0].status == 503
    launcher.start()
    launcher.wait_call(DROP, held[0].base)
    assert sandbox.post("fork").status == 201


# ---- asked for again ----------------------------------------------------------------------------


def test_idempotent_creation(fresh):
    server = fresh()
    headers = {"Idempotency-Key": "a-key-1"}

    def create(**more):
        return server.api("POST", "/v2/sandboxes", {"templateID": "base"}, **{**headers, **more})

    first = create()
    assert first.status == 201 and create().json == first.json
    server.stop(signal.SIGKILL)
    server.start()
    assert create().json == first.json
    assert create(**{"Idempotency-Key": "other"}).json != first.json
    other = server.another_key("other", project="other")
    theirs = server.api("POST", "/v2/sandboxes", {"templateID": "base"}, key=other, **headers)
    assert theirs.status == 201 and theirs.json != first.json
    assert server.api("DELETE", "/sandboxes/" + first.json["sandboxID"]).status == 204
    assert create().json != first.json
    for bad in ("A", "a b", "x" * 256, "ä".encode()):
        assert create(**{"Idempotency-Key": bad}).status == 400


def test_idempotent_creation_at_once(fresh):
    server = fresh()
    held, launcher = [], server.launcher
    launcher.override[CREATE] = lambda call: held.append(call)
    replies = []

    def create():
        replies.append(server.api("POST", "/v2/sandboxes", {"templateID": "base"},
                                  **{"Idempotency-Key": "k"}))

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    launcher.wait_call(CREATE)
    launcher.override.clear()
    launcher.reply(CREATE, held[0].serial, held[0].id, **launcher.carry_out(held[0]))
    for thread in threads:
        thread.join(10)
    assert len({r.json["sandboxID"] for r in replies}) == 1 and launcher.count(LIST) == 1
    assert launcher.count(CREATE) == 1


@pytest.mark.parametrize("healthy", [True, False])
def test_pause_only_when_healthy(server, healthy):
    from fakes import respond
    sandbox = server.create()
    sandbox.agent.handler = lambda stream, head: respond(stream, 204 if healthy else 500)
    reply = sandbox.post("pause", {"requireHealthyGuest": True})
    assert reply.status == (204 if healthy else 503)
    assert sandbox.info().json["state"] == ("paused" if healthy else "running")
    sandbox.kill()
