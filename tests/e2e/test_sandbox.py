# SPDX-License-Identifier: Apache-2.0
"""Life of a sandbox through the control API (protocol.md section 2)."""

import re
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from e2b import (
    AuthenticationException,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    SandboxQuery,
    SandboxState,
    TimeoutException,
)

from harness import eventually


def seconds_left(info):
    return (info.end_at - datetime.now(timezone.utc)).total_seconds()


# ---- create -------------------------------------------------------------------------------------


def test_create_gives_a_working_sandbox(sandbox):
    assert re.fullmatch(r"[a-z0-9]+", sandbox.sandbox_id)
    assert sandbox.is_running()
    assert sandbox.commands.run("echo hello").stdout == "hello\n"


def test_info_says_what_was_made(create):
    metadata = {"purpose": "test ü", "run": uuid.uuid4().hex}
    sandbox = create(metadata=metadata, timeout=90)
    info = sandbox.get_info()
    assert info.sandbox_id == sandbox.sandbox_id
    assert info.name == "base"
    assert info.template_id
    assert info.metadata == metadata
    assert info.state == SandboxState.RUNNING
    assert info.cpu_count >= 1 and info.memory_mb >= 64
    assert 85 < seconds_left(info) <= 90
    assert abs((datetime.now(timezone.utc) - info.started_at).total_seconds()) < 10
    assert re.fullmatch(r"\d+\.\d+\.\d+", info.envd_version)


def test_environment_of_create_reaches_commands(create):
    sandbox = create(envs={"FROM_CREATE": "a b", "EMPTY": ""})
    result = sandbox.commands.run('echo "$FROM_CREATE|${EMPTY-unset}|$E2B_SANDBOX|$E2B_SANDBOX_ID"')
    assert result.stdout == f"a b||true|{sandbox.sandbox_id}\n"


def test_unknown_template_is_refused(server):
    with pytest.raises(SandboxException, match="no-such-template"):
        Sandbox.create("no-such-template")


def test_template_by_id_and_by_name_with_tag(create):
    first = create()
    again = create(first.get_info().template_id)
    assert again.get_info().template_id == first.get_info().template_id
    assert create("base:default").is_running()


def test_first_generation_create(server):
    """POST /sandboxes: 15 seconds when nothing is said, open only when that is asked for."""
    body = {"templateID": "base", "secure": False, "unknownField": [1]}
    reply = server.api("POST", "/sandboxes", body)
    assert reply.status == 201, reply.text
    made = reply.json()
    try:
        assert {"templateID", "sandboxID", "clientID", "envdVersion"} <= made.keys()
        assert "envdAccessToken" not in made
        detail = server.api("GET", f"/sandboxes/{made['sandboxID']}").json()
        end = datetime.fromisoformat(detail["endAt"].replace("Z", "+00:00"))
        assert 10 < (end - datetime.now(timezone.utc)).total_seconds() <= 15
        # open to whoever knows the id
        reply = server.rpc(
            made["sandboxID"], "/filesystem.Filesystem/Stat", {"path": "/"}, token=""
        )
        assert reply.status == 200, reply.text
    finally:
        assert server.api("DELETE", f"/sandboxes/{made['sandboxID']}").status == 204


@pytest.mark.parametrize("secure", [True, None])
def test_first_generation_create_secured(server, secure):
    """Also when nothing is said, unlike upstream."""
    body = {"templateID": "base", "timeout": 33, "metadata": {}, "envVars": {}, "secure": secure}
    made = server.api("POST", "/sandboxes", body).json()
    try:
        assert made["envdAccessToken"]
        reply = server.rpc(
            made["sandboxID"], "/filesystem.Filesystem/Stat", {"path": "/"}, token=""
        )
        assert reply.status == 401
        reply = server.rpc(made["sandboxID"], "/filesystem.Filesystem/Stat", {"path": "/"})
        assert reply.status == 200
    finally:
        server.api("DELETE", f"/sandboxes/{made['sandboxID']}")


def test_second_generation_create(server):
    """POST /v2/sandboxes: only the template is needed; always secured; 300 seconds."""
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
    assert reply.status == 201, reply.text
    made = reply.json()
    try:
        assert made["envdAccessToken"]
        detail = server.api("GET", f"/sandboxes/{made['sandboxID']}").json()
        end = datetime.fromisoformat(detail["endAt"].replace("Z", "+00:00"))
        assert 290 < (end - datetime.now(timezone.utc)).total_seconds() <= 300
        for version in ("", "/v2"):
            reply = server.api(
                "POST", f"{version}/sandboxes/{made['sandboxID']}/connect", {"timeout": 1}
            )
            assert reply.status == 200, reply.text
            assert reply.json()["envdAccessToken"] == made["envdAccessToken"]
        assert server.api("POST", f"/v2/sandboxes/{made['sandboxID']}/connect", {}).status == 200
    finally:
        server.api("DELETE", f"/sandboxes/{made['sandboxID']}")


# ---- connect and timeouts -----------------------------------------------------------------------


def test_connect_reaches_the_same_sandbox(sandbox):
    sandbox.files.write("mark.txt", "here")
    other = Sandbox.connect(sandbox.sandbox_id)
    assert other.sandbox_id == sandbox.sandbox_id
    assert other.files.read("mark.txt") == "here"
    assert sandbox.connect().files.read("mark.txt") == "here"


def test_connect_never_shortens(sandbox):
    sandbox.set_timeout(300)
    before = sandbox.get_info().end_at
    Sandbox.connect(sandbox.sandbox_id, timeout=10)
    assert sandbox.get_info().end_at == before
    Sandbox.connect(sandbox.sandbox_id, timeout=600)
    assert sandbox.get_info().end_at > before + timedelta(seconds=200)


def test_set_timeout_shortens_and_extends(sandbox):
    sandbox.set_timeout(20)
    assert 15 < seconds_left(sandbox.get_info()) <= 20
    sandbox.set_timeout(600)
    assert 590 < seconds_left(sandbox.get_info()) <= 600


def test_refreshes_extend_only(server, sandbox):
    sandbox.set_timeout(100)
    path = f"/sandboxes/{sandbox.sandbox_id}/refreshes"
    assert server.api("POST", path, {"duration": 10}).status == 204
    assert seconds_left(sandbox.get_info()) > 90
    assert server.api("POST", path, {"duration": 500}).status == 204
    assert seconds_left(sandbox.get_info()) > 490


def test_end_of_life_ends_it(create):
    started = time.monotonic()
    sandbox = create(timeout=2)
    with pytest.raises(TimeoutException, match="killed or reached its end of life"):
        sandbox.commands.run("sleep 60")
    assert 1.5 < time.monotonic() - started < 5
    assert not sandbox.is_running()
    with pytest.raises(SandboxNotFoundException):
        sandbox.get_info()
    with pytest.raises(SandboxNotFoundException):
        sandbox.set_timeout(10)
    assert sandbox.kill() is False


def test_timeout_zero_ends_it_at_once(create):
    sandbox = create()
    command = sandbox.commands.run("sleep 60", background=True)
    sandbox.set_timeout(0)
    with pytest.raises(TimeoutException):
        command.wait()
    assert not sandbox.is_running()


@pytest.mark.parametrize("timeout", [-1, 0, 10**8, "soon", 1.5, None, [], True])
def test_create_refuses_bad_timeouts(server, timeout):
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base", "timeout": timeout})
    if reply.status == 201:  # null is the same as absent
        server.api("DELETE", f"/sandboxes/{reply.json()['sandboxID']}")
        assert timeout is None
    else:
        assert reply.status == 400, reply.text
        assert reply.json()["code"] == 400 and "timeout" in reply.json()["message"]


# ---- kill ---------------------------------------------------------------------------------------


def test_kill_twice(create):
    sandbox = create()
    assert sandbox.kill() is True
    assert sandbox.kill() is False
    assert not sandbox.is_running()
    with pytest.raises(TimeoutException, match="was not found"):
        sandbox.files.read("x")
    with pytest.raises(TimeoutException, match="was not found"):
        sandbox.commands.run("true")
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect(sandbox.sandbox_id)


def test_kill_cuts_running_streams(create):
    sandbox = create()
    command = sandbox.commands.run("echo up; sleep 60", background=True)
    assert next(iter(command))[0] == "up\n"
    sandbox.kill()
    with pytest.raises(TimeoutException, match="killed or reached its end of life"):
        command.wait()


def test_unknown_ids(server):
    for sandbox_id in ("i0000000000000000000", "abc"):
        assert Sandbox.kill(sandbox_id) is False
        with pytest.raises(SandboxNotFoundException):
            Sandbox.get_info(sandbox_id)
        with pytest.raises(SandboxNotFoundException):
            Sandbox.set_timeout(sandbox_id, 10)
        with pytest.raises(SandboxNotFoundException):
            Sandbox.connect(sandbox_id)
        reply = server.api("GET", f"/sandboxes/{sandbox_id}")
        assert reply.status == 404 and reply.json()["code"] == 404
        assert sandbox_id in reply.json()["message"]


def test_ids_may_carry_a_client_part(server, sandbox):
    assert server.api("GET", f"/sandboxes/{sandbox.sandbox_id}-6532622b").status == 200
    for bad in (f"{sandbox.sandbox_id}-a-b", "A-b", "%2e%2e", "..%2f.."):
        reply = server.api("GET", f"/sandboxes/{bad}")
        assert reply.status in (400, 404), (bad, reply.text)
        assert reply.json()["code"] == reply.status


# ---- list ---------------------------------------------------------------------------------------


def ids(paginator):
    found = []
    while paginator.has_next:
        found += [item.sandbox_id for item in paginator.next_items()]
    return found


@pytest.fixture(scope="module")
def five(server):
    run = uuid.uuid4().hex
    made = [
        Sandbox.create(timeout=300, metadata={"run": run, "n": str(n), "odd": "a b&c=%20/ü"})
        for n in range(5)
    ]
    yield run, [s.sandbox_id for s in made]
    for s in made:
        s.kill()


def test_list_filters_by_metadata(five):
    run, made = five
    assert ids(Sandbox.list(SandboxQuery(metadata={"run": run}))) == made[::-1]
    assert ids(Sandbox.list(SandboxQuery(metadata={"run": run, "n": "3"}))) == [made[3]]
    assert (
        ids(Sandbox.list(SandboxQuery(metadata={"run": run, "odd": "a b&c=%20/ü"}))) == made[::-1]
    )
    assert ids(Sandbox.list(SandboxQuery(metadata={"run": run, "n": "7"}))) == []


def test_list_pages(five):
    run, made = five
    pages = Sandbox.list(SandboxQuery(metadata={"run": run}), limit=2)
    sizes, seen = [], []
    while pages.has_next:
        items = pages.next_items()
        sizes.append(len(items))
        seen += [item.sandbox_id for item in items]
    assert sizes == [2, 2, 1] and seen == made[::-1]
    oldest_first = Sandbox.list(SandboxQuery(metadata={"run": run}), limit=3, order="asc")
    assert ids(oldest_first) == made


def test_list_filters_by_state_template_and_start(five):
    run, made = five
    query = {"metadata": {"run": run}}
    assert ids(Sandbox.list(SandboxQuery(**query, state=[SandboxState.RUNNING]))) == made[::-1]
    assert ids(Sandbox.list(SandboxQuery(**query, state=[SandboxState.PAUSED]))) == []
    assert ids(Sandbox.list(SandboxQuery(**query, template="base"))) == made[::-1]
    assert ids(Sandbox.list(SandboxQuery(**query, template="no-such-template"))) == []
    third = Sandbox.get_info(made[2]).started_at
    assert ids(Sandbox.list(SandboxQuery(**query, started_after=third))) == made[:1:-1]
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    assert ids(Sandbox.list(SandboxQuery(**query, started_after=later))) == []


def test_list_headers_and_legacy_form(server, five):
    run, made = five
    reply = server.api("GET", f"/v2/sandboxes?metadata=run%3D{run}&limit=2")
    assert reply.status == 200 and len(reply.json()) == 2
    assert reply.headers["X-Next-Token"] and int(reply.headers["X-Total-Running"]) >= 5
    reply = server.api("GET", f"/v2/sandboxes?metadata=run%3D{run}&limit=5")
    assert reply.headers["X-Next-Token"] is None
    for item in reply.json():
        assert {
            "templateID",
            "sandboxID",
            "clientID",
            "startedAt",
            "endAt",
            "cpuCount",
            "memoryMB",
            "diskSizeMB",
            "state",
            "envdVersion",
        } <= item.keys()
    reply = server.api("GET", f"/sandboxes?metadata=run%3D{run}")
    assert {item["sandboxID"] for item in reply.json()} == set(made)


@pytest.mark.parametrize(
    "query",
    [
        "nextToken=garbage",
        "limit=0",
        "limit=101",
        "limit=x",
        "state=sleeping",
        "order=up",
        "startedAfter=yesterday",
    ],
)
def test_list_refuses_bad_queries(server, query):
    reply = server.api("GET", f"/v2/sandboxes?{query}")
    assert reply.status == 400, reply.text
    assert reply.json()["code"] == 400 and reply.json()["message"]


# ---- keys, routes, metrics ----------------------------------------------------------------------


def test_keys(server, sandbox):
    for key in ("", "e2b_" + "0" * 40, server.key + "0", server.key[:-1], "x"):
        for method, path, body in (
            ("GET", "/v2/sandboxes", None),
            ("POST", "/v2/sandboxes", {"templateID": "base"}),
            ("DELETE", f"/sandboxes/{sandbox.sandbox_id}", None),
        ):
            reply = server.api(method, path, body, key=key)
            assert reply.status == 401, (key, path, reply.text)
            assert reply.json()["code"] == 401 and reply.json()["message"]
    with pytest.raises(AuthenticationException):
        Sandbox.create(api_key="e2b_" + "0" * 40)
    assert sandbox.is_running()


def test_unknown_routes_and_methods(server):
    for method, path, statuses in (
        ("GET", "/nothing/here", {404}),
        ("PUT", "/v2/sandboxes", {404, 405}),
        ("PATCH", "/sandboxes/abc", {404, 405}),
    ):
        reply = server.api(method, path)
        assert reply.status in statuses, reply.text
        assert reply.json()["code"] == reply.status
    assert server.request("GET", "/health").status in (200, 204)


def test_running_sandbox_cannot_be_resumed(server, sandbox):
    reply = server.api("POST", f"/sandboxes/{sandbox.sandbox_id}/resume", {"timeout": 15})
    assert reply.status == 409 and reply.json()["code"] == 409, reply.text


def test_metrics(sandbox):
    sandbox.commands.run("head -c 20000000 /dev/zero | sha256sum")
    metrics = eventually(sandbox.get_metrics, 15, "a metrics sample")
    last = metrics[-1]
    assert last.cpu_count >= 1 and last.cpu_used_pct >= 0
    assert 0 < last.mem_used <= last.mem_total
    assert 0 <= last.disk_used <= last.disk_total and last.disk_total > 0
    assert abs((datetime.now(timezone.utc) - last.timestamp).total_seconds()) < 30
    an_hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    assert sandbox.get_metrics(start=an_hour_ago - timedelta(hours=1), end=an_hour_ago) == []


def test_idempotency_key_is_tolerated(create):
    assert create(idempotency_key=f"key-{uuid.uuid4()}").is_running()


def test_logs_name_what_was_killed_for_memory(server, create):
    sandbox = create()
    with pytest.raises(Exception):  # the bomb's own end is test_isolation's
        sandbox.commands.run("head -c 2G /dev/zero | tail", timeout=60)
    path = f"/v2/sandboxes/{sandbox.sandbox_id}/logs?level=warn"
    (entry,) = eventually(lambda: server.api("GET", path).json()["logs"], 30, "the event")
    assert entry["message"] == "processes killed: out of memory"
    assert entry["fields"]["limit"] == "512 MiB"
