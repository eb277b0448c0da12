# SPDX-License-Identifier: Apache-2.0
"""A launcher and agents without isolation, so that the server can be tested by itself.

FakeLauncher speaks launcher/message.h and makes "boxes": a FakeAgent each, on <run>/<id>/agent.sock.
FakeAgent speaks HTTP/1.1; what it answers is decided by functions that the test puts in.
"""
import contextlib
import json
import os
import selectors
import shutil
import socket
import struct
import threading

REQUEST = struct.Struct("<IIQ32s32s64sQIIQIIII")
REPLY = struct.Struct("<IIQ32sIi248siII64s4xQQQQII")
VERSION = 2
CREATE, DESTROY, FREEZE, THAW, LIST, USAGE, NETWORK, GONE, PARK, SNAPSHOT, DROP = range(1, 12)
RUNNING, FROZEN, PARKED, IS_SNAPSHOT = range(4)
OK, ERR_INTERNAL, ERR_NOT_FOUND, ERR_EXHAUSTED = 0, 11, 5, 9


class Head:
    """A request or response head as received."""

    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0]
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]

    def get(self, name, default=None):
        for key, value in self.fields:
            if key.lower() == name.lower():
                return value
        return default

    def count(self, name):
        return sum(key.lower() == name.lower() for key, _ in self.fields)


class Stream:
    """A socket read by lines and lengths."""

    def __init__(self, sock):
        self.sock = sock
        self.kept = b""

    def read(self, n=65536):
        if self.kept:
            got, self.kept = self.kept[:n], self.kept[n:]
            return got
        return self.sock.recv(n)

    def until(self, mark):
        while mark not in self.kept:
            got = self.sock.recv(65536)
            if not got:
                raise ConnectionError(f"closed after {self.kept[:200]!r}")
            self.kept += got
        head, self.kept = self.kept.split(mark, 1)
        return head

    def exactly(self, n):
        got = b""
        while len(got) < n:
            piece = self.read(n - len(got))
            if not piece:
                raise ConnectionError("closed")
            got += piece
        return got

    def head(self):
        return Head(self.until(b"\r\n\r\n"))

    def chunks(self):
        """Yields the chunks of a chunked body."""
        while True:
            size = int(self.until(b"\r\n"), 16)
            data = self.exactly(size)
            self.until(b"\r\n")
            if size == 0:
                return
            yield data

    def body(self, head):
        if head.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self.chunks())
        return self.exactly(int(head.get("content-length", 0)))


def respond(stream, status=200, body=b"", fields=()):
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fields]
    stream.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def echo(stream, head):
    """Says what arrived."""
    method, target, _ = head.first.split(" ")
    body = stream.body(head)
    answer = json.dumps({"method": method, "target": target, "fields": head.fields,
                         "length": len(body), "body": body[:1000].decode("latin-1")}).encode()
    if method == "HEAD":
        stream.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
    else:
        respond(stream, 200, answer, [("Content-Type", "application/json")])


class FakeAgent:
    """Serves port 49983 with `handler`, and through CONNECT the ports in `ports`: each a function of
    (stream, head) for one request on one connection."""

    def __init__(self, path, config):
        self.config = json.loads(config)
        self.handler = echo
        self.ports = {}
        self.connections = 0
        self.path = path
        self.open = True
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.live = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.live.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            stream = Stream(sock)
            head = stream.head()
            handler = self.handler
            if head.first.startswith("CONNECT "):
                handler = self.ports.get(int(head.first.split()[1].rsplit(":", 1)[1]))
                if not handler:
                    respond(stream, 502, b"{}")
                    return
                sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                head = stream.head()
            handler(stream, head)
        except (ConnectionError, OSError, ValueError):
            pass
        finally:
            self.live.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def close(self):
        self.listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        for sock in list(self.live):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Call:
    """A request that the launcher received."""

    def __init__(self, fields, rest):
        (self.version, self.op, self.serial, name, base, template, self.memory, self.cpu_millis,
         self.pids, self.disk, self.allow_internet, self.config_len, self.network_len,
         self.again) = fields
        self.id = name.split(b"\0")[0].decode()
        self.base = base.split(b"\0")[0].decode()
        self.template = template.split(b"\0")[0].decode()
        self.network, self.config = rest[:self.network_len], rest[self.network_len:]


class FakeLauncher:
    def __init__(self, run):
        self.run = run
        self.path = os.path.join(run, "launcher.sock")
        self.boxes = {}       # id -> FakeAgent
        self.frozen = set()
        self.parked = {}      # id -> the configuration of its last start
        self.snapshots = set()
        self.calls = []       # all that came, in order
        self.override = {}    # op -> function(call) -> reply fields as a dict, or None: say nothing
        self.changed = threading.Condition()
        self.listener = None
        self.sock = None
        self.start()

    # ---- life ----

    def start(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.listener.bind(self.path)
        self.listener.listen(4)
        self.wake_read, self.wake_write = os.pipe()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def stop(self):
        """Dies; the boxes live on."""
        os.write(self.wake_write, b"x")
        self.thread.join(10)
        os.close(self.wake_read)
        os.close(self.wake_write)

    def close(self):
        self.stop()
        for agent in self.boxes.values():
            agent.close()

    def _loop(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self.wake_read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == self.wake_read:
                        self.listener.close()
                        os.unlink(self.path)
                        if self.sock:
                            self.sock.close()
                        self.sock = None
                        return
                    if key.fileobj is self.listener:
                        if self.sock:
                            selector.unregister(self.sock)
                            self.sock.close()
                        self.sock, _ = self.listener.accept()
                        selector.register(self.sock, selectors.EVENT_READ)
                        continue
                    data = self.sock.recv(300000)
                    if not data:
                        selector.unregister(self.sock)
                        self.sock.close()
                        self.sock = None
                        continue
                    self._take(data)

    # ---- messages ----

    def reply(self, op, serial, name, code=OK, os_error=0, message="", pid=0, more=0, state=0,
              cpu_ns=0, memory=0, cache=0, disk=0, oom=0):
        sock = self.sock
        if sock:
            with contextlib.suppress(OSError):
                sock.send(REPLY.pack(VERSION, op, serial, name.encode(), code, os_error,
                                     message.encode(), pid, more, state, b"base", cpu_ns, memory,
                                     cache, disk, 1, oom))

    def _take(self, data):
        call = Call(REQUEST.unpack(data[: REQUEST.size]), data[REQUEST.size:])
        assert call.version == VERSION and call.config_len == len(call.config) and call.serial > 0
        override = self.override.get(call.op)
        if override:
            answer = override(call)
        else:
            answer = self.carry_out(call)
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()
        if answer is not None:
            self.reply(call.op, call.serial, call.id, **answer)

    def carry_out(self, call):
        if call.op == CREATE and call.again and self.parked.pop(call.id, None) is None:
            return {"code": ERR_NOT_FOUND, "message": "not parked"}
        if call.op == CREATE and call.base and call.base not in self.snapshots:
            return {"code": ERR_NOT_FOUND, "message": "no such snapshot"}
        if call.op == DROP:
            self.snapshots.discard(call.id)
            return {}
        if call.op == CREATE:
            self.add_box(call.id, call.config)
            return {"pid": 1}
        if call.op == DESTROY:
            self.parked.pop(call.id, None)
            self.remove_box(call.id)
            return {}
        if call.op == PARK and call.id in self.parked:
            return {}
        if call.op == LIST:
            for name in list(self.boxes):
                self.reply(LIST, call.serial, name, more=1,
                           state=FROZEN if name in self.frozen else RUNNING)
            for name in list(self.parked):
                self.reply(LIST, call.serial, name, more=1, state=PARKED)
            for name in list(self.snapshots):
                self.reply(LIST, call.serial, name, more=1, state=IS_SNAPSHOT)
            self.reply(LIST, call.serial, "")
            return None
        if call.id not in self.boxes:
            return {"code": ERR_NOT_FOUND, "message": "no such sandbox"}
        if call.op == FREEZE:
            self.frozen.add(call.id)
            return {}
        if call.op == PARK:
            self.remove_box(call.id)
            self.parked[call.id] = True
            return {}
        if call.op == SNAPSHOT:
            self.snapshots.add(call.base)
            return {}
        if call.op == THAW:
            self.frozen.discard(call.id)
            return {}
        return {"cpu_ns": 10**9 * len(self.calls), "memory": 50 << 20, "cache": 10 << 20,
                "disk": 5 << 20}

    def add_box(self, name, config=b"{}"):
        directory = os.path.join(self.run, name)
        os.makedirs(directory)
        self.boxes[name] = FakeAgent(os.path.join(directory, "agent.sock"), config)

    def remove_box(self, name):
        agent = self.boxes.pop(name, None)
        self.frozen.discard(name)
        if agent:
            agent.close()
            shutil.rmtree(os.path.join(self.run, name), ignore_errors=True)

    def die(self, name):
        """A sandbox's init ends by itself."""
        self.remove_box(name)
        self.reply(GONE, 0, name)

    # ---- waiting ----

    def count(self, op, name=None):
        return sum(call.op == op and name in (None, call.id) for call in self.calls)

    def wait(self, condition, seconds=10):
        with self.changed:
            assert self.changed.wait_for(condition, seconds), [(c.op, c.id) for c in self.calls]

    def wait_call(self, op, name=None, times=1, seconds=10):
        self.wait(lambda: self.count(op, name) >= times, seconds)
