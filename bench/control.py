# SPDX-License-Identifier: Apache-2.0
"""
The control plane: calls of the API, the proxy beside nginx and haproxy, idle connections, pauses,
forks, and a restart with many sandboxes. wrk makes the load on the same two processors. The proxies
pass the same requests to the same server program: theirs runs on the host, ours in a sandbox, so
that ours goes through the agent's tunnel and another network namespace besides.
"""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from lib.bench import PROGRAMS, Server, main
from lib.file_peers import find_nginx
from lib.samples import Samples, table

from harness import eventually

MIB = 1 << 20
BODY_MIB = 256
SECONDS = 2
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def wrk(url, connections, seconds, headers=()):
    """(requests a second, p50 ms, p99 ms), or None when any request failed."""
    words = ["wrk", "--latency", "-t", "1", "-c", str(connections), "-d", f"{seconds}s"]
    for name, value in headers:
        words += ["-H", f"{name}: {value}"]
    out = subprocess.run([*words, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        return None

    def at(percent):
        number, unit = re.search(rf"{percent}%\s+([0-9.]+)(us|ms|s)", out).groups()
        return float(number) * UNITS[unit]

    return float(re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1)), at(50), at(99)


def rate_rows(bench, contestants, connections):
    """Contestants take turns, three times; the median of each figure counts."""
    rows = []
    for count in connections:
        found = {name: [] for name, _, _ in contestants}
        for _ in range(1 if bench.quick else 3):
            for name, url, headers in contestants:
                found[name].append(wrk(url, count, 1 if bench.quick else SECONDS, headers))
        for name, _, _ in contestants:
            good = [f for f in found[name] if f]
            if len(good) < len(found[name]):
                rows.append([name, count, "failed", "", ""])
                continue
            middle = [sorted(column)[len(good) // 2] for column in zip(*good)]
            rows.append([name, count, f"{middle[0]:.0f}", f"{middle[1]:.2f}", f"{middle[2]:.2f}"])
            bench.keep(**{f"{name}, {count}": middle})
    return rows


HEAD = ["what", "connections", "requests a second", "p50 ms", "p99 ms"]


# ---- the same server behind all three ----


@contextlib.contextmanager
def upstream_on_host(port):
    with subprocess.Popen([PROGRAMS / "upstream", str(port)]) as process:
        yield
        process.kill()


def upstream_in_sandbox(server, sandbox):
    sandbox.files.write("/tmp/upstream", (PROGRAMS / "upstream").read_bytes())
    sandbox.commands.run("chmod +x /tmp/upstream")
    sandbox.commands.run("/tmp/upstream 8000", background=True, timeout=0)
    fields = [("E2b-Sandbox-Id", sandbox.sandbox_id), ("E2b-Sandbox-Port", "8000")]
    eventually(lambda: server.request("GET", "/", headers=dict(fields)).status == 200, 30)
    return fields


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def nginx(directory, listen, upstream):
    conf = Path(directory) / "nginx.conf"
    conf.write_text(
        f"pid {directory}/nginx.pid; error_log {directory}/nginx.log; worker_processes 1; daemon off;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; upstream u {{ server 127.0.0.1:{upstream}; keepalive 256; }}\n"
        f"server {{ listen 127.0.0.1:{listen}; location / {{ proxy_pass http://u; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }\n')
    program = find_nginx(directory)
    with subprocess.Popen([program, "-c", conf], stderr=subprocess.DEVNULL) as process:
        yield
        process.terminate()


@contextlib.contextmanager
def haproxy(directory, listen, upstream):
    conf = Path(directory) / "haproxy.cfg"
    conf.write_text(
        "global\n nbthread 1\n maxconn 4096\n"
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen l\n bind 127.0.0.1:{listen}\n server u 127.0.0.1:{upstream}\n")
    with subprocess.Popen(["haproxy", "-q", "-f", conf]) as process:
        yield
        process.terminate()


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def download(url, fields):
    words = ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{size_download}"]
    for name, value in fields:
        words += ["-H", f"{name}: {value}"]
    done = subprocess.run([*words, url], capture_output=True, text=True)
    if done.stdout != str(BODY_MIB * MIB):
        raise OSError(done)


def proxies(bench, server, sandbox):
    direct, n, h = free_port(), free_port(), free_port()
    fields = upstream_in_sandbox(server, sandbox)
    with upstream_on_host(direct), nginx(bench.directory, n, direct), \
            haproxy(bench.directory, h, direct):
        eventually(lambda: all(map(listening, (direct, n, h))), 30)
        ours = f"http://{server.address[0]}:{server.address[1]}"
        contestants = [("carrel", ours, fields), ("nginx", f"http://127.0.0.1:{n}", []),
                       ("haproxy", f"http://127.0.0.1:{h}", []),
                       ("no proxy", f"http://127.0.0.1:{direct}", [])]
        bench.progress("small requests through proxies")
        small = [(name, f"{url}/", headers) for name, url, headers in contestants]
        bench.text("Small requests through a proxy:", "",
                   *table(HEAD, rate_rows(bench, small, (1, 16, 128))))
        bench.progress("large bodies through proxies")
        samples = {}
        for _ in range(bench.rounds(10)):
            for name, url, headers in contestants:
                bench.timed(samples, name, lambda: download(f"{url}/{BODY_MIB * MIB}", headers), 1)
        rows = [[name, f"{BODY_MIB * MIB / samples[name].percentile(50) / 1e6:.0f}",
                 samples[name].failed] for name, _, _ in contestants]
        bench.keep(bodies={name: samples[name].as_json() for name, _, _ in contestants})
        bench.text(f"{BODY_MIB} MiB through a proxy:", "", *table(["what", "MB/s at p50", "failed"], rows))


# ---- the rest ----


def calls(bench, server, sandbox):
    url = f"http://{server.address[0]}:{server.address[1]}"
    key = [("X-API-KEY", server.key)]
    bench.progress("calls")
    rows = rate_rows(bench, [("GET /sandboxes/{id}", f"{url}/sandboxes/{sandbox.sandbox_id}", key),
                             ("GET /v2/sandboxes", f"{url}/v2/sandboxes", key)], (1, 16, 128))
    bench.text("Calls of the API:", "", *table(HEAD, rows))


def resident(pid):
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) * 1024


def idle_connections(bench, server):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The server keeps a descriptor free for each connection, for the sandbox that it may lead to.
    count = min(bench.rounds(10000), most // 2 - 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    pid = server.children()["server"]
    before, open_ones = resident(pid), []
    try:
        for _ in range(count):
            sock = server.connect()
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            open_ones.append(sock)
        for sock in open_ones:
            sock.recv(4096)
        each = (resident(pid) - before) / count
        answer = Samples("answer")
        bench.timed({"answer": answer}, "answer", lambda: server.request("GET", "/health"), 100)
    finally:
        for sock in open_ones:
            sock.close()
    bench.keep(idle_connection_bytes=each)
    bench.text(f"{count} idle connections: {each / 1024:.1f} KiB of the server's memory each.")


def lives(bench, server):
    samples = {}
    made = server.api("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 600}).json()["sandboxID"]

    def must(status, *request):
        reply = server.api(*request)
        if reply.status != status:
            raise OSError(reply.text)
        return reply

    for _ in range(bench.rounds(200)):
        bench.timed(samples, "pause", lambda: must(204, "POST", f"/sandboxes/{made}/pause", {}), 1)
        bench.timed(samples, "resume", lambda: must(201, "POST", f"/v2/sandboxes/{made}/connect",
                                                    {"timeout": 600}), 1)
    children = []

    def fork():
        reply = must(201, "POST", f"/sandboxes/{made}/fork", {"count": 100})
        children.extend(entry["sandbox"]["sandboxID"] for entry in reply.json())

    server.api("POST", f"/sandboxes/{made}/fork", {"count": 1})
    for _ in range(bench.rounds(5)):
        bench.timed(samples, "fork", fork, 1)
        for child in children:
            server.api("DELETE", f"/sandboxes/{child}")
        children.clear()
    bench.times(samples, [("pause", "pause, memory kept"), ("resume", "resume"),
                          ("fork", "fork of one into 100")])


def restart(bench):
    """Until the last of many sandboxes answers again, from the moment the new server is started."""
    count = bench.rounds(1000)
    server = Server(ephemeral=False, extra=["--pool", "none", "--max-sandboxes", "2000"])
    server.start(60)
    try:
        ids = []
        lock = threading.Lock()

        def make(number):
            for _ in range(number):
                reply = server.api("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 3600})
                if reply.status == 201:
                    with lock:
                        ids.append(reply.json()["sandboxID"])
        threads = [threading.Thread(target=make, args=(count // 4,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pids = server.children()
        for name in ("launcher", "server"):
            os.kill(pids[name], signal.SIGKILL)
        start = time.perf_counter()

        def served(sandbox_id):
            with contextlib.suppress(OSError):
                return server.sandbox(sandbox_id, "GET", "/health").status == 204
            return False
        for sandbox_id in ids:
            eventually(lambda: served(sandbox_id), 60)
        took = time.perf_counter() - start
        bench.keep(restart={"sandboxes": len(ids), "seconds": took})
        bench.text(f"kill -9 of server and launcher with {len(ids)} sandboxes: {took:.2f} s until each of "
                   "them has answered a request, one after another.")
    finally:
        with contextlib.ExitStack() as stack:
            stack.callback(server.remove)
            stack.callback(server.stop)
            for sandbox in server.api("GET", "/sandboxes").json():
                server.api("DELETE", f"/sandboxes/{sandbox['sandboxID']}")


def run(bench):
    with bench.server() as server:
        sandbox = bench.sdk(server).Sandbox.create(timeout=1200)
        calls(bench, server, sandbox)
        proxies(bench, server, sandbox)
        bench.progress("idle connections")
        idle_connections(bench, server)
        bench.progress("pauses and forks")
        lives(bench, server)
    bench.progress("restart")
    restart(bench)


main(run, "Control plane and proxy")
