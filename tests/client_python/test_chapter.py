# SPDX-License-Identifier: Apache-2.0
"""The examples of examples/chapter, each as it is, and once more as the program it would be for the
published SDK: with that one's import line, run by carrel.compat."""

import re
import subprocess
import sys

import pytest
from conftest import HAS_CODE, ROOT, run_python

EXAMPLES = ROOT / "examples" / "chapter"
OURS = "from carrel import Sandbox\n"
THEIRS = "from e2b_code_interpreter import Sandbox\n"

# What each prints: exactly, or as a regular expression from beginning to end.
PRINTS = {
    "01_write_files": "Hello from a sandbox!\nArguments: ['one', 'two']\n"
    "Script executed successfully\nTrue\n",
    "02_upload_a_file": "Lines: 100 /home/user/data.csv\nthe same\n",
    "03_read_files": 'line 1\nline 2\nline 3\nTrue\n{\n  "results": [\n    1,\n    2,\n    3,\n'
    "    4,\n    5\n  ]\n}\n",
    "04_list_directories": "FILE README.md\nDIR  src\n  main.py (13 bytes)\n  utils.py (7 bytes)\n",
    "05_download_results": "x,y: 1000 rows, the same twice: True\n",
    "06_watch_a_directory": None,  # see below
    "07_run_commands": re.compile(
        r"total \d+\n(.*\n)*.* \.bashrc\n(.*\n)*\nExit code: 0\nhello\ntest\n"
    ),
    "08_background_server": "Server running on port 8080\nServer response has the file: True\n"
    "Killed: True\n",
    "09_streaming_worker": re.compile(
        "".join(rf"\[STDOUT\] Processing step {i}/5\n" for i in range(1, 6))
        + r"(?=(.*\n)*\[STDERR\] done without a warning\n)(?=(.*\n)*\[STDOUT\] Done!\n)"
        r".*\n.*\nExit code: 0\n"
    ),
    "10_build_and_test": re.compile(r"(.*\n)*.*3 passed(.*\n)*Tests passed: True\n"),
}


def test_every_example_is_checked():
    assert [path.stem for path in sorted(EXAMPLES.glob("[0-9]*.py"))] == sorted(PRINTS)


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """Skips unless this host itself reaches a Python package registry."""
    directory = tmp_path_factory.mktemp("probe")
    probe = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory, "iniconfig"],
        capture_output=True,
    )
    if probe.returncode != 0:
        pytest.skip("this host reaches no package registry")


@pytest.mark.skipif(not HAS_CODE, reason="no template code-interpreter-v1")
@pytest.mark.parametrize("imports", [OURS, THEIRS], ids=["carrel", "compat"])
@pytest.mark.parametrize("name", sorted(PRINTS))
@pytest.mark.timeout(300)
def test_example(server, tmp_path, request, name, imports):
    if "pip install" in (source := (EXAMPLES / f"{name}.py").read_text()):
        request.getfixturevalue("registry")
    assert OURS in source
    (tmp_path / "example.py").write_text(source.replace(OURS, imports))
    how = ["example.py"] if imports == OURS else ["-m", "carrel.compat", "example.py"]
    done = run_python(None, tmp_path, *how)
    assert done.returncode == 0, done.stderr
    expected = PRINTS[name]
    if name == "06_watch_a_directory":
        lines = done.stdout.splitlines()
        assert {line for line in lines if "create" in line} >= {
            f"File event: create - file_{i}.txt" for i in range(3)
        }
        assert all(re.fullmatch(r"File event: \w+ - (\.|file_[012]\.txt)", line) for line in lines)
    elif isinstance(expected, re.Pattern):
        assert expected.fullmatch(done.stdout), done.stdout
    else:
        assert done.stdout == expected
