# SPDX-License-Identifier: Apache-2.0
"""carrel selftest and carrel doctor: all walls hold here, and each one taken down is noticed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import BINARY, TEMPLATES, child_pids, eventually

# wall: the groups of probes to run, and properties that must be named as open, and by whom
WALLS = {
    "seccomp": (
        ["calls", "sockets", "namespaces", "devices"],
        {"abi-i386", "unshare", "bpf", "io-uring", "keyrings", "af-vsock", "netlink", "terminal"},
    ),
    "caps": (["ids"], {"capabilities", "bounding-set", "outside-capabilities"}),
    "userns": (["ids", "proc", "peers"], {"user-map", "outside-ids", "kernel-secrets"}),
    "netpolicy": (["network"], {"network-closed", "network-peers"}),
    "proc-mask": (["proc"], {"proc-mount", "kernel-secrets"}),
    "pids": (["limits"], {"limit-processes", "outside-limits"}),
    "memory": (["limits"], {"limit-memory", "limit-shared-memory", "outside-limits"}),
    "cpu": (["ids"], {"outside-limits"}),
    "disk": (["limits"], {"limit-disk"}),
}


def selftest(*arguments, allow=True):
    environment = dict(os.environ)
    environment.pop("CARREL_ALLOW_WEAKEN", None)
    if allow:
        environment["CARREL_ALLOW_WEAKEN"] = "1"
    return subprocess.run(
        [str(BINARY), "selftest", "--json", "--templates", str(TEMPLATES), *arguments],
        capture_output=True,
        text=True,
        timeout=170,
        env=environment,
    )


def verdicts(done):
    report = json.loads(done.stdout)
    return {row["name"]: row["verdict"] for row in report["properties"]}, report


def bad(found):
    return {name for name, verdict in found.items() if verdict in ("open", "unknown")}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_isolation_holds():
    done = selftest()
    found, report = verdicts(done)
    rows = {row["name"]: row for row in report["properties"]}
    unexpected = {name: rows[name] for name in bad(found)}
    assert not unexpected, f"{json.dumps(unexpected, indent=1)}\n{done.stderr}"
    assert done.returncode == 0
    assert len(found) > 90
    skipped = {name for name, verdict in found.items() if verdict == "skipped"}
    assert skipped <= {"limit-cpu"}, "that one needs two processors"
    # Both views from inside, and the one from outside, are really there.
    assert rows["mount"]["user"]["verdict"] == rows["mount"]["root"]["verdict"] == "held"
    assert rows["outside-ids"]["outside"]["verdict"] == "held"


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("wall", WALLS)
def test_a_wall_taken_down_is_noticed(wall):
    groups, expected = WALLS[wall]
    arguments = [word for group in groups for word in ("--group", group)]
    done = selftest("--weaken", wall, *arguments)
    found, report = verdicts(done)
    assert done.returncode == 1, done.stderr
    assert report["held"] is False
    opened = {name for name, verdict in found.items() if verdict == "open"}
    assert expected <= opened, f"{expected - opened} went unnoticed"


def test_walls_are_not_taken_down_by_accident():
    done = selftest("--weaken", "seccomp", "--group", "ids", allow=False)
    assert done.returncode not in (0, 1)
    assert "--weaken is for tests" in done.stderr
    help_text = subprocess.run([str(BINARY), "serve", "--help"], capture_output=True, text=True)
    assert help_text.returncode == 0 and "weaken" not in help_text.stdout


def test_its_server_does_not_outlive_it():
    proc = subprocess.Popen(
        [str(BINARY), "selftest", "--templates", str(TEMPLATES)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def server_of():
        for pid in child_pids(proc.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"serve" in words:
                return pid, words[words.index(b"--state") + 1].decode()
        return None

    pid, state = eventually(server_of, 20, "a server")
    eventually(lambda: Path(state, "sandboxes").is_dir(), 20, "its directories")
    proc.kill()
    proc.wait()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), 40, "the end of the server")
    assert list(Path(state, "sandboxes").iterdir()) == []
    shutil.rmtree(Path(state).parent)


def test_unknown_words_are_refused():
    for arguments in (["--weaken", "everything"], ["--group", "nothing"], ["--url", "http://x"]):
        done = selftest(*arguments)
        assert done.returncode not in (0, 1), arguments
        assert done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_against_a_server_that_runs(server):
    done = selftest(
        "--url", server.url, "--key", server.key, "--group", "calls", "--group", "network"
    )
    found, _ = verdicts(done)
    assert done.returncode == 0, f"{bad(found)} {done.stderr}"
    assert found["mount"] == "held" and found["network-closed"] == "skipped"
    refused = selftest("--url", server.url, "--key", "e2b_" + "0" * 40)
    assert refused.returncode == 77 and "401" in refused.stderr


def test_doctor():
    done = subprocess.run(
        [str(BINARY), "doctor", "--json", "--templates", str(TEMPLATES)],
        capture_output=True,
        text=True,
    )
    report = json.loads(done.stdout)
    features = {row["feature"]: row for row in report["features"]}
    # A server has been started on this host by the other tests.
    assert done.returncode == 0 and report["good"], [
        row for row in report["features"] if row["level"] == "missing"
    ]
    for name in ("kernel", "namespaces", "control groups", "nftables", "overlay of mapped ids"):
        assert features[name]["level"] == "good", features[name]
    assert features["template base"]["level"] == "good"
    for row in report["features"]:
        if row["level"] != "good":
            assert row["follows"] and row["mend"], f"{row['feature']} does not say how to mend it"


def test_doctor_says_what_is_missing(tmp_path):
    """Without root nothing can be made: it says so, and what to do, and nothing is left."""
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [str(BINARY), "doctor", "--state", str(tmp_path / "state")],
        capture_output=True,
        text=True,
        user=65534,
        group=65534,
        cwd="/",
    )
    assert done.returncode == 1
    assert "missing  privilege" in done.stdout and "can NOT run" in done.stdout
    assert list(tmp_path.iterdir()) == []
