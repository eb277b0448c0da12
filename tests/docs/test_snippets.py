# SPDX-License-Identifier: Apache-2.0
"""Runs what the pages show, page by page, against a real server.

Blocks of a page run in order. ```python blocks share their variables, ```sh blocks see those of
them that are text and named in capitals, ```js blocks are programs of their own. A ```text block is
what the block before it prints, where … stands for anything. ```console is shown and not run.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests" / "e2e")]

from harness import BINARY, BUILD, TEMPLATES, VARIABLES, Server  # noqa: E402

PAGES = [*sorted((ROOT / "docs" / "guide").glob("*.md")), ROOT / "README.md"]
PAGES += [ROOT / "python" / "README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
RUN = ("python", "sh", "js")


def blocks(page):
    """(line, language, text, expected output or None) of what is to be run."""
    text = page.read_text()
    found = [(text.count("\n", 0, m.start()) + 2, m[1], m[2], m) for m in BLOCK.finditer(text)]
    for n, (line, language, body, match) in enumerate(found):
        if language not in RUN:
            continue
        expected = None
        if n + 1 < len(found) and found[n + 1][1] == "text":
            between = text[match.end() : found[n + 1][3].start()]
            expected = found[n + 1][2] if not between.strip() else None
        yield line, language, body, expected


@pytest.fixture(scope="session")
def server():
    server = Server().start()
    os.environ.update({name: server.env[name] for name in VARIABLES})
    yield server
    assert server.stop() == 0, server.log_tail()
    server.remove()


def run_python(page, line, body, space):
    code = compile("\n" * (line - 1) + body, str(page), "exec")  # errors name the page's line
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            exec(code, space)
    except BaseException:
        pytest.fail(f"{page.name}:{line}: {traceback.format_exc(limit=-3)}", pytrace=False)
    return output.getvalue()


def run_program(page, line, language, body, space, directory):
    shared = {k: v for k, v in space.items() if k.isupper() and isinstance(v, str)}
    path = os.pathsep.join([str(BINARY.parent), os.environ["PATH"], str(BUILD / "venv" / "bin")])
    if re.search(r"\b(sudo|make)\b", body):
        pytest.fail(f"{page.name}:{line}: what changes the host is ```console", pytrace=False)
    command = ["bash", "-euo", "pipefail", "-c", body]
    if language == "js":
        program = BUILD / "node" / f"snippet-{os.getpid()}.mjs"  # where it finds the packages
        program.write_text(body)
        command = ["node", str(program)]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, **shared, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        if language == "js":
            program.unlink()
    if done.returncode != 0:
        pytest.fail(f"{page.name}:{line}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def matches(expected, output):
    """… stands for anything; blanks at ends of lines and empty lines at the end do not count."""

    def plain(text):
        return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")

    pattern = ".*".join(re.escape(part) for part in plain(expected).split("…"))
    return re.fullmatch(pattern, plain(output), re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(server, page, tmp_path, monkeypatch):
    if page.name == "code.md" and not (TEMPLATES / "code-interpreter-v1" / "rootfs").is_dir():
        pytest.skip("no template code-interpreter-v1")
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    for line, language, body, expected in blocks(page):
        if language == "python":
            output = run_python(page, line, body, space)
        else:
            output = run_program(page, line, language, body, space, tmp_path)
        if expected is not None and not matches(expected, output):
            pytest.fail(f"{page.name}:{line} prints\n{output}\nand not\n{expected}", pytrace=False)


def test_the_runner_notices(tmp_path):
    """What is wrong on a page is found: the page's line, the output, the error."""
    page = tmp_path / "page.md"
    page.write_text("a\n```python\nprint(6 * 7)\n```\n```text\n4…\n```\n```sh\nfalse\n```\n")
    (line, _, body, expected), (_, language, command, none) = blocks(page)
    assert (line, expected, language, none) == (3, "4…\n", "sh", None)
    assert matches(expected, run_python(page, line, body, {})) and not matches("43", "42\n")
    with pytest.raises(pytest.fail.Exception, match="status 1"):
        run_program(page, 1, "sh", command, {}, tmp_path)
    with pytest.raises(pytest.fail.Exception, match="(?s)page.md:7.*ZeroDivision"):
        run_python(page, 7, "1 / 0", {})
