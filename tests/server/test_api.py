# SPDX-License-Identifier: Apache-2.0
"""The control API: keys, routes, creation, exact codes and shapes (protocol.md 2, 12)."""
import errno
import json
import re
import subprocess
import os

import pytest

from fakes import CREATE, DESTROY, ERR_EXHAUSTED, ERR_INTERNAL, ERR_NOT_FOUND


# ---- keys and routes ----------------------------------------------------------------------------


def test_health_needs_no_key(server):
    reply = server.request("GET", "/health")
    assert (reply.status, reply.body) == (204, b"")


@pytest.mark.parametrize("headers", [
    {}, {"X-API-KEY": ""}, {"X-API-KEY": "e2b_" + "0" * 40}, {"X-API-KEY": "e2b_" + "0" * 4000},
    {"Authorization": "Bearer nothing"}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"},
])
@pytest.mark.parametrize("path", ["/sandboxes", "/v2/sandboxes", "/templates", "/sandboxes/iabc"])
def test_no_key_no_answer(server, path, headers):
    reply = server.request("GET", path, headers=headers)
    assert reply.status == 401 and "API key" in reply.message


def test_key_as_bearer(server):
    assert server.request("GET", "/sandboxes", headers={"Authorization": f"Bearer {server.key}"}
                          ).status == 200


def test_exports(server):
    url = f"http://127.0.0.1:{server.port}"
    assert server.exports == {"E2B_API_KEY": server.key, "E2B_API_URL": url, "E2B_SANDBOX_URL": url}
    assert re.fullmatch("e2b_[0-9a-f]{40}", server.key)


def test_unknown_paths_and_methods(server):
    for path in ("/", "/nothing", "/sandboxes/", "/sandboxes//timeout", "/sandboxes/x/y/z", "//",
                 "/v2/sandboxes/x/timeout", "/v9/sandboxes"):
        reply = server.api("GET", path)
        assert reply.status == 404 and reply.message, path
    reply = server.api("PATCH", "/sandboxes")
    assert reply.status == 405 and reply.message
    assert reply.headers["Allow"] == "POST, GET"
    assert server.api("POST", "/sandboxes/metrics").headers["Allow"] == "GET, GET, DELETE"


@pytest.mark.parametrize("method,path", [
    ("POST", "/v3/templates"), ("GET", "/volumes"), ("GET", "/secrets"),
])
def test_what_comes_later_says_so(server, method, path):
    reply = server.api(method, path, {})
    assert reply.status == 501 and "not implemented" in reply.message


def test_cors(server):
    reply = server.request("OPTIONS", "/sandboxes", headers={
        "Origin": "https://a.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key"})
    assert reply.status == 204
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert reply.headers["Access-Control-Allow-Headers"] == "x-api-key"
    reply = server.api("GET", "/sandboxes", Origin="https://a.example")
    assert "X-Next-Token" in reply.headers["Access-Control-Expose-Headers"]
    assert server.request("GET", "/sandboxes", headers={"Origin": "x"}
                          ).headers["Access-Control-Allow-Origin"] == "*"


# ---- create -------------------------------------------------------------------------------------


def test_create_second_generation(server):
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
    assert reply.status == 201
    created = reply.json
    assert set(created) == {"templateID", "sandboxID", "clientID", "envdVersion", "alias",
                            "envdAccessToken", "trafficAccessToken", "domain"}
    assert re.fullmatch("i[a-z0-9]{19}", created["sandboxID"])
    assert created["envdVersion"] == "0.6.13" and created["alias"] == "base"
    assert created["trafficAccessToken"] is None
    assert created["domain"] == f"sbx.localhost:{server.port}"
    assert len(created["envdAccessToken"]) == 64
    info = server.api("GET", f"/sandboxes/{created['sandboxID']}").json
    assert 299 <= seconds(info["startedAt"], info["endAt"]) <= 300
    assert server.api("DELETE", f"/sandboxes/{created['sandboxID']}").status == 204


def seconds(start, end):
    from datetime import datetime
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def test_create_first_generation(server):
    """As the Python SDK sends it; and the defaults of this path."""
    body = (b'{"templateID":"base","allow_internet_access":true,"autoPause":false,"autoResume":'
            b'{"enabled":false},"envVars":{},"metadata":{},"secure":true,"timeout":300}')
    reply = server.api("POST", "/sandboxes", body)
    assert reply.status == 201 and reply.json["envdAccessToken"]
    server.api("DELETE", f"/sandboxes/{reply.json['sandboxID']}")

    sandbox = server.create("/sandboxes")
    info = sandbox.info().json
    assert 14 <= seconds(info["startedAt"], info["endAt"]) <= 15
    assert sandbox.token, "secured unless it is refused"
    sandbox.kill()
    sandbox = server.create("/sandboxes", secure=False)
    assert "envdAccessToken" not in sandbox.created
    assert sandbox.request("GET", "/envs").status == 200
    sandbox.kill()
    sandbox = server.create("/v2/sandboxes", secure=False)
    assert sandbox.token, "the second generation has no such field"
    sandbox.kill()


def test_chunked_body_as_the_js_sdk_sends_it(server):
    stream = server.stream()
    stream.sock.sendall(
        b"POST /v2/sandboxes HTTP/1.1\r\nhost: 127.0.0.1:3000\r\nx-api-key: " + server.key.encode() +
        b"\r\ntransfer-encoding: chunked\r\n\r\n15\r\n{\"templateID\":\"base\"}\r\n0\r\n\r\n")
    head = stream.head()
    assert head.first == "HTTP/1.1 201 Created"
    created = json.loads(stream.exactly(int(head.get("content-length"))))
    assert server.api("DELETE", f"/sandboxes/{created['sandboxID']}").status == 204


def test_what_the_agent_and_the_launcher_are_told(fresh):
    server = fresh("--memory-mb", "512", "--cpus", "1.5", "--pids", "77", "--disk-mb", "100",
                   "--ca-bundle", "/etc/passwd")
    server.manifest({"envs": {"PATH": "/t", "FOO": "template"}, "defaultUser": "user"})
    sandbox = server.create(envVars={"FOO": "create", "E2B_TEMPLATE_ID": "mine", "ä": "ö"},
                            allow_internet_access=False)
    call = next(c for c in server.launcher.calls if c.op == CREATE)
    assert (call.template, call.memory, call.cpu_millis, call.pids, call.disk, call.allow_internet) == \
        ("base", 512 << 20, 1500, 77, 100 << 20, 0)
    config = sandbox.agent.config
    assert config["sandboxId"] == sandbox.id and config["templateId"] == "base"
    assert config["defaultUser"] == "user" and "defaultWorkdir" not in config
    assert config["memoryBytes"] == 512 << 20 and config["cpuMillis"] == 1500
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    assert config["envs"] == {
        "PATH": "/t", "FOO": "create", "SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": bundle, "PIP_CERT": bundle, "CURL_CA_BUNDLE": bundle,
        "GIT_SSL_CAINFO": bundle, "E2B_SANDBOX": "true", "E2B_SANDBOX_ID": sandbox.id,
        "E2B_TEMPLATE_ID": "mine", "ä": "ö"}
    info = sandbox.info().json
    assert (info["cpuCount"], info["memoryMB"], info["diskSizeMB"]) == (2, 512, 100)
    assert info["allowInternetAccess"] is False


BAD = [
    (b"", "invalid JSON"),
    (b"{", "line 1"),
    (b"[]", "object"),
    (b"\xff\xfe{}", "invalid JSON"),
    (b'{"templateID":"base"} x', "invalid JSON"),
    (b"[" * 100000, "deeper"),
    (b'{"a":' * 100 + b"1" + b"}" * 100, "deeper"),
    (b"{}", '"templateID" is missing'),
    (b'{"templateID":null}', '"templateID" is missing'),
    (b'{"templateID":7}', '"templateID" must be a string'),
    (b'{"templateID":""}', "must name a template"),
    (b'{"templateID":"../../etc"}', "invalid template reference"),
    (b'{"templateID":"base","timeout":0}', '"timeout" must be a positive integer'),
    (b'{"templateID":"base","timeout":-5}', '"timeout" must be a positive integer'),
    (b'{"templateID":"base","timeout":"5"}', '"timeout" must be a positive integer'),
    (b'{"templateID":"base","timeout":5.5}', '"timeout" must be a positive integer'),
    (b'{"templateID":"base","timeout":99999999999999999999}', "integer"),
    (b'{"templateID":"base","timeout":86401}', '"timeout" must be at most 86400'),
    (b'{"templateID":"base","metadata":[]}', '"metadata" must be an object'),
    (b'{"templateID":"base","metadata":{"a":1}}', '"metadata": the value of "a"'),
    (b'{"templateID":"base","envVars":{"A=B":"x"}}', '"A=B" is not a name'),
    (b'{"templateID":"base","envVars":{"":"x"}}', "is not a name"),
    (b'{"templateID":"base","envVars":{"A":"x\\u0000y"}}', "invalid JSON"),
    (b'{"templateID":"base","allow_internet_access":1}', '"allow_internet_access" must be true or'),
    (b'{"templateID":"base","autoPause":"yes"}', '"autoPause" must be true or false'),
    (b'{"templateID":"base","autoPauseMemory":false}', '"autoPauseMemory" needs'),
    (b'{"templateID":"base","autoResume":true}', '"autoResume" must be an object'),
    (b'{"templateID":"base","network":{"allowOut":[1]}}', '"network.allowOut"[0] must be a string'),
    (b'{"templateID":"base","network":{"maskRequestHost":"a\\r\\nb"}}', "maskRequestHost"),
    (b'{"templateID":"base","metadata":{"a":"' + b"x" * 70000 + b'"}}', '"metadata" must be at most'),
    (b'{"templateID":"base","envVars":{"a":"' + b"x" * 140000 + b'"}}', '"envVars" must be at most'),
]


@pytest.mark.parametrize("path", ["/sandboxes", "/v2/sandboxes"])
@pytest.mark.parametrize("body,says", BAD, ids=range(len(BAD)))
def test_bad_bodies(server, path, body, says):
    before = server.launcher.count(CREATE)
    reply = server.api("POST", path, body)
    assert reply.status == 400 and says in reply.message
    assert server.launcher.count(CREATE) == before


def test_not_found_and_not_implemented(server):
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "nope"})
    assert (reply.status, reply.message) == (404, "template 'nope' not found")
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base:v7"})
    assert (reply.status, reply.message) == (404, "tag 'v7' does not exist for template 'base'")
    # names need everything else denied (protocol.md 2.4); transforming traffic is not offered
    for network in ({"rules": {"a.example": [{"transform": {}}]}}, {"allowOut": ["a.example"]}):
        reply = server.api("POST", "/v2/sandboxes", {"templateID": "base", "network": network})
        assert reply.status == 400 and "network" in reply.message, network
    for fields in ({"volumeMounts": [{"name": "v", "path": "/v"}]},
                   {"iam": {"tokens": {"a": {"audience": "b"}}}}):
        reply = server.api("POST", "/v2/sandboxes", {"templateID": "base", **fields})
        assert reply.status == 501 and "not implemented" in reply.message, fields
    sandbox = server.create(network={"denyOut": ["0.0.0.0/0"]}, mcp={"x": {}}, unknown=[1, {"a": 2}])
    assert sandbox.info().json["network"]["denyOut"] == ["0.0.0.0/0"]
    sandbox.kill()


def test_too_large_a_body(server):
    reply = server.api("POST", "/v2/sandboxes", b" " * (1 << 20) + b"{}")
    assert reply.status == 413 and reply.message
    assert server.request("GET", "/health").status == 204


def test_cut_body_makes_nothing(server):
    before = server.launcher.count(CREATE)
    stream = server.stream()
    stream.sock.sendall(b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-KEY: " +
                        server.key.encode() + b"\r\nContent-Length: 21\r\n\r\n{\"templateID\"")
    stream.sock.close()
    assert server.request("GET", "/health").status == 204
    assert server.launcher.count(CREATE) == before


def test_launcher_failures(server):
    launcher = server.launcher
    try:
        for code, number in (ERR_INTERNAL, errno.ENOSPC), (ERR_NOT_FOUND, errno.ENOENT):
            launcher.override[CREATE] = lambda call: {
                "code": code, "os_error": number, "message": "mount overlay on root"}
            reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
            assert reply.status == 503 and reply.message.endswith("mount overlay on root")
        launcher.override[CREATE] = lambda call: {"code": ERR_EXHAUSTED, "message": "no free uid slot"}
        reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
        assert reply.status == 503 and "no free uid slot" in reply.message
        assert reply.headers["Retry-After"].isdigit()
    finally:
        launcher.override.clear()
    assert server.api("GET", "/v2/sandboxes").json == []


def test_limit_of_sandboxes(fresh):
    server = fresh("--max-sandboxes", "2")
    first, second = server.create(), server.create()
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
    assert reply.status == 429 and "limit of 2" in reply.message
    assert reply.headers["Retry-After"].isdigit()
    assert first.kill() == 204
    third = server.create()
    assert second.kill() == third.kill() == 204


# ---- one sandbox --------------------------------------------------------------------------------


def test_get_and_kill(server):
    sandbox = server.create(metadata={"a": "ä b&c"}, timeout=60)
    info = sandbox.info().json
    assert info["sandboxID"] == sandbox.id and info["state"] == "running"
    assert info["metadata"] == {"a": "ä b&c"}
    assert info["envdAccessToken"] == sandbox.token
    assert info["lifecycle"] == {"autoResume": False, "onTimeout": "kill"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", info["startedAt"])
    for field in ("cpuCount", "memoryMB", "diskSizeMB"):
        assert isinstance(info[field], int) and info[field] > 0
    with_client = server.api("GET", f"/sandboxes/{sandbox.id}-6532622b")
    assert with_client.json == info
    assert sandbox.kill() == 204
    assert server.launcher.count(DESTROY, sandbox.id) == 1
    for reply in (sandbox.info(), server.api("DELETE", f"/sandboxes/{sandbox.id}"),
                  sandbox.post("timeout", {"timeout": 5}), sandbox.post("connect", {"timeout": 5}),
                  sandbox.post("pause"), sandbox.post("refreshes", {"duration": 5})):
        assert reply.status == 404
        assert reply.message == f'Sandbox "{sandbox.id}" doesn\'t exist or you don\'t have access to it'


@pytest.mark.parametrize("name,status", [
    ("nonexistingsandbox", 404), ("i" * 200, 404), ("a-b-c", 400), ("A", 400), ("a_b", 400),
    ("%2e%2e", 400), ("a%2Fb", 400), ("%zz", 400), ("a%00b", 400), ("-", 400), ("%20", 400),
])
def test_names_of_sandboxes(server, name, status):
    assert server.api("GET", f"/sandboxes/{name}").status == status
    assert server.api("DELETE", f"/sandboxes/{name}").status == status


def end_in(sandbox):
    from datetime import datetime, timezone
    end = datetime.fromisoformat(sandbox.info().json["endAt"])
    return (end - datetime.now(timezone.utc)).total_seconds()


def test_timeouts(server, sandbox):
    assert sandbox.post("timeout", {"timeout": 1000}).status == 204
    assert 998 < end_in(sandbox) <= 1000
    assert sandbox.post("timeout", {"timeout": 50}).status == 204, "may shorten"
    assert 48 < end_in(sandbox) <= 50
    before = sandbox.info().json["endAt"]
    for generation, timeout in (("", 10), ("/v2", 10)):
        reply = sandbox.post("connect", {"timeout": timeout}, generation)
        assert reply.status == 200 and reply.json == sandbox.created
    assert sandbox.info().json["endAt"] == before, "connect never shortens"
    assert sandbox.post("connect", {}, "/v2").status == 200
    assert 298 < end_in(sandbox) <= 300, "300 s when none is given"
    assert sandbox.post("refreshes", {"duration": 1}).status == 204
    assert 298 < end_in(sandbox) <= 300
    assert sandbox.post("refreshes", {"duration": 3600}).status == 204
    assert 3598 < end_in(sandbox) <= 3600
    for what, body in (("timeout", {"timeout": -1}), ("timeout", {"timeout": "1"}), ("timeout", {}),
                       ("timeout", {"timeout": 86401}), ("connect", {"timeout": 1.5}),
                       ("connect", {"timeout": 86401}), ("refreshes", {"duration": 3601})):
        reply = sandbox.post(what, body)
        assert reply.status == 400 and ("timeout" in reply.message or "duration" in reply.message)


def test_longest_life_counts_from_the_start(fresh):
    server = fresh("--max-timeout", "100")
    sandbox = server.create(timeout=90)
    assert sandbox.post("timeout", {"timeout": 100}).status == 204
    info = sandbox.info().json
    assert seconds(info["startedAt"], info["endAt"]) <= 100


def test_end_of_life(server):
    sandbox = server.create(timeout=1)
    server.launcher.wait_call(DESTROY, sandbox.id)
    assert sandbox.info().status == 404
    sandbox = server.create(timeout=100)
    assert sandbox.post("timeout", {"timeout": 0}).status == 204
    server.launcher.wait_call(DESTROY, sandbox.id)
    assert sandbox.info().status == 404


# ---- listing ------------------------------------------------------------------------------------


def test_listing(fresh):
    server = fresh()
    server.manifest({}, "other")
    made = [server.create(metadata={"n": str(n), "group": "a b&c" if n % 2 else "x"},
                          templateID="other" if n == 4 else "base") for n in range(5)]
    ids = [s.id for s in made]
    assert made[1].post("pause").status == 204

    def listed(query="", path="/v2/sandboxes"):
        reply = server.api("GET", f"{path}?{query}")
        assert reply.status == 200, reply.body
        return [s["sandboxID"] for s in reply.json], reply

    everything, reply = listed()
    assert everything == ids[::-1], "newest first"
    assert reply.headers["X-Total-Running"] == "4" and reply.headers["X-Next-Token"] is None
    item = next(s for s in reply.json if s["sandboxID"] == ids[0])
    assert set(item) == {"templateID", "sandboxID", "clientID", "startedAt", "endAt", "cpuCount",
                         "memoryMB", "diskSizeMB", "state", "envdVersion", "alias", "metadata"}
    assert listed("order=asc")[0] == ids
    assert listed("state=paused")[0] == [ids[1]]
    assert listed("state=paused")[1].headers["X-Total-Running"] is None
    assert listed("state=running%2Cpaused")[0] == ids[::-1]
    assert listed("", "/sandboxes")[0] == [ids[4], ids[3], ids[2], ids[0]]
    assert listed("metadata=group%3Da%252520b%252526c")[0] == [ids[3], ids[1]]
    assert listed("metadata=group%3Da%252520b%252526c%26n%3D3")[0] == [ids[3]]
    assert listed("metadata=group%3Da%252520b%252526c", "/sandboxes")[0] == [ids[3]]
    assert listed("template=other")[0] == [ids[4]]
    assert listed("template=never-made")[0] == []
    started = made[2].info().json["startedAt"]
    assert listed(f"startedAfter={started}")[0][:3] == ids[:1:-1]

    for order in ("asc", "desc"):
        pages, token = [], ""
        for _ in range(3):
            page, reply = listed(f"limit=2&order={order}&nextToken={token}")
            pages += page
            token = reply.headers["X-Next-Token"]
        assert token is None and pages == (ids if order == "asc" else ids[::-1])
    token = listed("limit=2")[1].headers["X-Next-Token"]
    for bad in (f"nextToken={token}&order=asc", "nextToken=x", f"nextToken={token[:-4]}zzzz",
                "limit=0", "limit=101", "state=dead", "order=up", "metadata=x", "startedAfter=x",
                "metadata=%zz"):
        reply = server.api("GET", f"/v2/sandboxes?{bad}")
        assert reply.status == 400 and reply.message, bad
    # those that go between pages leave no hole
    page, reply = listed("limit=2")
    for sandbox in made:
        if sandbox.id in page:
            sandbox.kill()
    assert listed(f"limit=2&nextToken={reply.headers['X-Next-Token']}")[0] == [ids[2], ids[1]]


# ---- projects and keys --------------------------------------------------------------------------

CARREL = os.environ.get("CARREL", "")


@pytest.mark.skipif(not CARREL, reason="CARREL names no program")
def test_keys_and_projects(fresh):
    server = fresh()

    def key(*arguments, ok=True):
        done = subprocess.run([CARREL, "key", *arguments, "--state", server.state],
                              capture_output=True, text=True, timeout=20)
        assert (done.returncode == 0) == ok, done.stderr
        return done.stdout if ok else done.stderr

    mine = server.create()
    other = key("create", "theirs", "--project", "second").strip()
    assert re.fullmatch("e2b_[0-9a-f]{40}", other)
    assert server.api("GET", "/v2/sandboxes", key=other).json == [], "at once, without a restart"
    assert server.api("GET", f"/sandboxes/{mine.id}", key=other).status == 404
    assert server.api("DELETE", f"/sandboxes/{mine.id}", key=other).status == 404
    assert server.api("GET", f"/sandboxes/{mine.id}/metrics", key=other).status == 404
    theirs = server.api("POST", "/v2/sandboxes", {"templateID": "base"}, key=other).json["sandboxID"]
    assert [s["sandboxID"] for s in server.api("GET", "/v2/sandboxes").json] == [mine.id]
    listing = key("list")
    assert "theirs" in listing and "second" in listing and other not in listing
    assert "already" in key("create", "theirs", ok=False)
    assert "no key named" in key("revoke", "nobody", ok=False)
    key("revoke", "theirs")
    assert server.api("GET", "/sandboxes", key=other).status == 401
    assert server.api("GET", "/sandboxes").status == 200
    key("revoke", "default")
    assert server.api("GET", "/sandboxes").status == 401
    assert not os.path.exists(server.state + "/server/key")
    assert theirs in server.launcher.boxes, "sandboxes outlive keys"


# ---- templates, metrics -------------------------------------------------------------------------


def test_templates(fresh):
    server = fresh()
    server.manifest({"memoryMB": 128, "cpuCount": 3}, "small")
    os.makedirs(server.templates + "/broken")
    with open(server.templates + "/broken/manifest.json", "w") as out:
        out.write("{")
    templates = server.api("GET", "/templates").json
    assert [t["templateID"] for t in templates] == ["base", "small"]
    assert server.api("GET", "/v2/templates").json == templates
    small = templates[1]
    assert (small["memoryMB"], small["cpuCount"], small["buildStatus"]) == (128, 3, "ready")
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", small["buildID"])
    assert server.api("GET", "/templates/small").json["builds"][0]["buildID"] == small["buildID"]
    assert server.api("GET", "/templates/aliases/base").json == {"templateID": "base", "public": True}
    assert server.api("GET", "/templates/team%2FBase:default").json["templateID"] == "base"
    for path in ("/templates/none", "/templates/aliases/none"):
        assert server.api("GET", path).status == 404
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "broken"})
    assert reply.status == 500 and "manifest.json" in reply.message


def test_metrics(fresh):
    server = fresh()
    sandbox = server.create()
    from conftest import eventually
    rows = eventually(lambda: server.api("GET", f"/sandboxes/{sandbox.id}/metrics").json, 15)
    row = rows[0]
    assert set(row) == {"timestamp", "timestampUnix", "cpuCount", "cpuUsedPct", "memUsed", "memTotal",
                        "memCache", "diskUsed", "diskTotal"}
    assert (row["memUsed"], row["memCache"], row["diskUsed"]) == (40 << 20, 10 << 20, 5 << 20)
    assert isinstance(row["cpuUsedPct"], float)
    at = row["timestampUnix"]
    path = f"/sandboxes/{sandbox.id}/metrics"
    assert server.api("GET", f"{path}?start={at}&end={at}").json == rows[:1]
    assert server.api("GET", f"{path}?end={at - 1}").json == []
    assert server.api("GET", f"{path}?start=x").status == 400
    latest = server.api("GET", f"/sandboxes/metrics?sandbox_ids={sandbox.id},inone").json
    assert list(latest["sandboxes"]) == [sandbox.id]
    assert server.api("GET", "/sandboxes/metrics").status == 400
