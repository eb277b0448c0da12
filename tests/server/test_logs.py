# SPDX-License-Identifier: Apache-2.0
"""Events of a sandbox, as its logs."""
import json
import signal
import time

from conftest import eventually
from fakes import USAGE


def entries(server, name, query="", key=None):
    reply = server.api("GET", f"/v2/sandboxes/{name}/logs{query}", key=key)
    assert reply.status == 200, reply.body
    return reply.json["logs"]


def messages(server, name, query=""):
    return [e["message"] for e in entries(server, name, query)]


ALL = ["sandbox created", "sandbox paused", "sandbox resumed", "snapshot taken", "sandbox ends"]


def live(server):
    sandbox = server.create()
    assert sandbox.post("pause").status == 204
    assert sandbox.post("connect").status == 201
    assert sandbox.post("snapshots", {}).status == 201
    assert sandbox.kill() == 204
    return sandbox


def test_both_generations(server):
    sandbox = live(server)
    reply = server.api("GET", f"/sandboxes/{sandbox.id}/logs?limit=1000").json
    assert [e["message"] for e in reply["logEntries"]] == ALL
    lines = [json.loads(line["line"]) for line in reply["logs"]]
    assert [line["message"] for line in lines] == ALL
    assert all(line["level"] == "info" and line["logger"] for line in lines)
    assert lines[-1]["reason"] == "killed by request"
    assert reply["logEntries"][1]["fields"] == {"mode": "full"}
    assert messages(server, sandbox.id) == ALL[::-1], "the newest first"
    assert messages(server, sandbox.id, "?direction=forward&limit=2") == ALL[:2]
    assert messages(server, sandbox.id, "?search=sandbox+r") == ["sandbox resumed"]
    assert messages(server, sandbox.id, "?level=warn") == []
    now = int(time.time() * 1000)
    assert messages(server, sandbox.id, f"?cursor={now + 10000}&direction=forward") == []
    assert messages(server, sandbox.id, f"?cursor={now + 10000}") == ALL[::-1]
    assert messages(server, sandbox.id, "?cursor=1") == []


def test_bad_queries_and_strangers(fresh):
    server = fresh()
    sandbox = server.create()
    for query in ("?level=loud", "?direction=up", "?limit=0", "?limit=1001", "?cursor=x", "?level=%zz"):
        assert server.api("GET", f"/v2/sandboxes/{sandbox.id}/logs{query}").status == 400, query
    other = server.another_key("other", project="other")
    for path in (f"/v2/sandboxes/{sandbox.id}/logs", f"/sandboxes/{sandbox.id}/logs"):
        assert server.api("GET", path, key=other).status == 404
    assert server.api("GET", "/sandboxes/iunknown/logs").status == 404
    assert server.api("GET", "/sandboxes/a_b/logs").status == 400


def test_they_outlive_a_crash(fresh):
    server = fresh()
    sandbox = live(server)
    server.stop(signal.SIGKILL)
    server.start()
    assert messages(server, sandbox.id) == ALL[::-1]


def test_kills_for_lack_of_memory_are_named(fresh):
    server = fresh()
    sandbox, kills = server.create(), [0]

    def usage(call):
        server.launcher.reply(USAGE, call.serial, call.id, oom=kills[0])

    server.launcher.override[USAGE] = usage
    server.launcher.wait_call(USAGE, sandbox.id)
    assert messages(server, sandbox.id, "?level=warn") == []
    kills[0] = 3
    (entry,) = eventually(lambda: entries(server, sandbox.id, "?level=warn"), seconds=20)
    assert entry["message"] == "processes killed: out of memory" and entry["level"] == "warn"
    assert entry["fields"]["count"] == "3" and entry["fields"]["limit"].endswith(" MiB")
