# SPDX-License-Identifier: Apache-2.0
"""The languages beside Python, each in a sandbox of its own: kernels of all of them need memory."""

import pytest
from e2b import TimeoutException
from e2b_code_interpreter import Sandbox

from interpreter import needs_interpreter

pytestmark = needs_interpreter


@pytest.fixture
def box(server):
    with Sandbox.create(timeout=300) as sandbox:
        yield sandbox


def shown(execution):
    """The text of the first result, or what went wrong instead."""
    assert execution.results, (execution.error, execution.logs)
    return execution.results[0].text.strip()


def test_bash(box):
    assert box.run_code("cd /tmp; A=5; f() { echo in f; }", language="bash").error is None
    result = box.run_code("pwd; echo $A; f; echo err >&2", language="bash")
    assert ("".join(result.logs.stdout), "".join(result.logs.stderr)) == ("/tmp\n5\nin f\n", "err\n")
    assert box.run_code("echo $FOO", language="bash", envs={"FOO": "b a'r"}).logs.stdout == ["b a'r\n"]
    assert box.run_code("echo ${FOO:-none}", language="bash").logs.stdout == ["none\n"]
    assert "".join(box.run_code("cat <<X\n'a' \\\\ \"b\"\nX", language="bash").logs.stdout) == "'a' \\ \"b\"\n"
    with pytest.raises(TimeoutException):
        box.run_code("while :; do :; done", language="bash", timeout=1)
    assert box.run_code("echo $A", language="bash").logs.stdout == ["5\n"]


def test_javascript(box):
    run = lambda code, **kw: box.run_code(code, language="js", **kw)  # noqa: E731
    assert run("const a = 5; let b = { x: [1] }; b").results[0].json == {"x": [1]}
    assert run("a + b.x[0]").text == "6"
    assert run("console.log('out'); console.error('err')").logs.stdout == ["out\n"]
    assert run("import { sep } from 'path'\nimport os, { EOL } from 'node:os'\nsep + EOL.length").text == "/1"
    assert run("const later = await Promise.resolve('later'); later").text == "later"
    assert run("later.length").text == "5"
    error = run("null.x").error
    assert error.name == "TypeError" and "cell.js" in error.traceback
    assert run("process.env.FOO", envs={"FOO": "bar"}).text == "bar"
    assert run("process.env.FOO").results == []
    assert run("[[1] instanceof Array, new Map() instanceof Map]").results[0].json == [True, True]
    with pytest.raises(TimeoutException):
        run("for (;;);", timeout=1)
    assert run("a").text == "5"


def test_typescript(box):
    run = lambda code: box.run_code(code, language="ts")  # noqa: E731
    assert run("interface P { x: number }\nconst f = (p: P): number => p.x\nf({ x: 4 })").text == "4"
    assert run("const m: string = await Promise.resolve('typed'); m").text == "typed"
    assert run("enum E { A, B }\nE.B").text == "1"


def test_r(box):
    run = lambda code, **kw: box.run_code(code, language="r", **kw)  # noqa: E731
    text = lambda code, **kw: shown(run(code, **kw))  # noqa: E731
    assert text("x <- 20; x + 1") == "[1] 21"
    assert run('print("printed")').logs.stdout == ['[1] "printed"\n']
    assert text("Sys.getenv('FOO')", envs={"FOO": "b\"a'r"}) == '[1] "b\\"a\'r"'
    assert text("Sys.getenv('FOO', unset='none')") == '[1] "none"'
    assert "wrong" in run("stop('wrong')").error.value
    assert text("x") == "[1] 20"


def test_java(box):
    run = lambda code, **kw: box.run_code(code, language="java", **kw)  # noqa: E731
    assert run("int x = 20;\nint twice(int a) {\n  return a * 2;\n}\ntwice(x) + 1").text == "41"
    assert "".join(run('System.out.println("out " + x)').logs.stdout) == "out 20\n"
    assert run('System.getProperty("FOO")', envs={"FOO": "bar"}).text == "bar"
    assert run('System.getProperty("FOO", "none")').text == "none"
    assert run('throw new IllegalStateException("bad");').error.name == "java.lang.IllegalStateException"
    assert "String" in run('int y = "a";').error.value


# ---- what goes wrong ----------------------------------------------------------------------------


def told_and_replaced(run, deadly, why, alive="1 + 1", text="2"):
    error = run(deadly).error
    assert error.name == "UnexpectedEndOfExecution" and why in error.value, error
    assert shown(run(alive)) == text


def test_bash_that_breaks(box):
    run = lambda code: box.run_code(code, language="bash")  # noqa: E731
    error = run("echo before; false").error
    assert (error.name, error.value) == ("ExitStatus", "1")
    assert run("nosuchcommand").error.value == "127"
    assert run("if [").error.name == "ExitStatus"
    run("exec 1>&- 2>&-")
    closed = run("echo out; echo err >&2")
    assert (closed.logs.stdout, closed.logs.stderr, closed.error) == (["out\n"], ["err\n"], None)
    run("PS1='prompt '; PROMPT_COMMAND='echo mine'")
    assert run("echo out").logs.stdout == ["out\n"] and run("echo").logs.stderr == []
    assert run("printf '\\xff\\xe2\\x82 \\n'").logs.stdout == ["\ufffd\ufffd\ufffd \n"]
    for deadly, why in (("exit 3", "status 3"), ("kill -9 $$", "signal 9")):
        error = run(deadly).error
        assert error.name == "UnexpectedEndOfExecution" and why in error.value
        assert run("echo alive").logs.stdout == ["alive\n"]


def test_javascript_that_breaks(box):
    run = lambda code: box.run_code(code, language="js", timeout=100)  # noqa: E731
    assert len(shown(run("'x'.repeat(5e6)"))) == 5_000_000
    assert sum(map(len, run("console.log('y'.repeat(5e6))").logs.stdout)) == 5_000_001
    assert shown(run("'a\\ud800b'")) == "a\ufffdb"
    assert run("throw new Error('a\\udc00b\\0c')").error.value == "a\ufffdb\0c"
    assert run("throw null").error.value == "null"
    assert run("function f() { f() }; f()").error.name == "RangeError"
    assert shown(run("JSON.stringify = JSON.parse = () => { throw 1 }; Object.prototype.x = 1; 4")) == "4"
    assert "late" in "".join(run("setTimeout(() => { throw new Error('late') }, 1)\n"
                                 "await new Promise((done) => setTimeout(done, 100))").logs.stderr)
    told_and_replaced(run, "process.exit(3)", "status 3")
    told_and_replaced(run, "require('fs').closeSync(3); 0", "")


def test_r_that_breaks(box):
    run = lambda code: box.run_code(code, language="r", timeout=150)  # noqa: E731
    assert run("cat('\\xff\\n')").logs.stdout == ["?\n"]
    assert run("x <-").error is not None
    told_and_replaced(run, "system(paste('kill -9', Sys.getpid()))", "signal 9", text="[1] 2")


def test_java_that_breaks(box):
    run = lambda code, **kw: box.run_code(code, language="java", **kw)  # noqa: E731
    assert shown(run('"a\\ud800b"')) == "a\ufffdb"
    assert run("void f() {").error.name == "CompilationException"
    assert run("int g(int n) { return g(n + 1) + 1; }\ng(0)").error.name == "java.lang.StackOverflowError"
    with pytest.raises(TimeoutException):
        run("int kept = 5; while (true) {}", timeout=1)
    assert shown(run("kept")) == "5"
    told_and_replaced(run, "System.exit(3)", "status 3")
