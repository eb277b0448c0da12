# SPDX-License-Identifier: Apache-2.0
"""
Files and watching: through server and agent into a sandbox (carrel), at the agent's own socket (agent),
beside E2B's own agent (`ENVD=PROGRAM`, spoken to directly, without a proxy or a sandbox), nginx with
dav, and the plain tool as the limit. All on one file system, in turn. Small ones through a C client on
kept connections.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

from lib.bench import PROGRAMS, main
from lib.file_peers import envd, nginx
from lib.samples import Samples, table

MIB = 1 << 20
BOUNDARY = "----bench"
SMALL = 1024


class Contestant:
    """Somebody who serves files: how to ask for one, and where it is."""

    def __init__(self, name, port, root, fields=(), user=None, host="127.0.0.1"):
        self.name, self.port, self.root, self.host = name, port, str(root), host
        self.fields, self.user = list(fields), user

    def target(self, path, route="/files"):
        if self.name == "nginx":
            return f"/{path}"
        user = f"&username={self.user}" if self.user else ""
        return f"{route}?path={quote(f'{self.root}/{path}', safe='/%')}{user}"

    def line(self, name, method, target, body="0", *fields):
        words = [f"{self.name} {name}", self.host, str(self.port), method, target, body]
        return "\t".join([*words, *self.fields, *fields])

    def put(self, name, path, body):
        method = "PUT" if self.name == "nginx" else "POST"
        return self.line(name, method, self.target(path), body, "Content-Type: application/octet-stream")

    def get(self, name, path):
        return self.line(name, "GET", self.target(path))

    def rpc(self, name, method, **message):
        text = json.dumps(message)
        return self.line(name, "POST", f"/filesystem.Filesystem/{method}", f"={text}",
                         "Content-Type: application/json", "Connect-Protocol-Version: 1",
                         "Authorization: Basic cm9vdDo=")


class Files:
    def __init__(self, bench):
        self.bench = bench
        self.samples = {}
        self.program = PROGRAMS / "http"

    def run(self, lines, rounds):
        """The lines' contestants in turn."""
        done = subprocess.run([self.program, str(rounds)], input="\n".join(lines) + "\n",
                              stdout=subprocess.PIPE, text=True, check=True)
        for line in done.stdout.splitlines():
            name, nanoseconds, ok = line.split("\t")
            self.samples.setdefault(name, Samples(name)).add(int(nanoseconds) / 1e9, ok == "1")

    def whole(self, name, lines, rounds):
        """The time of all rounds of one contestant together."""
        start = time.perf_counter()
        done = subprocess.run([self.program, str(rounds)], input="\n".join(lines) + "\n",
                              stdout=subprocess.PIPE, text=True, check=True)
        took = time.perf_counter() - start
        ok = all(line.endswith("\t1") for line in done.stdout.splitlines())
        self.samples.setdefault(name, Samples(name)).add(took, ok)

    def tool(self, name, *command, **options):
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, **options)
        self.samples.setdefault(name, Samples(name)).add(time.perf_counter() - start, done.returncode == 0)

    def p50(self, name):
        return self.samples[name].percentile(50) if name in self.samples else None


def peak_kib(status):
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


# ---- what is measured ----------------------------------------------------------------------------


def small(f, contestants, rounds):
    f.run([line for c in contestants for line in
           (c.put("put 1k", "k%d", str(SMALL)), c.put("put over", "k", str(SMALL)),
            c.get("get 1k", "k"))], rounds)


def large(f, contestants, size, rounds):
    for c in contestants:  # one after the other: the disk's cache belongs to one at a time
        f.run([c.put("put large", "large", str(size)), c.get("get large", "large")], rounds)
    source = f.bench.directory / "source"
    with open(source, "wb") as out:
        for _ in range(size // MIB):
            out.write(b"x" * MIB)
    for _ in range(rounds):
        f.tool("cp large", "cp", source, f.bench.directory / "copy")
        f.tool("cat large", "sh", "-c", 'cat "$1" | cat >/dev/null', "sh", source)


def huge(f, contestant, sandbox):
    """Memory that does not grow with a file: 4 GiB up, 20 GiB of a hole down."""
    f.run([contestant.put("put huge", "huge", str(4096 * MIB))], 1)
    sandbox.commands.run(f"rm {contestant.root}/huge; truncate -s 20G {contestant.root}/hole", user="root")
    f.run([contestant.get("get huge", "hole")], 1)
    sandbox.commands.run(f"rm {contestant.root}/hole", user="root")


def many(f, contestants, count, directory):
    """So many small files: one request each, in one form, as a tar stream."""
    source = directory / "many"
    source.mkdir()
    for i in range(count):
        (source / f"f{i}").write_bytes(b"x" * SMALL)
    tar = directory / "many.tar"
    subprocess.run(["tar", "-cf", tar, "-C", source, "."], check=True)
    for c in contestants:
        f.whole(f"{c.name} many each", [c.put("", "each/f%d", str(SMALL))], count)
        if c.name != "nginx":
            form = directory / f"{c.name}.form"
            with open(form, "wb") as out:
                for i in range(count):
                    out.write(f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; "
                              f"filename=\"{c.root}/form/f{i}\"\r\n\r\n".encode() + b"x" * SMALL + b"\r\n")
                out.write(f"--{BOUNDARY}--\r\n".encode())
            user = f"?username={c.user}" if c.user else ""
            f.whole(f"{c.name} many form", [c.line("", "POST", f"/files{user}", f"@{form}",
                    f"Content-Type: multipart/form-data; boundary={BOUNDARY}")], 1)
        if c.name in ("carrel", "agent"):
            f.whole(f"{c.name} many tar", [c.line("", "POST", c.target("tar", "/files/tar"), f"@{tar}",
                    "Content-Type: application/x-tar")], 1)
            f.whole(f"{c.name} many tar down", [c.line("", "GET", c.target("tar", "/files/tar"))], 1)
    f.tool("cp many", "cp", "-r", source, directory / "copied")
    (directory / "untarred").mkdir()
    f.tool("tar many", "tar", "-xf", tar, "-C", directory / "untarred")
    f.tool("tar many down", "sh", "-c", 'tar -cf - -C "$1" . | cat >/dev/null', "sh", directory / "untarred")


def listing(f, contestants, count, make):
    for c in contestants:
        if c.name == "nginx":
            continue
        make(c, f"i=0; mkdir -p {c.root}/list; cd {c.root}/list; seq {count} | xargs touch")
        for _ in range(3):
            f.whole(f"{c.name} list", [c.rpc("", "ListDir", path=f"{c.root}/list", depth=1)], 1)
        f.whole(f"{c.name} remove", [c.rpc("", "Remove", path=f"{c.root}/list")], 1)
    plain = f.bench.directory / "list"
    plain.mkdir()
    subprocess.run(f"seq {count} | xargs touch", shell=True, cwd=plain, check=True)
    for _ in range(3):
        f.tool("ls list", "ls", "-la", plain)
    f.tool("rm remove", "rm", "-r", plain)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Watching(threading.Thread):
    """Reads a WatchDir stream as it comes; what it holds is looked at when it is over."""

    MARK = b"EVENT_TYPE_CREATE"

    def __init__(self, connection, fields, path):
        super().__init__(daemon=True)
        body = json.dumps({"path": path, "recursive": True}).encode()
        connection.request("POST", "/filesystem.Filesystem/WatchDir",
                           b"\0" + len(body).to_bytes(4, "big") + body,
                           {"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1",
                            "Authorization": "Basic cm9vdDo=", **fields})
        self.response = connection.getresponse()
        head = self.response.read(5)
        assert b"start" in self.response.read(int.from_bytes(head[1:], "big"))
        self.pieces, self.left, self.enough = [], 0, threading.Event()
        self.ended = None

    def wait_for(self, count):
        self.left = count
        self.start()

    def run(self):
        tail = b""
        while self.left > 0 and (piece := self.response.read1(1 << 20)):
            self.pieces.append(piece)
            self.left -= (tail + piece).count(self.MARK) - tail.count(self.MARK)
            tail = piece[-len(self.MARK) + 1:]
            self.ended = time.perf_counter()
        self.enough.set()

    def names(self):
        """Of all creations told."""
        text = b"".join(self.pieces)
        return set(re.findall(rb'"name":\s*"([^"]+)",\s*"type":\s*"EVENT_TYPE_CREATE', text)) | set(
            re.findall(rb'"type":"EVENT_TYPE_CREATE","name":"([^"]+)', text))


STORM = ("import os,sys\nroot,dirs,files=sys.argv[1],int(sys.argv[2]),int(sys.argv[3])\n"
         "for d in range(dirs):\n os.mkdir(f'{root}/{d}')\n"
         " for i in range(files): os.close(os.open(f'{root}/{d}/{i}', os.O_CREAT|os.O_WRONLY))\n")


def watching(f, contestants, dirs, files, make, connect):
    """How long until all are told, and how many never are; and one at a time."""
    lost = {}
    for c in contestants:
        if c.name == "nginx":
            continue
        make(c, f"mkdir -p {c.root}/watch {c.root}/one")
        w = Watching(connect(c), dict(x.split(": ", 1) for x in c.fields), f"{c.root}/watch")
        start = time.perf_counter()
        w.wait_for(dirs * (files + 1))
        make(c, f"python3 -c \"{STORM}\" {c.root}/watch {dirs} {files}")
        w.enough.wait(30)
        lost[c.name] = dirs * (files + 1) - len(w.names())
        took = (w.ended or start) - start
        f.samples.setdefault(f"{c.name} storm", Samples("")).add(took, lost[c.name] == 0)
    root = f.bench.directory / "storm"
    root.mkdir()
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", STORM, root, str(dirs), str(files)], check=True)
    f.samples.setdefault("plain storm", Samples("")).add(time.perf_counter() - start)
    return lost


# ---- the report ----------------------------------------------------------------------------------


def report(f, names, size, count, entries, storm, lost, memory):
    def cell(name, what, form):
        s = f.samples.get(f"{name} {what}")
        return form(s) if s else "-"

    def ms(s):
        return f"{s.percentile(50) * 1000:.2f} / {s.percentile(99) * 1000:.2f}"

    def rate(s):
        return f"{size / s.percentile(50) / MIB:.0f}"

    def seconds(s):
        return f"{s.percentile(50):.2f}"

    plain = {"put large": "cp large", "get large": "cat large", "many each": "cp many",
             "many form": "cp many", "many tar": "tar many", "many tar down": "tar many down",
             "list": "ls list", "remove": "rm remove", "storm": "plain storm"}
    rows = []
    for what, text, form in [
            ("put 1k", "write 1 KiB, ms p50 / p99", ms),
            ("put over", "write 1 KiB over another, ms p50 / p99", ms), ("get 1k", "read 1 KiB, ms p50 / p99", ms),
            ("put large", f"upload {size >> 20} MiB, MiB/s", rate),
            ("get large", f"download {size >> 20} MiB, MiB/s", rate),
            ("many each", f"{count} files of 1 KiB, a request each, s", seconds),
            ("many form", "the same, one form, s", seconds),
            ("many tar", "the same, a tar stream up, s", seconds),
            ("many tar down", "the same, a tar stream down, s", seconds),
            ("list", f"ListDir of {entries:,}, s", seconds), ("remove", f"Remove of {entries:,}, s", seconds),
            ("storm", f"{storm} creations told, s", seconds)]:
        tool = f.samples.get(plain.get(what, ""))
        told = [cell(n, what, form) for n in names]
        if what == "storm":
            told = [t if not lost.get(n) else f"{lost[n]} lost" for n, t in zip(names, told)]
        rows.append([text, *told, form(tool) if tool else "-"])
    f.bench.text(*table(["", *names, "plain tool"], rows))
    if "carrel put huge" in f.samples:
        took = [f.samples[f"carrel {what} huge"].percentile(50) for what in ("put", "get")]
        f.bench.text(f"Through carrel, once: 4 GiB up in {took[0]:.1f} s, 20 GiB of a hole down in "
                     f"{took[1]:.1f} s.")
    if f.bench.quick:
        f.bench.text("A quick run (`--quick`): a tenth of the rounds, smaller sizes.")
    f.bench.text("Plain tools: cp and cat through a pipe, cp -r, tar, ls -la, rm -r; for the storm the "
                 "program that makes it, watched by nobody.", "",
                 "Peak memory after all of it, MiB: " + ", ".join(
                     f"{n} {kib / 1024:.0f}" for n, kib in memory.items()) + ".")
    f.bench.keep(**{name: s.as_json() for name, s in f.samples.items()}, lost=lost, memory_kib=memory)


def run(bench):
    f = Files(bench)
    size = (256 if bench.quick else 1024) * MIB
    count, dirs = (2000, 200) if bench.quick else (10000, 1000)
    entries = 20000 if bench.quick else 100000
    with bench.server() as server, envd() as peer, nginx(bench.directory / "nginx") as other:
        sandbox = bench.sdk(server).Sandbox.create(timeout=600)
        fields = [f"E2b-Sandbox-Id: {sandbox.sandbox_id}", "E2b-Sandbox-Port: 49983",
                  f"X-Access-Token: {server.token(sandbox.sandbox_id)}"]
        agent = server.run / sandbox.sandbox_id / "agent.sock"
        contestants = [Contestant("carrel", server.address[1], "/home/user/b", fields, "root"),
                       Contestant("agent", 0, "/home/user/a", (), "root", str(agent))]
        if peer:
            contestants.append(Contestant("envd", peer[0], bench.directory / "envd", user="root"))
            (bench.directory / "envd").mkdir()
        if other:
            contestants.append(Contestant("nginx", other[0], bench.directory / "nginx"))

        def make(c, script):
            if c.name in ("carrel", "agent"):
                sandbox.commands.run(script, user="root", timeout=120)
            else:
                subprocess.run(["sh", "-c", script], check=True)

        def connect(c):
            if c.host != "127.0.0.1":
                return UnixConnection(c.host)
            return http.client.HTTPConnection("127.0.0.1", c.port, timeout=60)

        make(contestants[0], "mkdir -p /home/user/a /home/user/b")
        bench.progress("1 KiB")
        small(f, contestants, bench.rounds(2000))
        bench.progress("large files")
        large(f, contestants, size, 3)
        if not bench.quick:
            bench.progress("huge files")
            huge(f, contestants[0], sandbox)
        bench.progress("many files")
        many(f, contestants, count, bench.directory)
        bench.progress("listing")
        listing(f, contestants, entries, make)
        bench.progress("watching")
        lost = watching(f, contestants, dirs, 100, make, connect)
        memory = {"server": peak_kib(Path(f"/proc/{server.proc.pid}/status").read_text()),
                  "agent": peak_kib(sandbox.files.read("/proc/self/status", user="root"))}
        for name, who in (("envd", peer), ("nginx", other)):
            if who:
                memory[name] = peak_kib(Path(f"/proc/{who[1].pid}/status").read_text())
        sandbox.kill()
    report(f, [c.name for c in contestants], size, count, entries, dirs * 101, lost, memory)
    shutil.rmtree(bench.directory / "nginx", ignore_errors=True)


main(run, "Files")
