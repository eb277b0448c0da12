# SPDX-License-Identifier: Apache-2.0
"""Cells that break things: the service stays up, what happened is told, the next call works."""

import time

import pytest
from e2b import TimeoutException

from harness import eventually
from interpreter import box, needs_interpreter, raw  # noqa: F401

pytestmark = needs_interpreter


def test_a_client_that_leaves_interrupts(box):
    began = time.monotonic()
    with pytest.raises(TimeoutException):
        box.run_code("kept = 1\nwhile True: pass", timeout=1)
    assert box.run_code("kept").text == "1"
    assert time.monotonic() - began < 20


def test_a_kernel_that_dies_is_told_and_replaced(box):
    for death in ("import os; os._exit(7)", "import os; os.kill(os.getpid(), 9)",
                  "import ctypes; ctypes.string_at(0)"):
        error = box.run_code(f"z = 1\n{death}").error
        assert error.name == "UnexpectedEndOfExecution", error
        assert "signal" in error.value or "status 7" in error.value
        assert box.run_code("1 + 1").text == "2"
    assert box.run_code("z").error.name == "NameError"


def test_other_abuse(box):
    assert box.run_code("def f(): return f()\nf()").error.name == "RecursionError"
    assert box.run_code("import sys; sys.stdout.close()").error is None
    assert box.run_code("1 + 1").text == "2"


def test_much(box):
    code = "# " + "x" * (4 << 20) + "\n'end'"
    assert box.run_code(code).text == "end"
    out = box.run_code("print('y' * (16 << 20))").logs.stdout
    assert sum(map(len, out)) == (16 << 20) + 1


def test_endless_output_ends_with_the_client(box):
    with pytest.raises(TimeoutException):
        box.run_code("while True: print('z' * 1000)", timeout=1)
    assert box.run_code("'still here'").text == "still here"


def test_the_service_comes_back(box):
    def healthy():
        result = box.commands.run("curl -s -o /dev/null -w '%{http_code}' localhost:49999/health || true")
        return result.stdout == "200"

    for name in ("jupyter serve[r]", "uvicorn main:ap[p]"):
        box.commands.run(f"kill -9 $(pgrep -f '{name}')", user="root")
        eventually(healthy, 30, "the service")
        assert box.run_code("1 + 1").text == "2"


def test_memory_that_runs_out_is_named(box):
    for code in ("x = bytearray(4 << 30)", "x = []\nwhile True: x.append(bytearray(1 << 24))"):
        error = box.run_code(code).error
        if error.name != "MemoryError":  # Python itself was refused
            assert (error.name, error.value[:13]) == ("UnexpectedEndOfExecution", "out of memory"), error
        assert box.run_code("1 + 1").text == "2"


def test_half_characters(box):
    """What is no character on the wire must not swallow the message that it is in."""
    for half in ("udc80", "ud800"):
        error = box.run_code(f"raise ValueError('a\\{half}b\\0c')").error
        assert (error.name, error.value) == ("ValueError", "a\ufffdb\0c")
        html = box.run_code(f"from IPython.display import HTML\nHTML('a\\{half}b')")
        assert html.results[0].html == "a\ufffdb"
    assert box.run_code("print('a\\udc80b')").logs.stdout == ["a\\udc80b\n"]


def test_no_numbers(box):
    shown = box.run_code("class A:\n    def _repr_json_(self): return {'a': float('nan'), 'b': 1}\nA()")
    assert shown.results[0].json == {"a": None, "b": 1}
    assert box.run_code("import numpy as np\n[np.float64(1.5), np.arange(2), float('inf')]") \
        .results[0].json == [1.5, [0, 1], None]


@pytest.mark.parametrize("broken", [
    "import sys; sys.stdout = None",
    "import sys, io; sys.stdout = io.StringIO(); sys.stdout.close()",
    "import sys; sys.stdout.close(); sys.stderr.close()",
    "import os; os.closerange(0, 3)",
    "import sys; sys.displayhook = None",
    "import builtins; del builtins.print",
])
def test_a_broken_python(box, broken):
    context = box.create_code_context()
    box.run_code(broken, context=context)
    after = box.run_code("import sys; sys.stdout.write('seen\\n'); 1 + 1", context=context)
    assert (after.text, after.logs.stdout, after.error) == ("2", ["seen\n"], None)
    box.remove_code_context(context)


@pytest.mark.parametrize("broken", [
    "import os; os.closerange(3, 500)",                          # its sockets, too
    "get_ipython().kernel.session.key = b'another'",             # signs with another key
    "import os, threading; threading.Timer(0.05, os._exit, [3]).start(); import time; time.sleep(60)",
    "import os; os.kill(os.getpid(), 15)",
])
def test_a_kernel_beyond_repair_is_told_and_replaced(box, broken):
    context = box.create_code_context()
    error = box.run_code(broken, context=context).error
    assert error.name == "UnexpectedEndOfExecution" and error.value
    assert box.run_code("1 + 1", context=context).text == "2"
    box.remove_code_context(context)


def test_forks(box):
    """A cell may fork: only one of the two goes on as the kernel."""
    assert box.run_code("import os\np = os.fork()\nif p == 0: os._exit(5)\nos.waitpid(p, 0)[1] >> 8").text == "5"
    assert box.run_code("import math, multiprocessing\n"
                        "with multiprocessing.Pool(2) as pool: r = pool.map(math.sqrt, [1, 4])\nr").text == "[1.0, 2.0]"
    assert box.run_code("p = os.fork()\np > 0").text == "True"
    assert box.run_code("os.kill(p, 9); os.waitpid(p, 0)[0] == p").text == "True"


def test_a_bomb(box):
    """A small one: its kernel allows itself few processes."""
    context = box.create_code_context()
    code = "import os, resource\nresource.setrlimit(resource.RLIMIT_NPROC, (60, 60))\nwhile True: os.fork()"
    try:
        assert box.run_code(code, context=context, timeout=30).error is not None
    except TimeoutException:  # on a machine that has no time for it
        pass
    assert box.run_code("1 + 1", context=context, timeout=100).text == "2"
    assert box.run_code("import os; os.system('exit 3') >> 8", timeout=100).text == "3"
    box.restart_code_context(context)
    assert box.run_code("2 + 2", context=context, timeout=100).text == "4"
    box.remove_code_context(context)


def test_the_nursery_dies(box):
    assert box.run_code("import os; os.system('pkill -9 -f nursery.py')").error is None
    assert box.run_code("1 + 1").text == "2"
    context = box.create_code_context()
    assert box.run_code("2 + 2", context=context).text == "4"
    box.remove_code_context(context)


def test_death_between_two_cells(box):
    box.run_code("import os, threading; threading.Timer(0.01, os._exit, [3]).start()")

    def is_new():
        return box.run_code("'threading' in globals()").text == "False"

    eventually(is_new, 30, "another kernel")


def test_a_directory_that_is_gone(box):
    box.files.make_dir("/tmp/going")
    context = box.create_code_context(cwd="/tmp/going")
    assert box.run_code("import os; os.rmdir('/tmp/going'); 1", context=context).text == "1"
    assert box.run_code("1 + 1", context=context).text == "2"
    box.restart_code_context(context)
    error = box.run_code("1 + 1", context=context).error
    assert error.name == "UnexpectedEndOfExecution" and "/tmp/going" in error.value
    box.files.make_dir("/tmp/going")
    assert box.run_code("1 + 1", context=context).text == "2"
    box.remove_code_context(context)


HOLD_AND_LEAVE = r'''
import socket

def connect(head, body):
    s = socket.create_connection(("127.0.0.1", 49999))
    s.sendall(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % head + body)
    return s

cell = b'{"code": "import time; time.sleep(0.01)"}'
held = [connect(100, b"{") for _ in range(500)]
for _ in range(100):
    connect(len(cell), cell).close()
for garbage in (b"\0\1\2\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /" + b"a" * 1000000):
    s = socket.create_connection(("127.0.0.1", 49999))
    try:
        s.sendall(garbage)
        s.recv(100)
    except ConnectionError:
        pass
s = socket.create_connection(("127.0.0.1", 49999))
s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
print(s.recv(100).split()[1])
'''


def test_clients_that_hold_and_leave(box):
    box.files.write("/tmp/hold.py", HOLD_AND_LEAVE)
    assert box.commands.run("python3 /tmp/hold.py", timeout=100).stdout == "b'200'\n"
    assert box.run_code("1 + 1").text == "2"


def test_bodies_that_are_none(box):
    post = lambda **kw: raw(box, "POST", "/execute", **kw)  # noqa: E731
    deep = "[" * 100_000
    assert post(data=b'{"code": ' + deep.encode()).status_code == 422
    assert post(data=b"\xff\xfe").status_code == 422
    assert post(json=["code"]).status_code == 422
    assert post(json={"code": "1", "language": ["python"]}).status_code == 422
    assert post(json={"code": "1", "language": "x" * 100_000}).status_code == 500
    assert post(json={"code": "1", "context_id": "../../etc"}).status_code == 404
    assert post(json={"code": "1", "env_vars": {"A=B": "c"}}).status_code == 422
    assert raw(box, "DELETE", "/contexts/%00%ff").status_code == 404
    assert raw(box, "PUT", "/contexts").status_code == 405
    with_nul = post(json={"code": "'a\0b'"})
    assert with_nul.status_code == 200 and '"error"' in with_nul.text
    assert box.run_code("1 + 1").text == "2"
