# SPDX-License-Identifier: Apache-2.0
"""The `carrel` command as a user's hands and scripts have it."""

import http.server
import io
import json
import os
import signal
import socket
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from harness import BINARY, ROOT, TEMPLATES, eventually

SECONDS = 60  # a deadline, not an expectation


def carrel(*words, status=0, **options):
    """Runs the command; its output as text."""
    options.setdefault("stdin", subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    done = subprocess.run([BINARY, *words], capture_output=True, timeout=SECONDS, **options)
    assert done.returncode == status, (words, done)
    return done.stdout.decode(errors="surrogateescape")


def complaint(*words, status, **options):
    """The error of a command that must fail."""
    done = subprocess.run([BINARY, *words], capture_output=True, timeout=SECONDS, text=True,
                          stdin=subprocess.DEVNULL, **options)  # fmt: skip
    assert done.returncode == status, (words, done)
    return done.stderr


def started(*words, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([BINARY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            **options)  # fmt: skip


def ended(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err.decode(errors="replace")


@pytest.fixture(scope="module")
def box(server):
    """A sandbox named box, for tests that do not mind each other."""
    found = carrel("create", "--name", "box", "--timeout", "15m").strip()
    yield found
    carrel("kill", found)


@pytest.fixture
def mine(server):
    """A sandbox of the test's own, which the test may kill."""
    found = carrel("create", "--timeout", "10m").strip()
    yield found
    subprocess.run([BINARY, "kill", found], capture_output=True, timeout=SECONDS)


# ---- sandboxes ----------------------------------------------------------------------------------


def test_life(server):
    one = carrel("create", "--name", "life-1", "-m", "team=a b&c", "--timeout", "2m").strip()
    two = json.loads(carrel("create", "--json", "-n", "life-2"))["sandboxID"]
    try:
        rows = {row["sandboxID"]: row for row in json.loads(carrel("ls", "--json"))}
        assert rows[one]["metadata"] == {"name": "life-1", "team": "a b&c"}
        assert carrel("ls", "-q", "-m", "team=a b&c").split() == [one]
        assert one in carrel("ls") and "life-2" in carrel("ls")
        assert json.loads(carrel("info", "--json", one[:8]))["name"] == "life-1"
        assert "state     running" in carrel("info", "life-1")
        before = rows[one]["endAt"]
        carrel("timeout", "life-1", "1h")
        assert json.loads(carrel("info", "--json", one))["endAt"] > before
        carrel("pause", "life-1")
        assert carrel("ls", "-q", "--state", "paused").split() == [one]
        assert "carrel resume" in complaint("cat", one, "/etc/hostname", status=69)
        carrel("resume", "life-1")
        assert carrel("exec", "life-1", "echo", "awake") == "awake\n"
        assert f"8080-{one}." in carrel("url", "life-1", "8080")
    finally:
        carrel("kill", one, "life-2")
    assert "there is no sandbox" in complaint("info", one, status=66)
    assert one not in carrel("ls") and two not in carrel("ls")


def test_a_name_that_several_have_is_none(server):
    ids = [carrel("create", "--name", "twin").strip() for _ in range(2)]
    assert "2 sandboxes are meant" in complaint("info", "twin", status=2)
    assert "sandboxes are meant" in complaint("info", "i", status=2)
    carrel("kill", *ids)


def test_what_is_wrong_is_said(server):
    assert "'nope' not found" in complaint("create", "-t", "nope", status=66)
    for words, said in (
        (["create", "--timeout", "soon"], "no time such as"),
        (["exec"], "usage: carrel exec"),
        (["exec", "--frob", "x", "y"], "there is no option --frob"),
        (["ls", "--metadata"], "needs NAME=VALUE"),
        (["ls", "--metadata", "novalue"], "not NAME=VALUE"),
        (["url", "x", "99999"], "no port"),
        (["info", ""], "empty"),
        (["info", "../../etc"], "no sandbox"),
        (["cp", "a", "b"], "SANDBOX:PATH"),
        (["frob"], "no command"),
    ):
        done = subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode not in (0, -11) and said in done.stderr, (words, done)


def test_no_server_and_a_wrong_key(server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        env = dict(os.environ, E2B_API_URL=url, E2B_SANDBOX_URL=url)
        said = complaint("ls", status=69, env=env)
        assert url in said and "carrel serve" in said
    said = complaint("ls", status=77, env=dict(os.environ, E2B_API_KEY="e2b_" + "0" * 40))
    assert "E2B_API_KEY" in said
    env = dict(os.environ, E2B_API_KEY="two words")
    assert "characters that no key has" in complaint("ls", status=2, env=env)
    env = {"PATH": os.environ["PATH"], "E2B_API_URL": "ftp://x"}
    assert "no address" in complaint("ls", status=2, env=env)


# ---- processes ----------------------------------------------------------------------------------


def test_exec_is_transparent(box):
    done = subprocess.run([BINARY, "exec", "box", "sh", "-c", "echo out; echo err >&2; exit 7"],
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert carrel("exec", "box", "--", "echo", "--x", "-y") == "--x -y\n"
    assert carrel("exec", "-w", "/tmp", "-e", "A=b c", "box", "sh", "-c", "pwd; echo $A") == "/tmp\nb c\n"
    assert carrel("exec", "-u", "root", "box", "id", "-un") == "root\n"
    assert carrel("exec", "box", "sh", "-c", "kill -SEGV $$", status=139) == ""
    assert "not found" in complaint("exec", "box", "no-such-program", status=127)
    assert "nobody9" in complaint("exec", "-u", "nobody9", "box", "true", status=125)
    bytes_in = bytes(range(256)) * 5000
    done = subprocess.run([BINARY, "exec", "box", "cat"], input=bytes_in, capture_output=True,
                          timeout=SECONDS)  # fmt: skip
    assert done.stdout == bytes_in
    assert carrel("exec", "-n", "box", "cat", input=b"not passed on") == ""


def test_time_limit(box):
    said = complaint("exec", "--timeout", "1", "box", "sleep", "100", status=125)
    assert said != ""


def test_break_reaches_the_command(box):
    script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    process = started("exec", "box", "bash", "-c", script)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert ended(process)[:2] == (3, b"caught\n")


def test_the_third_break_leaves_it(box):
    script = "trap 'echo no' INT; echo ready $$; while :; do sleep 0.05; done"
    process = started("exec", "box", "bash", "-c", script)
    pid = process.stdout.readline().split()[1].decode()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"no\n"
    process.send_signal(signal.SIGINT)
    status, _, said = ended(process)
    assert status == 130 and f"carrel attach {box} {pid}" in said
    carrel("signal", "-s", "KILL", "-g", "box", pid)


def test_a_reader_that_leaves(box):
    done = subprocess.run(f"{BINARY} exec box yes | head -n 2; echo ${{PIPESTATUS[0]}}",
                          shell=True, executable="/bin/bash", capture_output=True, text=True,
                          timeout=SECONDS)  # fmt: skip
    assert done.stdout == "y\ny\n141\n" and done.stderr == ""
    eventually(lambda: "yes" not in carrel("ps", "box"), what="the end of yes")
    done = subprocess.run(f"{BINARY} cat box /bin/bash | head -c 1 | wc -c; echo ${{PIPESTATUS[0]}}",
                          shell=True, executable="/bin/bash", capture_output=True, text=True,
                          timeout=SECONDS)  # fmt: skip
    assert done.stdout.split() == ["1", "141"] and done.stderr == ""


def test_detach_attach_logs(box):
    pid = carrel("exec", "-d", "box", "sh", "-c",
                 "echo one; echo two >&2; read x; echo $x; exec sleep 300").strip()  # fmt: skip
    assert pid in carrel("ps", "box")
    assert {"pid": int(pid)}.items() <= next(
        row for row in json.loads(carrel("ps", "--json", "box")) if row["pid"] == int(pid)
    ).items()
    assert carrel("logs", "box", pid).count("one\n") == 1
    process = started("attach", "--from", "0", "box", pid)
    assert process.stdout.readline() == b"one\n"
    process.send_signal(signal.SIGINT)
    status, _, said = ended(process)
    assert status == 0 and "attach" in said
    assert pid in carrel("ps", "box"), "leaving it is not ending it"
    carrel("signal", "-g", "box", pid)
    eventually(lambda: pid not in carrel("ps", "box").split(), what="its end")
    assert carrel("logs", "-f", "box", pid).count("one\n") == 1
    assert "not found" in complaint("attach", "box", "99999", status=125)


class Cutter:
    """A relay to the server that cuts each connection after so many bytes of an answer."""

    def __init__(self, address, after):
        self.address, self.after, self.cuts = address, after, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(self.address)
            threading.Thread(target=self.up, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self.down, args=(client, upstream), daemon=True).start()

    @staticmethod
    def up(client, upstream):
        try:
            while data := client.recv(65536):
                upstream.sendall(data)
        except OSError:
            pass

    def down(self, client, upstream):
        left = self.after
        try:
            while left > 0 and (data := upstream.recv(min(65536, left))):
                left -= len(data)
                client.sendall(data)
        except OSError:
            pass
        self.cuts += left <= 0
        for end in (client, upstream):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def close(self):
        self.listener.close()


def test_cut_connections_lose_and_double_nothing(server, box):
    cutter = Cutter(server.address, 700_000)
    env = dict(os.environ, E2B_API_URL=cutter.url, E2B_SANDBOX_URL=cutter.url)
    out = carrel("exec", "box", "seq", "1", "400000", env=env)
    cutter.close()
    assert out == "".join(f"{n}\n" for n in range(1, 400001))
    assert cutter.cuts >= 3, "or nothing was tested"


def test_sandbox_gone_half_way(mine):
    process = started("exec", mine, "sh", "-c", "echo ready; sleep 300")
    assert process.stdout.readline() == b"ready\n"
    carrel("kill", mine)
    status, _, said = ended(process)
    assert status == 125 and "not found" in said and "carrel ls" in said


# ---- files --------------------------------------------------------------------------------------


def test_files(box):
    carrel("write", "box", "f/deep/a.txt", input=b"text\n")
    assert carrel("cat", "box", "f/deep/a.txt", "f/deep/a.txt") == "text\ntext\n"
    assert carrel("ls", "box", "f") == "deep/\n"
    assert "a.txt" in carrel("ls", "-l", "box", "f/deep/a.txt")
    carrel("mkdir", "box", "f/new/er")
    assert "exist" in complaint("mkdir", "box", "f/new", status=73)
    carrel("mv", "box", "f/deep/a.txt", "f/new/b.txt")
    assert carrel("find", "--name", "*.txt", "box", "f") == "/home/user/f/new/b.txt\n"
    assert carrel("find", "--type", "d", "--depth", "1", "box", "f").count("\n") == 2
    entry = json.loads(carrel("find", "--json", "--type", "f", "box", "f"))[0]
    assert (entry["name"], entry["size"], entry["type"]) == ("b.txt", 5, "file")
    carrel("rm", "box", "f")
    assert "there is no f" in complaint("rm", "box", "f", status=66)
    assert "does not exist" in complaint("cat", "box", "f", status=66)
    assert "directory" in complaint("cat", "box", "/etc", status=2)


def test_names_that_are_not_text(box, tmp_path):
    odd = os.fsdecode(b"odd-\xff\xfe")
    (tmp_path / odd).write_bytes(b"content")
    carrel("cp", str(tmp_path / odd), "box:odd/")
    assert carrel("cat", "box", "odd/" + odd) == "content"
    carrel("cp", "box:odd/" + odd, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"content"
    carrel("cp", "box:odd", str(tmp_path / "all"))
    assert os.listdir(os.fsencode(tmp_path / "all")) == [b"odd-\xff\xfe"]
    assert "\ufffd" in carrel("ls", "box", "odd")


def test_a_break_while_writing_leaves_nothing(box):
    process = started("write", "box", "half.txt", stdin=subprocess.PIPE)
    process.stdin.write(b"x" * 100_000)
    process.stdin.flush()
    eventually(lambda: has_read(process.pid, 100_000), what="the reading of its input")
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130
    process.stdin.close()
    assert "half.txt" not in carrel("ls", "box")


def has_read(pid, at_least):
    """Whether a process has read so much."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"]) >= at_least


def written(pid):
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return 0
    return int(dict(line.split(": ") for line in text.splitlines())["wchar"])


@pytest.mark.parametrize("what", ["big/file", "big"])
def test_a_break_while_copying_leaves_nothing(box, tmp_path, what):
    carrel("exec", "box", "sh", "-c", "mkdir -p big; truncate -s 8G big/file")
    process = started("cp", f"box:{what}", str(tmp_path / "copy"))
    eventually(lambda: written(process.pid) > 1_000_000, SECONDS, "the copy to be under way")
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("what", ["full/file", "full"])
def test_a_full_disk_here(box, tmp_path, what):
    carrel("exec", "box", "sh", "-c", "mkdir -p full; head -c 4M /dev/zero > full/file")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        assert "No space left" in complaint("cp", f"box:{what}", str(disk / "copy"), status=74)
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def make_tree(top):
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "text").write_text("text\n")
    (top / "bytes").write_bytes(bytes(range(256)) * 4096)
    (top / "sub" / "run").write_text("#!/bin/sh\necho ran\n")
    (top / "sub" / "run").chmod(0o755)
    (top / "link").symlink_to("sub/run")
    (top / "dangling").symlink_to("nowhere")
    (top / ("n" * 120)).write_text("a long name\n")
    os.utime(top / "text", (1_000_000_000, 1_000_000_000))


def look(top):
    return {
        str(p.relative_to(top)): (
            os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else None,
            0 if p.is_symlink() else p.stat().st_mode & 0o777,
        )
        for p in top.rglob("*")
    }


def test_directories_both_ways(box, tmp_path):
    tree = tmp_path / "tree"
    make_tree(tree)
    carrel("cp", str(tree), "box:")
    assert carrel("exec", "box", "tree/link") == "ran\n"
    carrel("cp", "box:tree", str(tmp_path / "back"))
    assert look(tmp_path / "back") == look(tree)
    assert (tmp_path / "back" / "text").stat().st_mtime == 1_000_000_000
    carrel("cp", "box:tree", str(tmp_path))  # tree/ is there: its files are replaced
    assert look(tree) == look(tmp_path / "back")
    carrel("cp", "box:tree/text", "box:tree/bytes", str(tmp_path / "back" / "sub"))
    assert (tmp_path / "back" / "sub" / "text").read_text() == "text\n"
    carrel("cp", str(tree / "sub" / "run"), "box:run")
    assert carrel("exec", "box", "./run") == "ran\n"
    assert "no directory" in complaint("cp", "box:run", "box:tree/text", str(tree / "text"), status=2)
    assert "No such file" in complaint("cp", str(tmp_path / "none"), "box:x", status=74)
    assert "not found" in complaint("cp", "box:none", str(tmp_path / "x"), status=66)
    assert not (tmp_path / "x").exists()


# what an archive may try
ATTACKS = {
    "../out": [("../out", tarfile.REGTYPE, "")],
    "absolute": [("/tmp/carrel-evil-out", tarfile.REGTYPE, "")],
    "dots inside": [("a/../../out", tarfile.REGTYPE, "")],
    "through a link": [("l", tarfile.SYMTYPE, ".."), ("l/out", tarfile.REGTYPE, "")],
    "a link's place": [("l", tarfile.SYMTYPE, "../secret"), ("l", tarfile.REGTYPE, "")],
    "hard link": [("h", tarfile.LNKTYPE, "../secret"), ("h", tarfile.REGTYPE, "")],
    "hard link to a link": [("l", tarfile.SYMTYPE, ".."), ("h", tarfile.LNKTYPE, "l/secret")],
    "a device": [("d", tarfile.CHRTYPE, "")],
    "cut": None,
}


def archive(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, link in [("good", tarfile.REGTYPE, ""), *entries]:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(b"evil"[: entry.size]))
    return out.getvalue()


class Hostile(http.server.BaseHTTPRequestHandler):
    """Says that it has a sandbox with a directory, and sends an archive of its own as that."""

    body = b""

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        tar = self.path.startswith("/files/tar")
        self.answer(self.body if tar else b'{"sandboxID": "hostile", "state": "running"}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        entry = {"name": "evil", "path": "/evil", "type": "FILE_TYPE_DIRECTORY"}
        self.answer(json.dumps({"entry": entry}).encode())

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_archive_cannot_lead_out(tmp_path, attack, there):
    body = archive(ATTACKS[attack]) if ATTACKS[attack] else archive([])[:600]
    handler = type("Handler", (Hostile,), {"body": body})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as fake:
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        (tmp_path / "secret").write_text("secret")
        target = tmp_path / "target"
        if there:
            target.mkdir()
        env = dict(os.environ, CARREL_API_URL=f"http://127.0.0.1:{fake.server_port}",
                   CARREL_SANDBOX_URL="", E2B_SANDBOX_URL="", CARREL_API_KEY="e2b_00")  # fmt: skip
        done = subprocess.run([BINARY, "cp", "hostile:evil/.", target], capture_output=True,
                              text=True, env=env, timeout=SECONDS)  # fmt: skip
        fake.shutdown()
    harmless = attack in ("a device", "a link's place")
    assert (done.returncode == 0) == harmless, done
    assert sorted(os.listdir(tmp_path)) == (["secret", "target"] if there or harmless else ["secret"])
    assert (tmp_path / "secret").read_text() == "secret"
    assert not Path("/tmp/carrel-evil-out").exists()


def test_huge_listing(box):
    carrel("exec", "box", "sh", "-c", "mkdir many; cd many; seq -f 'file %06g' 20000 | xargs -d '\\n' touch")
    names = carrel("ls", "box", "many").splitlines()
    assert len(names) == 20000 and names[0] == "file 000001" and names[-1] == "file 020000"
    done = subprocess.run(f"{BINARY} ls box many | head -n 1", shell=True, capture_output=True,
                          text=True, timeout=SECONDS)  # fmt: skip
    assert (done.stdout, done.stderr) == ("file 000001\n", "")
    carrel("rm", "box", "many")


def test_watch(box):
    process = started("watch", "--count", "1", "--wait", "--json", "box", "watched")
    assert process.stderr.readline() == b"watching watched\n"
    carrel("mkdir", "box", "watched")
    carrel("write", "box", "watched/new", input=b"x")
    status, out, _ = ended(process)
    assert status == 0 and set(json.loads(out)) == {"type", "name"}
    process = started("watch", "box", "watched")
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert "not found" in complaint("watch", "box", "nowhere", status=66)


# ---- code ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not (TEMPLATES / "code-interpreter-v1").is_dir(), reason="no such template")
def test_run_code(server, tmp_path):
    coder = carrel("create", "-t", "code-interpreter-v1").strip()
    assert carrel("run", coder, "-c", "x = 40\nprint('printed')\nx + 2") == "printed\n42\n"
    (tmp_path / "code.py").write_text("x += 1\nx")
    assert carrel("run", coder, str(tmp_path / "code.py")) == "41\n"
    assert carrel("run", coder, "-", input=b"x") == "41\n"
    assert "ZeroDivisionError" in complaint("run", coder, "-c", "1/0", status=1)
    told = json.loads(carrel("run", "--json", coder, "-c", "1/0", status=1))
    assert told["error"]["name"] == "ZeroDivisionError"
    process = started("run", coder, "-c", "import time\nprint('go', flush=True)\ntime.sleep(300)")
    assert process.stdout.readline() == b"go\n"
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    assert carrel("run", coder, "-c", "x") == "41\n", "interrupted, not restarted"
    carrel("kill", coder)


def test_no_interpreter(box):
    assert "code-interpreter-v1" in complaint("run", "box", "-c", "1", status=69)


# ---- around it ----------------------------------------------------------------------------------


def test_top_and_templates(box):
    assert box in carrel("top", "--once")
    assert any(row["sandboxID"] == box for row in json.loads(carrel("top", "--json")))
    assert "base" in carrel("template") and "base" in carrel("template", "info", "base")
    assert any(t["templateID"] == "base" for t in json.loads(carrel("template", "--json")))


def commands():
    lines = carrel("help").splitlines()[2:]
    return [line.split()[0] for line in lines if line.startswith("  ")]


def test_help_and_manual_know_every_command(server):
    manual = (ROOT / "man" / "carrel.1").read_text().replace("\\-", "-")
    for name in commands():
        about = carrel("help", name)
        assert about.startswith("usage: ") and f"carrel {name}" in about.splitlines()[0], about
        assert f".B carrel {name}" in manual, name
        if name in ("serve", "env", "key", "doctor", "selftest", "cert"):
            continue
        for word in about.split():
            if word.startswith("--") and word.strip("-]").isidentifier():
                assert word.strip("]") in manual, (name, word)


def complete(line):
    words = line.split(" ")
    script = f"""source <({BINARY} completion bash)
COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}
_carrel; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{Path(BINARY).parent}:{os.environ['PATH']}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                          timeout=SECONDS, env=dict(os.environ, PATH=path)).stdout.split()  # fmt: skip


def test_completion(box):
    assert complete("carrel ex") == ["exec"]
    assert set(complete("carrel exec --t")) == {"--tty", "--timeout"}
    assert "box" in complete("carrel info b") and box in complete("carrel kill i")
    assert "box" in complete("carrel exec -w /tmp b")
    assert "base" in complete("carrel create -t b")
    assert complete("carrel completion f") == ["fish"]
    for shell in ("zsh", "fish"):
        text = carrel("completion", shell)
        assert all(name in text for name in commands())
    complaint("completion", "tcsh", status=2)
