# SPDX-License-Identifier: Apache-2.0
"""libcarrel: a program that uses all of it, and the one that the README shows."""

import os
import re
import shutil
import subprocess

import pytest

from harness import BUILD, ROOT


def run(program, **env):
    return subprocess.run([program], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **env})  # fmt: skip


def test_all_of_it(server):
    done = run(BUILD / "tests" / "client" / "try_client")
    assert (done.returncode, done.stdout) == (0, "all of it holds\n"), done.stderr


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_the_readme_example(server, tmp_path, kind):
    readme = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"```c\n(.*?)```", readme, re.S)
    assert example.count("\n") <= 45
    source, program = tmp_path / "example.c", tmp_path / "example"
    source.write_text(example)
    library = BUILD / "src" / "client"
    link = [f"-L{library}", f"-Wl,-rpath,{library}", "-lcarrel"]
    if kind == "static":
        link = [library / "libcarrel.a", "-lcurl", "-ljansson", "-pthread"]
    subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic",
                    f"-I{ROOT}/include", source, "-o", program, *link],
                   check=True, timeout=60)  # fmt: skip
    done = run(program)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "6 * 7 = 42" in done.stdout
