# SPDX-License-Identifier: Apache-2.0
"""A server of its own for each test module or test: real process, fake launcher, fake agents."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from fakes import FakeLauncher, Stream

DRIVER = os.environ.get("SERVER_DRIVER")


def pytest_configure(config):
    if not DRIVER:
        raise pytest.UsageError("SERVER_DRIVER must name the test driver (meson sets it)")


def eventually(check, seconds=10, what="condition"):
    """Polls what has no event of its own."""
    end = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < end, f"{what} not reached in {seconds} s"
        time.sleep(0.01)


class Reply:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        assert self.json["code"] == self.status, self.body
        return self.json["message"]


class Server:
    def __init__(self, options=()):
        self.options = list(options)
        self.directory = tempfile.mkdtemp(prefix="cs.", dir="/tmp")
        self.run, self.state = self.directory + "/run", self.directory + "/state"
        self.templates = self.directory + "/templates"
        for path in (self.run, self.state + "/server", self.templates + "/base"):
            os.makedirs(path)
        self.manifest({"defaultUser": "user", "defaultWorkdir": "/home/user",
                       "envs": {"PATH": "/bin", "LANG": "C.UTF-8"}})
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.launcher = FakeLauncher(self.run)
        self.process = None
        self.start()

    def manifest(self, content, name="base"):
        os.makedirs(f"{self.templates}/{name}", exist_ok=True)
        with open(f"{self.templates}/{name}/manifest.json", "w") as out:
            json.dump({"name": name, **content}, out)

    def start(self, ready=True):
        log = open(self.directory + "/log", "a")
        fd = self.listener.fileno()
        self.process = subprocess.Popen(
            [DRIVER, str(fd), "--state", self.state, "--run", self.run, "--templates",
             self.templates, "--ca-bundle", "none", "--pool", "none", "--log-level",
             "debug", *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, pass_fds=[fd], text=True)
        log.close()
        if ready:
            self.exports = dict(
                self.process.stdout.readline().removeprefix("export ").strip().split("=", 1)
                for _ in range(3))
            self.key = self.exports["E2B_API_KEY"]

    def stop(self, how=signal.SIGTERM, seconds=20):
        self.process.send_signal(how)
        status = self.process.wait(seconds)
        self.process.stdout.close()
        return status

    def close(self):
        try:
            if self.process.poll() is None:
                assert self.stop() == 0, self.log()
            assert "ERROR: AddressSanitizer" not in self.log() and "runtime error" not in self.log()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.launcher.close()
            self.listener.close()
            shutil.rmtree(self.directory)

    def another_key(self, name, project):
        out = subprocess.run([os.environ["CARREL"], "key", "create", name, "--project", project,
                              "--state", self.state], check=True, capture_output=True, text=True)
        return out.stdout.strip()

    def log(self):
        with open(self.directory + "/log") as lines:
            return lines.read()

    # ---- requests ----

    def connect(self, seconds=10):
        return socket.create_connection(("127.0.0.1", self.port), seconds)

    def stream(self, seconds=10):
        return Stream(self.connect(seconds))

    def request(self, method, path, body=None, headers=(), seconds=20):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            return Reply(response, response.read())
        finally:
            connection.close()

    def api(self, method, path, body=None, key=None, **more):
        headers = {"X-API-KEY": key or self.key, **more}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return self.request(method, path, body, headers)

    def create(self, path="/v2/sandboxes", **fields):
        reply = self.api("POST", path, {"templateID": "base", **fields})
        assert reply.status == 201, reply.body
        return Sandbox(self, reply.json)


class Sandbox:
    def __init__(self, server, created):
        self.server = server
        self.created = created
        self.id = created["sandboxID"]
        self.token = created.get("envdAccessToken")

    @property
    def agent(self):
        return self.server.launcher.boxes[self.id]

    def headers(self, port=49983, token=True):
        headers = {"E2b-Sandbox-Id": self.id, "E2b-Sandbox-Port": str(port)}
        if token and self.token:
            headers["X-Access-Token"] = self.token
        return headers

    def request(self, method, path, body=None, port=49983, token=True, headers=(), **more):
        return self.server.request(method, path, body,
                                   {**self.headers(port, token), **dict(headers)}, **more)

    def info(self):
        return self.server.api("GET", f"/sandboxes/{self.id}")

    def post(self, what, body=None, generation=""):
        return self.server.api("POST", f"{generation}/sandboxes/{self.id}/{what}", body)

    def kill(self):
        return self.server.api("DELETE", f"/sandboxes/{self.id}").status


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def fresh():
    """Makes servers with options of the test's own."""
    servers = []

    def make(*options):
        servers.append(Server(options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def sandbox(server):
    sandbox = server.create()
    yield sandbox
    sandbox.kill()
