# SPDX-License-Identifier: Apache-2.0
"""What operators rely on: room kept, haste refused, turns taken, numbers to look at."""
import http.client
import os
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Reply, eventually
from fakes import CREATE


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def look(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return Reply(response, response.read())
    finally:
        connection.close()


def numbers(port):
    reply = look(port, "/metrics")
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return dict(line.rsplit(" ", 1) for line in reply.body.decode().splitlines()
                if not line.startswith("#"))


def second_key(server, project):
    """`carrel key create` works beside a running server; here the test driver has no such command,
    so the key is put into the store by the program itself."""
    out = subprocess.run([os.environ["CARREL"], "key", "create", f"of-{project}", "--project", project,
                          "--state", server.state], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout.strip()


# ---- requests have names ----


def test_a_request_keeps_its_name(server):
    reply = server.api("GET", "/v2/sandboxes", **{"X-Request-Id": "mine-1.2_3"})
    assert reply.headers["X-Request-Id"] == "mine-1.2_3"
    eventually(lambda: "request_id=mine-1.2_3" in server.log(), what="a line in the log")
    line = next(l for l in server.log().splitlines() if "request_id=mine-1.2_3" in l)
    assert "project=default method=GET route=/v2/sandboxes sandbox=- status=200 us=" in line


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\"b", "é"])
def test_a_name_that_could_forge_a_log_is_replaced(server, given):
    reply = server.api("GET", "/v2/sandboxes", **{"X-Request-Id": given.encode()})
    assert re.fullmatch("[0-9a-f]{16}", reply.headers["X-Request-Id"])


def test_the_log_names_what_failed(server):
    server.api("DELETE", "/sandboxes/inothing", **{"X-Request-Id": "gone"})
    server.request("GET", "/v2/sandboxes", headers={"X-Request-Id": "stranger"})
    eventually(lambda: "request_id=stranger" in server.log(), what="both lines")
    assert re.search("request_id=gone .*route=/sandboxes/{} sandbox=inothing status=404", server.log())
    assert re.search("request_id=stranger project=- .*status=401", server.log())


# ---- room ----


@pytest.mark.parametrize("option, cause, words", [
    ("--keep-memory-mb", "memory", "memory are left"), ("--keep-disk-mb", "disk", "disk are left")])
def test_no_sandbox_without_room(fresh, option, cause, words):
    server = fresh(option, str(1 << 24))
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
    assert reply.status == 503 and words in reply.message
    assert reply.json["cause"] == cause and int(reply.headers["Retry-After"]) > 0
    assert server.launcher.count(CREATE) == 0


def test_limits_of_a_project(fresh):
    server = fresh("--project-sandboxes", "1")
    other = second_key(server, "other")
    first = server.create()
    reply = server.api("POST", "/v2/sandboxes", {"templateID": "base"})
    assert reply.status == 429 and reply.json["cause"] == "project"
    assert server.api("POST", "/v2/sandboxes", {"templateID": "base"}, key=other).status == 201
    assert first.kill() == 204
    server.create()


def test_haste_is_refused_by_project(fresh):
    server = fresh("--rate", "1")
    other = second_key(server, "other")
    replies = [server.api("GET", "/v2/sandboxes") for _ in range(20)]
    assert {r.status for r in replies} == {200, 429}
    refused = next(r for r in replies if r.status == 429)
    assert refused.json["cause"] == "rate" and int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["RateLimit-Limit"] == "2"
    assert replies[0].headers["RateLimit-Remaining"] == "1"
    assert server.api("GET", "/v2/sandboxes", key=other).status == 200
    assert server.request("GET", "/health").status == 204
    eventually(lambda: server.api("GET", "/v2/sandboxes").status == 200, what="another turn")


# ---- turns ----


def test_a_crowd_does_not_keep_others_from_their_turn(fresh):
    """40 creations of one project hang at the launcher; another project's single one is next."""
    port = free_port()
    server = fresh("--metrics", f"127.0.0.1:{port}")
    server.manifest({"defaultUser": "user"}, "single")
    other = second_key(server, "other")
    launcher, hanging = server.launcher, []
    launcher.override[CREATE] = lambda call: hanging.append(call)

    def post(template, key=None):
        return server.api("POST", "/v2/sandboxes", {"templateID": template}, key=key)

    with ThreadPoolExecutor(41) as pool:
        crowd = [pool.submit(post, "base") for _ in range(40)]
        eventually(lambda: numbers(port)["carrel_creations_waiting"] == "24", what="a queue")
        single = pool.submit(post, "single", other)
        eventually(lambda: numbers(port)["carrel_creations_waiting"] == "25", what="one more in it")
        assert launcher.count(CREATE) == 16
        for answered in range(40 + 1):
            call = eventually(lambda: hanging and hanging.pop(0), what="the next creation")
            launcher.add_box(call.id)
            launcher.reply(call.op, call.serial, call.id, pid=1)
        assert single.result(20).status == 201
        assert all(f.result(20).status == 201 for f in crowd)
    order = [call.template for call in launcher.calls if call.op == CREATE]
    assert order.index("single") in (16, 17), order


# ---- numbers ----


def test_prometheus_reads_without_a_key(fresh):
    port = free_port()
    server = fresh("--metrics", f"127.0.0.1:{port}")
    before = numbers(port)
    sandbox = server.create()
    assert sandbox.kill() == 204
    server.api("GET", "/nothing")
    server.request("GET", "/v2/sandboxes")
    after = numbers(port)

    def grown(name):
        return float(after[name]) - float(before[name])

    assert grown('carrel_sandboxes_created_total{from="new"}') == 1
    assert grown("carrel_sandboxes_ended_total") == 1
    assert grown("carrel_create_seconds_count") == 1
    assert grown('carrel_create_seconds_bucket{le="+Inf"}') == 1
    assert grown("carrel_create_seconds_sum") > 0
    assert grown('carrel_api_requests_total{code="2xx"}') == 2
    assert grown('carrel_api_requests_total{code="4xx"}') == 1  # the keyless one
    assert after["carrel_launcher_connected"] == "1"
    assert after['carrel_sandboxes{state="running"}'] == "0"
    for name in ("process_resident_memory_bytes", "process_open_fds", "carrel_state_available_bytes",
                 "carrel_host_memory_available_bytes", "carrel_host_tasks_available"):
        assert float(after[name]) > 0


def test_every_number_is_explained_once(fresh):
    port = free_port()
    fresh("--metrics", f"127.0.0.1:{port}")
    lines = look(port, "/metrics").body.decode().splitlines()
    helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
    typed = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    assert len(helped) == len(set(helped)) and set(helped) == set(typed)
    for line in lines:
        if line.startswith("#"):
            continue
        name = re.match("[a-z_]+", line).group()
        family = re.sub("_(bucket|sum|count)$", "", name) if name not in typed else name
        assert family in typed, line
        float(line.rsplit(" ", 1)[1])


def test_ready_is_more_than_alive(fresh):
    port = free_port()
    server = fresh("--metrics", f"127.0.0.1:{port}")
    assert server.request("GET", "/ready").status == 204 == look(port, "/ready").status
    server.launcher.stop()
    reply = eventually(lambda: (r := server.request("GET", "/ready")).status == 503 and r)
    assert reply.json["cause"] == "launcher" and reply.headers["Retry-After"]
    assert look(port, "/ready").status == 503
    assert look(port, "/health").status == 204 == server.request("GET", "/health").status
    server.launcher.start()
    eventually(lambda: server.request("GET", "/ready").status == 204, what="readiness")


def test_nothing_else_is_served_there(fresh):
    port = free_port()
    server = fresh("--metrics", f"127.0.0.1:{port}")
    assert look(port, "/v2/sandboxes").status == 404
    assert look(port, "/metrics", "POST").status == 405
    assert server.api("GET", "/metrics").status == 404
