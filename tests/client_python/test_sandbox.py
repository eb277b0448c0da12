# SPDX-License-Identifier: Apache-2.0
"""Sandboxes: made, found again, listed, paused, their addresses; git; code."""

import urllib.request
from datetime import datetime, timedelta, timezone

import pytest
from carrel import (
    E2B,
    AsyncSandbox,
    Sandbox,
    SandboxNotFoundException,
    SandboxQuery,
    SandboxState,
    TimeoutException,
)
from conftest import needs_code


def test_a_life(server):
    options = {"metadata": {"of": "a life & more"}, "envs": {"GLOBAL": "everywhere"}}
    with Sandbox.create("base", timeout=60, **options) as sandbox:
        assert sandbox.is_running()
        info = sandbox.get_info()
        assert info.sandbox_id == sandbox.sandbox_id and info.name == "base"
        assert info.state == SandboxState.RUNNING == "running"
        assert info.metadata == {"of": "a life & more"}
        sandbox.set_timeout(600)
        assert sandbox.get_info().end_at > info.end_at + timedelta(seconds=300)
        assert sandbox.commands.run("echo $GLOBAL").stdout == "everywhere\n"
        again = Sandbox.connect(sandbox.sandbox_id)
        assert again.commands.run("echo $GLOBAL").stdout == "everywhere\n"
        query = SandboxQuery(metadata={"of": "a life & more"})
        assert [i.sandbox_id for i in Sandbox.list(query)] == [sandbox.sandbox_id]
        assert list(Sandbox.list(SandboxQuery(metadata={"of": "no life"}))) == []
        hour = datetime.now(timezone.utc) + timedelta(hours=1)
        assert list(Sandbox.list(SandboxQuery(started_after=hour))) == []
        assert sandbox.pause() is True and sandbox.pause() is False
        assert Sandbox.get_info(sandbox.sandbox_id).state == "paused"
        assert sandbox.connect().commands.run("echo awake").stdout == "awake\n"
    assert not sandbox.is_running() and sandbox.kill() is False
    with pytest.raises(SandboxNotFoundException):
        Sandbox.get_info(sandbox.sandbox_id)


def test_lists_in_pages(server):
    query = SandboxQuery(metadata={"of": "pages"})
    made = [Sandbox("base", timeout=120, metadata={"of": "pages"}) for _ in range(5)]
    try:
        pages = Sandbox.list(query, limit=2)
        sizes = []
        while pages.has_next:
            sizes.append(len(pages.next_items()))
        assert sizes == [2, 2, 1]
        found = {info.sandbox_id for info in Sandbox.list(query, limit=2)}
        assert found == {sandbox.sandbox_id for sandbox in made}
    finally:
        assert all(sandbox.kill() for sandbox in made)


def test_a_client_of_its_own(server, monkeypatch):
    for name in ("E2B_API_KEY", "E2B_API_URL", "E2B_SANDBOX_URL"):
        monkeypatch.delenv(name)
    client = E2B(api_key=server.key, api_url=server.url)
    with client.Sandbox("base", timeout=60) as sandbox:
        assert sandbox.commands.run("echo bound").stdout == "bound\n"
        assert client.Sandbox.connect(sandbox.sandbox_id).is_running()


def test_addresses(shared):
    shared.files.write("page.txt", "for anybody")
    with urllib.request.urlopen(shared.download_url("page.txt")) as reply:
        assert reply.read() == b"for anybody"
    with urllib.request.urlopen(
        shared.download_url("page.txt", use_signature_expiration=60)
    ) as reply:
        assert reply.read() == b"for anybody"
    assert shared.get_host(8080).startswith(f"8080-{shared.sandbox_id}.")
    server = shared.commands.run("python3 -u -m http.server 8123 2>&1", background=True, timeout=0)
    server.read()
    request = urllib.request.Request(shared.get_url(8123), headers=shared.get_headers(8123))
    with urllib.request.urlopen(request) as reply:
        assert b"page.txt" in reply.read()
    server.kill()


def test_git(shared, folder):
    git, path = shared.git, f"{folder}/repository"
    git.configure_user("A User", "user@example.org")
    git.init(path, initial_branch="main")
    shared.files.write(f"{path}/a b.txt", "1")
    status = git.status(path)
    assert status.current_branch == "main" and status.has_untracked
    assert [file.name for file in status.file_status] == ["a b.txt"]
    git.add(path)
    assert git.status(path).has_staged
    git.commit(path, "first")
    assert git.status(path).is_clean
    git.create_branch(path, "feature/x")
    shared.commands.run("git mv 'a b.txt' c.txt", cwd=path)
    (renamed,) = git.status(path).file_status
    assert (renamed.name, renamed.status, renamed.renamed_from) == ("c.txt", "renamed", "a b.txt")
    git.reset(path, mode="hard")
    git.checkout_branch(path, "main")
    branches = git.branches(path)
    assert (branches.branches, branches.current_branch) == (["feature/x", "main"], "main")
    git.delete_branch(path, "feature/x")
    bare = f"{folder}/bare"
    git.init(bare, bare=True, initial_branch="main")
    git.remote_add(path, "origin", bare)
    git.push(path)
    git.clone(bare, f"{folder}/clone", depth=1)
    git.pull(f"{folder}/clone")
    assert shared.files.read(f"{folder}/clone/a b.txt") == "1"
    assert git.remote_get(path, "origin") == bare and git.remote_get(path, "other") is None
    assert git.get_config("user.name") == "A User" and git.get_config("no.such") is None


async def test_awaiting(server):
    async with AsyncSandbox("base", timeout=60, metadata={"of": "await"}) as sandbox:
        assert await sandbox.is_running() and (await sandbox.get_info()).cpu_count
        listed = AsyncSandbox.list(SandboxQuery(metadata={"of": "await"}))
        assert [info.sandbox_id async for info in listed] == [sandbox.sandbox_id]
        again = await AsyncSandbox.connect(sandbox.sandbox_id)
        assert await again.files.exists("/tmp")
        await again.git.init("r")
        assert (await again.git.status("r")).is_clean
        assert await AsyncSandbox.pause(sandbox.sandbox_id)
        await sandbox.connect()
    assert await AsyncSandbox.kill(sandbox.sandbox_id) is False


# ---- code ----


@pytest.fixture(scope="module")
def coder(server):
    with Sandbox(timeout=600) as sandbox:
        yield sandbox


@needs_code
def test_code(coder):
    printed, results, errors = [], [], []
    first = coder.run_code(
        "import sys\nx = 20\nprint('out')\nprint('err', file=sys.stderr)\nx + 1",
        on_stdout=lambda message: printed.append(message.line),
        on_result=results.append,
    )
    assert first.text == "21" and first.error is None and results[0].text == "21"
    assert "".join(first.logs.stdout) == "".join(printed) == "out\n"
    assert "".join(first.logs.stderr) == "err\n"
    failed = coder.run_code("1 / 0", on_error=errors.append)
    assert failed.error.name == "ZeroDivisionError" and errors == [failed.error]
    assert "1 / 0" in failed.error.traceback
    assert coder.run_code("x").text == "20"
    assert coder.run_code("echo $((6 * 7))", language="bash").logs.stdout == ["42\n"]
    assert coder.run_code("import os; os.environ['V']", envs={"V": "v"}).text == "v"


@needs_code
def test_contexts(coder):
    context = coder.create_code_context(cwd="/tmp")
    assert coder.run_code("import os; y = 1; os.getcwd()", context=context).text == "/tmp"
    assert coder.run_code("y").error.name == "NameError"
    assert context in coder.list_code_contexts()
    coder.restart_code_context(context)
    assert coder.run_code("y", context=context).error.name == "NameError"
    coder.remove_code_context(context)
    assert context not in coder.list_code_contexts()


@needs_code
def test_frames_and_charts(coder):
    result = coder.run_code(
        "import pandas, matplotlib.pyplot as plt\n"
        "plt.plot([1, 2], [3, 4], label='up'); plt.title('T'); plt.show()\n"
        "pandas.DataFrame({'a': [1, 2]})"
    )
    chart = next(r.chart for r in result if r.chart)
    assert (chart.type, chart.title) == ("line", "T") and chart.elements[0].points[1] == (2, 4)
    assert "png" in next(r for r in result if r.chart).formats()
    assert result.results[-1].data == {"a": [1, 2]} and result.to_json()


@needs_code
def test_code_that_takes_too_long(coder):
    with pytest.raises(TimeoutException, match="interrupted"):
        coder.run_code("import time\nwhile True: time.sleep(0.01)", timeout=0.5)
    assert coder.run_code("1 + 1").text == "2"


@needs_code
async def test_code_awaiting(coder):
    sandbox = await AsyncSandbox.connect(coder.sandbox_id)
    lines = []

    async def on_stdout(message):
        lines.append(str(message))

    execution = await sandbox.run_code("print('a')\n2 + 2", on_stdout=on_stdout)
    assert execution.text == "4" and lines == ["a\n"]
