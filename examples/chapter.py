#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A tour of files and processes in sandboxes, with the unmodified Python SDK `e2b`.

It needs a server and these variables, which `carrel serve` prints:
E2B_API_KEY, E2B_API_URL, E2B_SANDBOX_URL. Every workflow checks its own results; the exit status
is 0 only if all of them worked.
"""

import asyncio
import hashlib
import io
import json
import os
import sys
import threading
import time
import urllib.request
from importlib.metadata import version

from e2b import AsyncSandbox, CommandExitException, FilesystemEventType, FileType, Sandbox

WORKFLOWS = []


def workflow(title):
    def register(function):
        WORKFLOWS.append((title, function))
        return function

    return register


def say(text=""):
    print(f"    {text}" if text else "", flush=True)


def show(text, limit=12):
    lines = text.rstrip("\n").splitlines()
    for line in lines[:limit]:
        say(f"| {line}")
    if len(lines) > limit:
        say(f"| … {len(lines) - limit} more lines")


def check(condition, what):
    """The tour's own assertion: says what was checked, and stops the workflow if it is not so."""
    if not condition:
        raise AssertionError(what)
    say(f"✓ {what}")


def new_sandbox(**options):
    start = time.perf_counter()
    sandbox = Sandbox.create(timeout=300, **options)
    say(f"sandbox {sandbox.sandbox_id} made in {(time.perf_counter() - start) * 1000:.1f} ms")
    return sandbox


# ---- files ----------------------------------------------------------------------------


@workflow("Write and read text, JSON and binary files")
def write_and_read():
    with new_sandbox() as sandbox:
        info = sandbox.files.write("/home/user/hello.txt", "Hello from a sandbox! ✓ ünïcödé\n")
        say(f"wrote {info.path}")
        check(
            sandbox.files.read("/home/user/hello.txt") == "Hello from a sandbox! ✓ ünïcödé\n",
            "the text file reads back as it was written",
        )
        config = {"model": "small", "temperature": 0.7, "names": ["a", "b"]}
        sandbox.files.write("/home/user/config.json", json.dumps(config, indent=2))
        check(
            json.loads(sandbox.files.read("/home/user/config.json")) == config,
            "the JSON file holds the same values",
        )
        data = bytes(range(256)) * 4096
        sandbox.files.write("/home/user/data.bin", data)
        digest = hashlib.sha256(data).hexdigest()
        inside = sandbox.commands.run("sha256sum /home/user/data.bin").stdout.split()[0]
        check(inside == digest, "1 MiB of bytes has the same SHA-256 inside")
        check(
            bytes(sandbox.files.read("/home/user/data.bin", format="bytes")) == data,
            "and comes back byte for byte",
        )
        sandbox.files.write(
            "/home/user/script.py", 'import sys\nprint("Arguments:", sys.argv[1:])\n'
        )
        result = sandbox.commands.run("python /home/user/script.py one two")
        show(result.stdout)
        check(result.stdout == "Arguments: ['one', 'two']\n", "an uploaded script runs")


@workflow("Upload a CSV, compute inside, download the result")
def upload_and_download():
    with new_sandbox() as sandbox:
        rows = ["day,visitors"] + [f"{day},{day * day % 97}" for day in range(1, 366)]
        csv = "\n".join(rows) + "\n"
        sandbox.files.write("/home/user/data.csv", io.BytesIO(csv.encode()))
        result = sandbox.commands.run("wc -l /home/user/data.csv")
        show(result.stdout)
        check(int(result.stdout.split()[0]) == len(rows), f"wc -l inside counts {len(rows)} lines")
        sandbox.files.write(
            "/home/user/sum.py",
            "import csv, json\n"
            "rows = list(csv.DictReader(open('/home/user/data.csv')))\n"
            "total = sum(int(r['visitors']) for r in rows)\n"
            "json.dump({'days': len(rows), 'total': total}, open('/home/user/result.json', 'w'))\n",
        )
        sandbox.commands.run("python /home/user/sum.py")
        result = json.loads(sandbox.files.read("/home/user/result.json"))
        say(f"downloaded result.json: {result}")
        total = sum(int(row.split(",")[1]) for row in rows[1:])
        check(result == {"days": 365, "total": total}, "the result made inside is right")
        with urllib.request.urlopen(sandbox.download_url("/home/user/result.json")) as reply:
            check(
                json.load(reply) == result, "a signed address downloads it without any SDK or key"
            )


@workflow("List a directory")
def list_directory():
    with new_sandbox() as sandbox:
        sandbox.files.write_files(
            [
                {"path": "/home/user/project/src/main.py", "data": "print('main')"},
                {"path": "/home/user/project/src/utils.py", "data": "# utils"},
                {"path": "/home/user/project/README.md", "data": "# Project"},
            ]
        )
        entries = sandbox.files.list("/home/user/project", depth=2)
        for entry in entries:
            kind = "DIR " if entry.type == FileType.DIR else "FILE"
            path = os.path.relpath(entry.path, "/home/user/project")
            say(f"{kind} {path:14} {entry.size:6} bytes  {entry.permissions} {entry.owner}")
        listed = {(e.name, e.type, e.size if e.type == FileType.FILE else 0) for e in entries}
        check(
            listed
            == {
                ("README.md", FileType.FILE, 9),
                ("src", FileType.DIR, 0),
                ("main.py", FileType.FILE, 13),
                ("utils.py", FileType.FILE, 7),
            },
            "names, kinds and sizes are right",
        )


@workflow("Watch a directory while files are made in it")
def watch_directory():
    async def watch():
        sandbox = await AsyncSandbox.create(timeout=300)
        try:
            created, complete = set(), asyncio.Event()

            def on_event(event):
                say(f"file event: {event.type.value:6} {event.name}")
                if event.type == FilesystemEventType.CREATE:
                    created.add(event.name)
                if len(created) == 3:
                    complete.set()

            await sandbox.files.make_dir("/home/user/output")
            watcher = await sandbox.files.watch_dir("/home/user/output", on_event)
            await sandbox.commands.run(
                "python -c \"[open(f'/home/user/output/file_{i}.txt', 'w').write(f'Content {i}')"
                ' for i in range(3)]"'
            )
            await asyncio.wait_for(complete.wait(), 20)
            await watcher.stop()
            check(
                created == {"file_0.txt", "file_1.txt", "file_2.txt"},
                "all three files were announced while the watcher was open",
            )
        finally:
            await sandbox.kill()

    asyncio.run(watch())


# ---- processes ----------------------------------------------------------------------------


@workflow("Run commands: results, variables, directory, failure")
def run_commands():
    with new_sandbox() as sandbox:
        result = sandbox.commands.run("ls -la /home/user; echo a warning >&2")
        show(result.stdout)
        check(result.exit_code == 0, "exit code 0")
        check(".bashrc" in result.stdout, "stdout has the listing")
        check(result.stderr == "a warning\n", "stderr is kept apart")
        result = sandbox.commands.run("echo $MY_VAR", envs={"MY_VAR": "hello"})
        check(result.stdout == "hello\n", "a variable given to the command is there")
        sandbox.files.write("/home/user/project/test.py", "print('test')")
        result = sandbox.commands.run("python test.py", cwd="/home/user/project")
        check(result.stdout == "test\n", "a relative path is found in the directory given")
        try:
            sandbox.commands.run("echo about to fail; exit 3")
            check(False, "a failing command raises")
        except CommandExitException as failure:
            check(
                failure.exit_code == 3 and failure.stdout == "about to fail\n",
                "a failing command raises, with its exit code 3 and its output",
            )


@workflow("A web server in the background, seen from inside and outside")
def web_server():
    with new_sandbox() as sandbox:
        sandbox.files.write("/home/user/www/index.html", "<h1>Served from a sandbox</h1>\n")
        server = sandbox.commands.run(
            "exec python3 -u -m http.server 8080 --directory /home/user/www", background=True
        )
        say(f"server runs as process {server.pid}")
        result = sandbox.commands.run("until curl -sf http://localhost:8080; do :; done")
        show(result.stdout)
        check("Served from a sandbox" in result.stdout, "curl inside gets the page")
        say(f"its address outside is {sandbox.get_host(8080)}")
        url = os.environ["E2B_SANDBOX_URL"]
        request = urllib.request.Request(
            url, headers={"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8080"}
        )
        with urllib.request.urlopen(request) as reply:
            page = reply.read().decode()
        check(page == result.stdout, "the same page comes through the proxy")
        check(server.kill() is True, "the server is killed")
        try:
            sandbox.commands.run("curl -s http://localhost:8080")
            check(False, "nothing listens any more")
        except CommandExitException as failure:
            check(failure.exit_code == 7, "nothing listens any more")


@workflow("A worker whose lines arrive one by one")
def streaming_worker():
    with new_sandbox() as sandbox:
        sandbox.files.write(
            "/home/user/worker.py",
            "import sys, time\n"
            "for i in range(5):\n"
            "    print(f'Processing step {i + 1}/5', flush=True)\n"
            "    print(f'{20 * (i + 1)} % done', file=sys.stderr, flush=True)\n"
            "    time.sleep(0.3)\n"
            "print('Done!')\n",
        )
        start = time.perf_counter()
        arrivals = []

        def on_stdout(text):
            for line in text.splitlines():
                arrivals.append((time.perf_counter() - start, line))
                say(f"{arrivals[-1][0]:6.3f} s  [STDOUT] {line}")

        errors = []

        def on_stderr(text):
            errors.append(text)
            say(f"{time.perf_counter() - start:6.3f} s  [STDERR] {text.rstrip()}")

        result = sandbox.commands.run(
            "python /home/user/worker.py", on_stdout=on_stdout, on_stderr=on_stderr
        )
        check(result.exit_code == 0, "exit code 0")
        check(
            [line for _, line in arrivals]
            == [f"Processing step {i}/5" for i in range(1, 6)] + ["Done!"],
            "every line arrived, in order",
        )
        check("".join(errors) == result.stderr and "100 % done" in result.stderr, "stderr as well")
        gaps = [b[0] - a[0] for a, b in zip(arrivals[:5], arrivals[1:5])]
        check(
            min(gaps) > 0.15,
            f"they arrived while it ran, {min(gaps):.2f} to {max(gaps):.2f} s apart",
        )


@workflow("Talk to a running process")
def interactive():
    with new_sandbox() as sandbox:
        process = sandbox.commands.run("cat", background=True, stdin=True)
        said = []
        reader = threading.Thread(target=lambda: process.wait(on_stdout=said.append))
        reader.start()
        for word in ("first\n", "second\n"):
            process.send_stdin(word)
        check(process.pid in {p.pid for p in sandbox.commands.list()}, "the process list names it")
        process.close_stdin()
        reader.join(20)
        check("".join(said) == "first\nsecond\n", "what was sent came back")


@workflow("Build and test a project")
def build_and_test():
    with new_sandbox() as sandbox:
        sandbox.files.write(
            "/home/user/project/calculator.py",
            "def add(a, b):\n    return a + b\n\n\n"
            "def multiply(a, b):\n    return a * b\n\n\n"
            "def divide(a, b):\n"
            "    if b == 0:\n"
            '        raise ValueError("Cannot divide by zero")\n'
            "    return a / b\n",
        )
        sandbox.files.write(
            "/home/user/project/test_calculator.py",
            "import pytest\nfrom calculator import add, divide, multiply\n\n\n"
            "def test_add():\n    assert add(2, 3) == 5\n    assert add(-1, 1) == 0\n\n\n"
            "def test_multiply():\n    assert multiply(3, 4) == 12\n    assert multiply(0, 5) == 0"
            "\n\n\ndef test_divide():\n    assert divide(10, 2) == 5.0\n"
            "    with pytest.raises(ValueError):\n        divide(1, 0)\n",
        )
        start = time.perf_counter()
        install = sandbox.commands.run("pip install pytest", timeout=240)
        show(install.stdout.splitlines()[-1])
        check(
            install.exit_code == 0,
            f"pip installs pytest over the network ({time.perf_counter() - start:.1f} s)",
        )
        result = sandbox.commands.run(
            "python -m pytest test_calculator.py -v", cwd="/home/user/project"
        )
        show(result.stdout, 20)
        check(result.exit_code == 0, "exit code 0")
        check("3 passed" in result.stdout, "its three tests pass")


# ---- many ----------------------------------------------------------------------------


@workflow("Twenty sandboxes at once, each by itself")
def twenty_sandboxes():
    async def all_at_once():
        start = time.perf_counter()
        sandboxes = await asyncio.gather(*[AsyncSandbox.create(timeout=300) for _ in range(20)])
        say(f"20 sandboxes in {(time.perf_counter() - start) * 1000:.0f} ms")
        try:
            check(len({s.sandbox_id for s in sandboxes}) == 20, "twenty different ones")
            await asyncio.gather(
                *[s.files.write(f"secret-{n}", f"of {n}") for n, s in enumerate(sandboxes)]
            )
            await asyncio.gather(
                *[
                    s.commands.run(f"exec -a worker-{n} sleep 300", background=True)
                    for n, s in enumerate(sandboxes)
                ]
            )
            look = (
                "ls; until grep -aho 'worker-[0-9]\\+' /proc/[0-9]*/cmdline | sort -u | grep .;"
                " do :; done; hostname"
            )
            seen = await asyncio.gather(*[s.commands.run(look) for s in sandboxes])
            for n in (0, 19):
                say(f"sandbox {n} sees: {' '.join(seen[n].stdout.split())}")
            own = all(
                r.stdout.split()[:2] == [f"secret-{n}", f"worker-{n}"]
                and r.stdout.count("secret-") == 1
                and r.stdout.count("worker-") == 1
                for n, r in enumerate(seen)
            )
            check(own, "each sees its own file and process and nobody else's")
        finally:
            start = time.perf_counter()
            killed = await asyncio.gather(*[s.kill() for s in sandboxes])
            say(f"all killed in {(time.perf_counter() - start) * 1000:.0f} ms")
        check(all(killed), "each of them existed until then")

    asyncio.run(all_at_once())


def main():
    missing = [
        n for n in ("E2B_API_KEY", "E2B_API_URL", "E2B_SANDBOX_URL") if not os.environ.get(n)
    ]
    if missing:
        sys.exit(f"set {', '.join(missing)} first: `carrel serve` prints the lines to paste")
    print(f"Python {sys.version.split()[0]}, e2b {version('e2b')}, {os.environ['E2B_API_URL']}")
    results = []
    for number, (title, function) in enumerate(WORKFLOWS, 1):
        print(f"\n{number}. {title}", flush=True)
        start = time.perf_counter()
        try:
            function()
            problem = None
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            say(f"✗ {problem}")
        results.append((title, time.perf_counter() - start, problem))

    print("\nSummary")
    for title, seconds, problem in results:
        print(f"  {'ok    ' if problem is None else 'FAILED'} {seconds:6.2f} s  {title}")
        if problem:
            print(f"           {problem.splitlines()[0]}")
    failed = sum(problem is not None for _, _, problem in results)
    print(f"{len(results) - failed} of {len(results)} workflows worked")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
