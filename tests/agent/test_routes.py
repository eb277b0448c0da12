# SPDX-License-Identifier: Apache-2.0
"""Routing, and the small HTTP routes: health, environment, metrics, configuration, tunnel."""
import json
import os
import socket
import threading

import pytest

JSON = {"Content-Type": "application/json"}


def test_health(agent):
    response, body = agent.request("GET", "/health")
    assert (response.status, body) == (204, b"")
    assert response.headers["Cache-Control"] == "no-store"


def test_envs_are_those_of_the_configuration(agent):
    response, body = agent.request("GET", "/envs")
    assert response.status == 200
    assert json.loads(body) == {"E2B_SANDBOX": "true", "E2B_SANDBOX_ID": "itest", "COLOUR": "global"}


def test_metrics(agent):
    response, body = agent.request("GET", "/metrics")
    assert response.status == 200
    m = json.loads(body)
    disk = os.statvfs("/")
    assert m["cpu_count"] == len(os.sched_getaffinity(0))
    assert 0 < m["mem_used"] < m["mem_total"] and m["mem_total_mib"] == m["mem_total"] >> 20
    assert m["disk_total"] == disk.f_blocks * disk.f_frsize and 0 < m["disk_used"] < m["disk_total"]
    assert m["ts"] > 1_600_000_000


def test_init_replaces_the_configuration(own_agent):
    config = {"defaultUser": "nobody", "envs": {"NEW": "1"}, "memoryBytes": 123 << 20,
              "cpuMillis": 1500, "unknown": [1]}
    response, _ = own_agent.request("POST", "/init", json.dumps(config), JSON)
    assert response.status == 204
    assert json.loads(own_agent.request("GET", "/envs")[1]) == {"NEW": "1"}
    metrics = json.loads(own_agent.request("GET", "/metrics")[1])
    assert metrics["mem_total"] == 123 << 20 and metrics["cpu_count"] == 2
    out, _ = own_agent.run("/usr/bin/id", "-un", cwd="/")
    assert out["stdout"] == b"nobody\n"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"envs":{"A=B":"x"}}', b'{"envs":{"A":1}}',
                                  b'{"defaultWorkdir":"relative"}', b'{"memoryBytes":-1}'])
def test_init_refuses_and_keeps_what_was(own_agent, body):
    response, answer = own_agent.request("POST", "/init", body, JSON)
    assert response.status == 400
    assert json.loads(answer)["code"] == 400
    assert json.loads(own_agent.request("GET", "/envs")[1])["COLOUR"] == "global"


@pytest.mark.parametrize("method, path, status, allow", [
    ("GET", "/nowhere", 404, None),
    ("GET", "/", 404, None),
    ("POST", "/process.Process/Nothing", 404, None),
    ("POST", "/process.Process/List/", 404, None),
    ("POST", "/health", 405, "GET"),
    ("GET", "/init", 405, "POST"),
    ("GET", "/process.Process/List", 405, "POST"),
    ("PUT", "/process.Process/Start", 405, "POST"),
])
def test_unknown_routes_and_methods(agent, method, path, status, allow):
    response, body = agent.request(method, path)
    assert response.status == status
    assert json.loads(body)["code"] == status
    assert response.headers["Allow"] == allow


@pytest.mark.parametrize("path, content_type, accepted", [
    ("List", None, "application/json"),
    ("List", "text/plain", "application/json"),
    ("List", "application/grpc-web-text", "application/json"),
    ("List", "application/connect+json", "application/json"),
    ("Start", "application/json", "application/connect+json"),
    ("Start", "application/grpc", "application/connect+json"),
])
def test_unsupported_content_types(agent, path, content_type, accepted):
    headers = {"Content-Type": content_type} if content_type else {}
    response, body = agent.request("POST", f"/process.Process/{path}", b"{}", headers)
    assert response.status == 415
    assert response.headers["Accept-Post"] == f"{accepted}, {accepted.replace('json', 'proto')}"
    assert json.loads(body)["code"] == 415


def test_a_charset_is_no_other_type(agent):
    response, body = agent.request("POST", "/process.Process/List", b"{}",
                                   {"Content-Type": "Application/JSON; charset=utf-8"})
    assert (response.status, body) == (200, b"{}")


def test_a_connection_serves_many_requests(agent):
    connection = agent.connect()
    for _ in range(20):
        response, _ = agent.request("GET", "/health", connection=connection)
        assert response.status == 204
        response, body = agent.request("POST", "/process.Process/List", b"{}", JSON, connection)
        assert (response.status, body) == (200, b"{}")


# ---- tunnel ----

def open_tunnel(agent, target):
    s = socket.socket(socket.AF_UNIX)
    s.connect(agent.socket)
    s.settimeout(20)
    s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = s.recv(1)
        assert piece, head
        head += piece
    return s, head.decode()


def listener(family, address):
    try:
        server = socket.socket(family, socket.SOCK_STREAM)
        server.bind((address, 0))
    except OSError:
        pytest.skip(f"no {address} here")
    server.listen(5)
    server.settimeout(20)
    return server, server.getsockname()[1]


@pytest.mark.parametrize("family, address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_tunnel_moves_bytes_both_ways(agent, family, address):
    server, port = listener(family, address)
    payload = os.urandom(1 << 20)
    received = []

    def serve():
        peer, _ = server.accept()
        with peer:
            got = b""
            while piece := peer.recv(65536):
                got += piece
            received.append(got)
            peer.sendall(got[::-1])

    thread = threading.Thread(target=serve)
    thread.start()
    tunnel, head = open_tunnel(agent, f"127.0.0.1:{port}")
    assert head.startswith("HTTP/1.1 200 ")
    tunnel.sendall(payload)
    tunnel.shutdown(socket.SHUT_WR)
    answer = b""
    while piece := tunnel.recv(65536):
        answer += piece
    thread.join(20)
    assert received == [payload] and answer == payload[::-1]


def test_tunnel_server_speaks_first(agent):
    server, port = listener(socket.AF_INET, "127.0.0.1")
    tunnel, head = open_tunnel(agent, f"127.0.0.1:{port}")
    peer, _ = server.accept()
    peer.sendall(b"220 hello\r\n")
    assert tunnel.recv(100) == b"220 hello\r\n"
    tunnel.close()
    assert peer.recv(1) == b""


def test_tunnel_to_a_closed_port(agent):
    server, port = listener(socket.AF_INET, "127.0.0.1")
    server.close()
    _, head = open_tunnel(agent, f"127.0.0.1:{port}")
    assert head.startswith("HTTP/1.1 502 ")
    assert "\r\nX-Carrel-Port: closed\r\n" in head


@pytest.mark.parametrize("target", ["10.0.0.1:80", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x",
                                    "example.com:80", "127.0.0.1:"])
def test_tunnel_goes_nowhere_else(agent, target):
    _, head = open_tunnel(agent, target)
    assert head.startswith("HTTP/1.1 400 ")
