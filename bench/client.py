# SPDX-License-Identifier: Apache-2.0
"""
libcarrel and the `carrel` command. Calls: the same requests by libcurl alone, by libcarrel and by the
published Python SDK, on connections that are kept. Commands: one process each, `carrel` beside `curl`
and the SDK's import. Copies: into a sandbox and out of it, beside `cp` and a pipe of two `tar` on the
host, and `curl` for the file; medians.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from lib.bench import BUILD, PROGRAMS, main
from lib.samples import Samples, table

CARREL = str(BUILD / "carrel")
CALLS = {
    "exists": ("does a path exist", lambda box: box.files.exists("/tmp")),
    "write": ("write 1 KiB", lambda box: box.files.write("/tmp/k", "x" * 1024)),
    "read": ("read 1 KiB", lambda box: box.files.read("/tmp/k")),
    "run": ("`true` in a shell", lambda box: box.commands.run("true")),
}
FILES, FILE_SIZE, BIG = 10_000, 1024, 1 << 30


def us(samples):
    return f"{samples.percentile(50) * 1e6:.0f} us"


def calls(bench, box, token):
    samples = {}
    for _ in range(5):
        rounds = bench.rounds(60)
        out = subprocess.run([PROGRAMS / "calls", str(rounds), box.sandbox_id, token], check=True,
                             stdout=subprocess.PIPE, text=True).stdout  # fmt: skip
        for line in out.splitlines():
            name, nanoseconds, ok = line.split("\t")
            samples.setdefault(name, Samples(name)).add(int(nanoseconds) / 1e9, ok == "1")
        for name, (_, call) in CALLS.items():
            bench.timed(samples, f"{name} sdk", lambda call=call: call(box), rounds)
    rows = []
    for name, (label, _) in CALLS.items():
        curl, ours, sdk = (samples[f"{name} {who}"] for who in ("curl", "carrel", "sdk"))
        extra = (ours.percentile(50) - curl.percentile(50)) * 1e6
        rows.append([label, us(curl), us(ours), f"{extra:+.0f} us", us(sdk),
                     f"{sdk.percentile(50) / ours.percentile(50):.1f}"])  # fmt: skip
    bench.keep(**{name: s.as_json() for name, s in samples.items()})
    head = ["call, median", "libcurl", "libcarrel", "over libcurl", "SDK", "SDK : libcarrel"]
    bench.text(*table(head, rows))


def commands(bench, box, token):
    headers = ["-H", f"E2b-Sandbox-Id: {box.sandbox_id}", "-H", "E2b-Sandbox-Port: 49983",
               "-H", f"X-Access-Token: {token}"]  # fmt: skip
    url = os.environ["E2B_API_URL"]
    sdk = (f"from e2b import Sandbox\nprint(Sandbox.connect('{box.sandbox_id}')"
           ".files.read('/tmp/k'))")  # fmt: skip
    rows = {
        "`curl` of a file of 1 KiB": ["curl", "-sS", "--noproxy", "*", *headers, f"{url}/files?path=/tmp/k"],
        "`carrel cat` of it": [CARREL, "cat", box.sandbox_id, "/tmp/k"],
        "`carrel exec` of `true`": [CARREL, "exec", box.sandbox_id, "true"],
        "a Python program that reads it by the SDK": [sys.executable, "-c", sdk],
    }  # fmt: skip
    samples = {}
    for turn in range(bench.rounds(30)):
        for name, command in rows.items():
            if "Python" in name and turn % 5:
                continue
            run = lambda command=command: subprocess.run(  # noqa: E731
                command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # fmt: skip
            bench.timed(samples, name, run, 1)
    bench.times(samples, [(name, name) for name in rows], base="`curl` of a file of 1 KiB")


def make_files(top):
    for n in range(FILES):
        path = top / f"{n // 100:03}"
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{n:05}").write_bytes(os.urandom(FILE_SIZE))


def make_big(path):
    piece = os.urandom(1 << 20)
    with open(path, "wb") as file:
        for _ in range(BIG >> 20):
            file.write(piece)


def timed_copy(command, clear):
    clear()
    start = time.perf_counter()
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def copies(bench, box, token, directory):
    big, many, out = directory / "big", directory / "many", directory / "out"
    make_big(big)
    make_files(many)
    headers = (f"-H 'E2b-Sandbox-Id: {box.sandbox_id}' -H 'E2b-Sandbox-Port: 49983' "
               f"-H 'X-Access-Token: {token}' --noproxy '*' -sSf")  # fmt: skip
    files = "\"$E2B_API_URL/files?path=/home/user/big\""
    one = {
        "`cp`": f"cp {big} {out}/big",
        "`tar` to `tar`": f"tar -c -C {directory} big | tar -x -C {out}",
        "`curl` in": f"curl {headers} -H 'Content-Type: application/octet-stream' -H Expect: -X POST -T {big} {files}",
        "`carrel cp` in": f"{CARREL} cp -q {big} {box.sandbox_id}:big",
        "`curl` out": f"curl {headers} -o {out}/big {files}",
        "`carrel cp` out": f"{CARREL} cp -q {box.sandbox_id}:big {out}/big",
    }
    tree = {
        "`cp -r`": f"cp -r {many} {out}/many",
        "`tar` to `tar`": f"tar -c -C {directory} many | tar -x -C {out}",
        "`carrel cp` in": f"{CARREL} cp -q {many} {box.sandbox_id}:many",
        "`carrel cp` out": f"{CARREL} cp -q {box.sandbox_id}:many {out}/many",
    }

    def clear(inside):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if inside:
            box.commands.run("rm -rf many big")

    for label, contestants, size in (("1 GiB", one, BIG), (f"{FILES:,} files of 1 KiB", tree, None)):
        found = {name: [] for name in contestants}
        for _ in range(2 if bench.quick else 3):
            for name, command in contestants.items():
                found[name].append(timed_copy(command, lambda: clear("in" in name)))
        base = median(next(iter(found.values())))
        rows = []
        for name, times in found.items():
            rate = f"{size / median(times) / 1e9:.2f} GB/s" if size else f"{FILES / median(times):,.0f}/s"
            rows.append([name, f"{median(times):.2f} s", rate, f"{median(times) / base:.1f}"])
            bench.keep(**{f"{label} {name}": times})
        bench.text(*table([label, "median", "rate", "ratio"], rows))


def run(bench):
    with bench.server() as server:
        sdk = bench.sdk(server)
        box = sdk.Sandbox.create(timeout=1800)
        token = box._envd_access_token
        box.files.write("/tmp/k", "x" * 1024)
        calls(bench, box, token)
        commands(bench, box, token)
        copies(bench, box, token, Path(bench.directory))
        box.kill()


main(run, "Client")
