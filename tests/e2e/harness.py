# SPDX-License-Identifier: Apache-2.0
"""Starts a carrel server for tests and speaks raw HTTP to it.

Everything here is what a test needs beside the published SDKs: a server with a directory of its
own, requests that no SDK would send, and a look at what the host still holds of the server.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CARREL_BUILD", ROOT / "build"))
BINARY = Path(os.environ.get("CARREL", BUILD / "carrel"))
TEMPLATES = Path(os.environ.get("CARREL_TEMPLATES", BUILD / "templates"))

ENVD = 49983
VARIABLES = ("E2B_API_KEY", "E2B_API_URL", "E2B_SANDBOX_URL")


def eventually(check, timeout=10.0, what="condition"):
    """The first true result of check(); when there is no event to wait for."""
    pause = threading.Event()
    deadline = time.monotonic() + timeout
    delay = 0.002
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {timeout} s")
        pause.wait(delay)
        delay = min(delay * 1.5, 0.1)


# ---- the server process -------------------------------------------------------------------------


class Server:
    """`carrel serve` with its own state and run directories below one temporary directory."""

    def __init__(self, directory=None, ephemeral=True, extra=(), prefix=()):
        self.directory = Path(directory or tempfile.mkdtemp(prefix="carrel-e2e-"))
        self.directory.chmod(0o755)  # the server gives up root
        self.owns_directory = directory is None
        self.state = self.directory / "state"
        self.run = self.directory / "run"
        self.ephemeral = ephemeral
        self.extra = list(extra)
        self.prefix = list(prefix)  # of the command, such as one that enters a namespace
        self.env = {}
        self.lines = []
        self.proc = None
        self.templates = TEMPLATES
        self.binary = BINARY
        self.pass_fds = ()
        self.log = self.directory / "server.log"

    def start(self, timeout=30.0, listen="127.0.0.1:0"):
        command = self.prefix + [str(self.binary), "serve"] + (["--ephemeral"] if self.ephemeral else [])
        command += ["--listen", listen, "--state", str(self.state), "--run", str(self.run)]
        command += ["--templates", str(TEMPLATES)] + self.extra
        self.env, self.lines = {}, []
        ready = threading.Event()
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
                pass_fds=self.pass_fds,
            )

        def reader(out):
            for line in out:
                self.lines.append(line.rstrip("\n"))
                words = shlex.split(line, comments=True)
                if len(words) == 2 and words[0] == "export" and "=" in words[1]:
                    name, value = words[1].split("=", 1)
                    self.env[name] = value
                    if name == "E2B_DOMAIN":  # for tests, the URLs of this machine do too
                        url = (self.run / "url").read_text().strip()
                        self.env.update(E2B_API_URL=url, E2B_SANDBOX_URL=url)
                    if all(v in self.env for v in VARIABLES):
                        ready.set()
            ready.set()

        self.reader = threading.Thread(target=reader, args=(self.proc.stdout,), daemon=True)
        self.reader.start()
        if not ready.wait(timeout) or not all(v in self.env for v in VARIABLES):
            status = self.proc.poll()
            self.proc.kill()
            self.proc.wait()
            raise AssertionError(
                f"the server printed no settings in {timeout} s (status {status}): {self.lines}\n"
                + self.log_tail()
            )
        return self

    def stop(self, timeout=30.0):
        """Asks the server to end (SIGTERM to its own pid only); returns its exit status."""
        if self.proc is None:
            return None
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        try:
            status = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            status = f"still running {timeout} s after SIGTERM"
            self.proc.kill()
            self.proc.wait()
        self.proc = None
        self.reader.join(5)
        return status

    def remove(self):
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self, lines=40):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def on_disk(self, place):
        """Names in a directory of the sandboxes' disk, which the launcher may be alone to see."""
        roots = [f"/proc/{pid}/root" for pid in child_pids(self.proc.pid)] if self.proc else []
        names = set()
        for root in roots + [""]:
            with contextlib.suppress(OSError):
                names |= set(os.listdir(f"{root}{self.state}/disk/{place}"))
        return names

    def leftovers(self):
        """What a server that has stopped left of its sandboxes in the state directory."""
        names = [f"{d}/{e}" for d in ("sandboxes", "ready") for e in os.listdir(self.state / d)]
        return names + [f"{d}/{e}" for d in ("files", "trash", "ready") for e in self.on_disk(d)]

    # -- where it is
    @property
    def url(self):
        return self.env["E2B_API_URL"]

    @property
    def key(self):
        return self.env["E2B_API_KEY"]

    @property
    def address(self):
        parts = urlsplit(self.url)
        return parts.hostname, parts.port

    @property
    def instance(self):
        """The number that keeps what this server puts on the host apart from that of others."""
        found = re.search(r"launcher ready instance=(\d)", self.log.read_text(errors="replace"))
        return found.group(1) if found else r"\d"

    # -- its processes: direct children of the supervisor, told apart by the names they take; the
    # inits of sandboxes whose zygote has died are its children too
    def children(self):
        found = {}
        for pid in child_pids(self.proc.pid):
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if name in ("carrel-launcher", "carrel-server", "carrel-egress"):
                    found[name.removeprefix("carrel-")] = pid
        return found

    # -- raw requests
    def connect(self, timeout=20.0):
        return socket.create_connection(self.address, timeout)

    def request(self, method, path, body=None, headers=None, timeout=20.0):
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            connection.putrequest(
                method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True
            )
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def api(self, method, path, body=None, key=None, headers=None):
        """A control request with the key; body is sent as JSON unless it is bytes."""
        fields = {"X-API-KEY": self.key if key is None else key}
        if key == "":
            del fields["X-API-KEY"]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            fields["Content-Type"] = "application/json"
        return self.request(method, path, body, {**fields, **(headers or {})})

    def sandbox(self, sandbox_id, method, path, body=None, headers=None, port=ENVD, token=None):
        """A request to a port of a sandbox, addressed by headers."""
        fields = {"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": str(port)}
        if token:
            fields["X-Access-Token"] = token
        return self.request(method, path, body, {**fields, **(headers or {})})

    def token(self, sandbox_id):
        return self.api("GET", f"/sandboxes/{sandbox_id}").json()["envdAccessToken"]

    def rpc(self, sandbox_id, method, message, user=None, token=True, headers=None, raw=None):
        """One unary RPC; message is JSON, or raw bytes are sent as they are."""
        fields = {"Content-Type": "application/json", "Connect-Protocol-Version": "1"}
        if token:
            fields["X-Access-Token"] = self.token(sandbox_id) if token is True else token
        if user:
            fields["Authorization"] = basic(user)
        body = raw if raw is not None else json.dumps(message).encode()
        return self.sandbox(sandbox_id, "POST", method, body, {**fields, **(headers or {})})

    def rpc_stream(
        self, sandbox_id, method, message, user=None, token=True, raw=None, headers=None
    ):
        """One server-streaming RPC to its end: (status, messages, end envelope or None)."""
        fields = {"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1"}
        if token:
            fields["X-Access-Token"] = self.token(sandbox_id) if token is True else token
        if user:
            fields["Authorization"] = basic(user)
        body = raw if raw is not None else envelope(message)
        reply = self.sandbox(sandbox_id, "POST", method, body, {**fields, **(headers or {})})
        messages, end = [], None
        if reply.status == 200:
            for flags, payload in envelopes(reply.body):
                if flags & 2:
                    end = json.loads(payload)
                else:
                    messages.append(json.loads(payload))
        return reply, messages, end


@dataclass
class Reply:
    status: int
    headers: object
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode(errors="replace")


@contextlib.contextmanager
def pointed_at(server):
    """Starts a server and points the SDKs' variables at it. Whatever happens, they are as before
    afterwards; what becomes of the server is the caller's business, unless the caller has failed."""
    server.start()
    saved = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update({name: server.env[name] for name in VARIABLES})
    try:
        yield server
    except BaseException:
        server.stop()
        raise
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def basic(user):
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


def envelope(message, flags=0):
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">BI", flags, len(payload)) + payload


def envelopes(data):
    while data:
        flags, length = struct.unpack(">BI", data[:5])
        yield flags, data[5 : 5 + length]
        data = data[5 + length :]


# ---- what is left on the host -------------------------------------------------------------------


def child_pids(parent):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                if int(stat.rsplit(")", 1)[1].split()[1]) == parent:
                    found.append(int(entry))
    return found


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout


@dataclass
class Residue:
    """What the host holds of one server: by its directory and by its instance number."""

    mounts: set = field(default_factory=set)
    cgroups: set = field(default_factory=set)
    links: set = field(default_factory=set)
    tables: set = field(default_factory=set)
    processes: set = field(default_factory=set)

    @classmethod
    def of(cls, server):
        directory, instance = str(server.directory), server.instance
        found = cls()
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if directory in line:
                found.mounts.add(line)
        # A number that was given back may be another server's by now.
        owner = Path(f"/run/carrel.instances/{instance}")
        if owner.exists() and directory not in owner.read_text():
            instance = "none"
        for top, dirs, _ in os.walk("/sys/fs/cgroup"):
            for name in dirs:
                if re.fullmatch(f"carrel-{instance}", name):
                    found.cgroups.add(os.path.join(top, name))
        for name in os.listdir("/sys/class/net"):
            if re.match(f"cr{instance}-", name):
                found.links.add(name)
        for line in output("nft", "list", "tables").splitlines():
            if re.fullmatch(f"carrel{instance}", line.split()[-1]):
                found.tables.add(line)
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace")
                    if directory in words:
                        found.processes.add(f"{entry}: {' '.join(words.split(chr(0)))}")
        return found

    def all(self):
        """By kind; empty when there is nothing."""
        kinds = ("mounts", "cgroups", "links", "tables", "processes")
        return {kind: sorted(getattr(self, kind)) for kind in kinds if getattr(self, kind)}
