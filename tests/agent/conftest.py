# SPDX-License-Identifier: Apache-2.0
"""The agent without a sandbox: a driver on a unix socket, and a client that speaks the wire byte by
byte, so that also what no SDK would send can be sent.

AGENT_DRIVER names the program. Every wait has the deadline below."""
import base64
import http.client
import json
import os
import socket
import struct
import subprocess
import time

import pytest

DEADLINE = 30


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="the agent switches users: needs root"))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)  # waits while the backlog is full; with a time-out it would not
        self.sock.settimeout(self.timeout)


def envelope(payload, flags=0):
    return struct.pack(">BI", flags, len(payload)) + payload


def basic(user):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()}


class RpcError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Stream:
    """A streamed answer. Iterating gives the messages; after that `end` is the end frame."""

    def __init__(self, connection, response):
        self.connection = connection
        self.response = response
        self.end = None
        self.pid = None
        self.position = None  # offset of the next byte of output; None: not known
        self.missed = 0

    def __iter__(self):
        return self

    def __next__(self):
        head = self.response.read(5)
        if len(head) < 5:
            raise EOFError("the stream was cut")
        flags, length = struct.unpack(">BI", head)
        payload = self.response.read(length)
        assert len(payload) == length
        message = json.loads(payload)
        if flags & 2:
            assert self.response.read() == b""
            self.end = message
            raise StopIteration
        assert flags == 0
        return message

    def events(self):
        """The events, without keep-alives; an error in the end frame is raised."""
        for message in self:
            if "data" in message["event"]:
                self.account(message["event"]["data"])
            if "keepalive" not in message["event"]:
                yield message["event"]
        error = self.end.get("error")
        if error:
            raise RpcError(error["code"], error["message"])

    def account(self, data):
        """Takes the extensions off a data event: the bytes' place, and what is missing before them."""
        missed = int(data.pop("missed", 0))
        offset = int(data.pop("offset"))
        if self.position is not None:
            assert offset == self.position + missed
        self.missed += missed
        (text,) = data.values()
        self.position = offset + len(base64.b64decode(text, validate=True))

    def started(self):
        event = next(self)["event"]
        self.pid = event["start"]["pid"]
        return self

    def data(self, kind="stdout"):
        """The next data event's bytes."""
        for event in self.events():
            if kind in event.get("data", {}):
                return base64.b64decode(event["data"][kind])
        raise EOFError("no more data")

    def until(self, text, kind="stdout"):
        """Reads until text has come; all bytes since."""
        got = b""
        while text not in got:
            got += self.data(kind)
        return got

    def finish(self):
        """Reads to the end: (bytes by kind, end event)."""
        out = {"stdout": bytearray(), "stderr": bytearray(), "pty": bytearray()}
        end = None
        for event in self.events():
            for kind, text in event.get("data", {}).items():
                out[kind] += base64.b64decode(text, validate=True)
            if "end" in event:
                assert end is None
                end = event["end"]
        return {kind: bytes(b) for kind, b in out.items()}, end

    def close(self):
        """Drops the connection, as a client that goes away."""
        self.response.close()
        self.connection.close()


class Agent:
    def __init__(self, directory, config, *mode):
        self.socket = os.path.join(directory, "agent.sock")
        self.process = subprocess.Popen(
            [os.environ["AGENT_DRIVER"], self.socket, json.dumps(config), *mode],
            stdout=subprocess.PIPE, start_new_session=True, env={**os.environ, "SPOOL_DIR": directory})
        assert self.process.stdout.readline() == b"listening\n"

    def stop(self):
        alive = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        assert alive, f"the agent died: {self.process.returncode}"

    def connect(self):
        return UnixConnection(self.socket)

    def request(self, method, path, body=None, headers=None, connection=None):
        connection = connection or self.connect()
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()

    def unary(self, method, message, headers=None, service="process.Process"):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        response, answer = self.request("POST", f"/{service}/{method}", body, {
            "Content-Type": "application/json", "Connect-Protocol-Version": "1", **(headers or {})})
        answer = json.loads(answer)
        if response.status != 200:
            raise RpcError(answer["code"], answer["message"])
        assert response.headers["Content-Type"] == "application/json"
        return answer

    def stream(self, method, body, headers=None, service="process.Process"):
        if not isinstance(body, bytes):
            body = envelope(json.dumps(body).encode())
        connection = self.connect()
        connection.request("POST", f"/{service}/{method}", body, {
            "Content-Type": "application/connect+json", "Connect-Protocol-Version": "1",
            **(headers or {})})
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/connect+json"
        return Stream(connection, response)

    def start(self, *argv, headers=None, **fields):
        """argv, and fields of the request; those of its `process` by their names."""
        process = {"cmd": argv[0], "args": list(argv[1:])}
        for name in ("envs", "cwd"):
            if name in fields:
                process[name] = fields.pop(name)
        fields.setdefault("stdin", False)
        return self.stream("Start", {"process": process, **fields}, headers).started()

    def sh(self, script, *args, **more):
        return self.start("/bin/sh", "-c", script, "sh", *args, **more)

    def run(self, *argv, **more):
        return self.start(*argv, **more).finish()

    def attach(self, pid, headers=None):
        return self.stream("Connect", {"process": {"pid": pid}}, headers).started()

    def send(self, pid, data, kind="stdin"):
        return self.unary("SendInput", {"process": {"pid": pid},
                                        "input": {kind: base64.b64encode(data).decode()}})

    def signal(self, pid, name="SIGNAL_SIGKILL"):
        return self.unary("SendSignal", {"process": {"pid": pid}, "signal": name})

    def pids(self):
        return [p["pid"] for p in self.unary("List", {}).get("processes", [])]

    def wait_gone(self, pid):
        """Until the process is no longer listed as running."""
        limit = time.monotonic() + DEADLINE
        while pid in self.pids():
            assert time.monotonic() < limit, f"process {pid} does not end"


CONFIG = {
    "sandboxId": "itest", "templateId": "base", "defaultUser": "root", "defaultWorkdir": "/tmp",
    "envs": {"E2B_SANDBOX": "true", "E2B_SANDBOX_ID": "itest", "COLOUR": "global"},
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    agent = Agent(str(tmp_path_factory.mktemp("agent")), CONFIG)
    yield agent
    agent.stop()


@pytest.fixture
def own_agent(tmp_path):
    """For tests that change the agent's configuration or count what it holds."""
    agent = Agent(str(tmp_path), CONFIG)
    yield agent
    agent.stop()


def refused(call, code):
    with pytest.raises(RpcError) as raised:
        call()
    assert raised.value.code == code, raised.value.message
    return raised.value.message
