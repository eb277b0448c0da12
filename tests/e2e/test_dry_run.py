# SPDX-License-Identifier: Apache-2.0
"""`carrel create --dry-run`: the plan, without a server and without a trace."""

import json
import os
import subprocess

from harness import BINARY, TEMPLATES


def dry_run(directory, *options):
    command = [BINARY, "create", "--dry-run", "--state", directory / "state", "--run",
               directory / "run", "--templates", TEMPLATES, *options]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_text_and_json_say_the_same(tmp_path):
    text = dry_run(tmp_path, "--memory-mb", "700", "--id", "i1")
    told = dry_run(tmp_path, "--memory-mb", "700", "--id", "i1", "--json")
    assert (text.returncode, text.stderr, told.returncode, told.stderr) == (0, "", 0, "")
    lines, plan = text.stdout.splitlines(), json.loads(told.stdout)
    assert f"memory {700 << 20}" in lines and plan["memory"] == 700 << 20
    assert f"sandbox-dir {tmp_path}/state/sandboxes/i1" in lines
    assert plan["sandboxDir"] == f"{tmp_path}/state/sandboxes/i1"
    assert plan["filesDir"] == f"{tmp_path}/state/disk/files/i1"
    assert [line.removeprefix("step ") for line in lines if line.startswith("step ")] == plan["steps"]
    mounts = [line.split()[1:4] for line in lines if line.startswith("mount ")]
    assert mounts == [[m["kind"], m["what"], m["target"]] for m in plan["mounts"]]
    assert plan["internet"] is True and dry_run(tmp_path, "--no-internet").stdout.count("internet no")
    assert os.listdir(tmp_path) == [], "it makes nothing"


def test_what_cannot_be_planned(tmp_path):
    for options, message in ((["--template", "nope"], "template 'nope' not found"),
                             (["--id", "A/b"], "must match"), (["--id"], "missing"),
                             (["--memory-mb", "x"], "memory-mb")):  # fmt: skip
        done = dry_run(tmp_path, *options)
        assert done.returncode != 0 and message in done.stderr and done.stdout == ""
