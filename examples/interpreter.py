#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A session with the code interpreter, with the unmodified Python SDK `e2b-code-interpreter`.

It needs a server with the template code-interpreter-v1 and these variables, which `carrel serve`
prints: E2B_API_KEY, E2B_API_URL, E2B_SANDBOX_URL. Each step checks its own result; the exit status is
0 only if all of them worked. Given a directory, it leaves the charts there as pictures.
"""

import base64
import sys
import time
from pathlib import Path

from e2b_code_interpreter import Sandbox

PICTURES = Path(sys.argv[1]) if len(sys.argv) > 1 else None


def say(text):
    print(f"    {text}", flush=True)


def check(condition, what):
    if not condition:
        raise AssertionError(what)
    say(f"✓ {what}")


def cell(box, code, **options):
    """Runs a cell and prints it with what came of it, as a notebook would."""
    start = time.perf_counter()
    execution = box.run_code(code, **options)
    took = (time.perf_counter() - start) * 1000
    count = execution.execution_count or " "
    for i, line in enumerate(code.splitlines()):
        say(f"{f'In [{count}]:' if i == 0 else '':9} {line}")
    for line in "".join(execution.logs.stdout).splitlines()[-6:]:
        say(f"{'':9} | {line.rstrip()}")
    if execution.text:
        for i, line in enumerate(execution.text.splitlines()[:8]):
            say(f"{f'Out[{count}]:' if i == 0 else '':9} {line}")
    if execution.error:
        say(f"{'':9} {execution.error.name}: {execution.error.value}")
    say(f"{'':9} ({took:.0f} ms)")
    return execution


def state(box):
    cell(box, "words = 'the quick brown fox jumps over the lazy dog'.split()")
    execution = cell(box, "max(words, key=len), len(set(words))")
    check(execution.text == "('quick', 8)",
          "a cell sees what the one before it left")


def frame(box):
    execution = cell(box, "import pandas as pd\n"
                          "table = pd.DataFrame({'city': ['Oslo', 'Rome', 'Cairo'], 'degrees': [4, 17, 29]})\n"
                          "table")
    check(execution.results[0].data == {"city": ["Oslo", "Rome", "Cairo"], "degrees": [4, 17, 29]},
          f"a data frame arrives as data, too: {execution.results[0].data}")


def chart(box):
    execution = cell(box, "import matplotlib.pyplot as plt\n"
                          "plt.bar(table.city, table.degrees)\n"
                          "plt.title('November'); plt.ylabel('temperature (°C)')\n"
                          "plt.show()")
    result = execution.results[0]
    picture = base64.b64decode(result.png)
    values = {e.label: e.value for e in result.chart.elements}
    check(picture.startswith(b"\x89PNG"), f"a chart arrives as a picture of {len(picture)} bytes ...")
    check((result.chart.type.value, result.chart.y_unit, values)
          == ("bar", "°C", {"Oslo": 4, "Rome": 17, "Cairo": 29}),
          f"... and as data: a {result.chart.type.value} chart in {result.chart.y_unit}, {values}")
    if PICTURES:
        (PICTURES / "november.png").write_bytes(picture)
        say(f"  {PICTURES / 'november.png'}")


def failure(box):
    execution = cell(box, "def mean(numbers):\n    return sum(numbers) / len(numbers)\nmean([])")
    check(execution.error.name == "ZeroDivisionError", "an exception arrives with its traceback:")
    for line in execution.error.traceback.splitlines()[-7:]:
        say(f"  {line}")
    check(cell(box, "len(words)").text == "9", "the state is still there")


def deaths(box):
    execution = cell(box, "import os; os._exit(3)")
    check(execution.error.name == "UnexpectedEndOfExecution", "a kernel that dies says so ...")
    check(cell(box, "1 + 1").text == "2", "... and another one is there")


def others(box):
    check(cell(box, "const [a, b] = await Promise.all([1, 2]); a + b", language="js").text == "3",
          "javascript")
    check(cell(box, "for f in /etc/os-release; do head -1 $f; done", language="bash").logs.stdout,
          "bash")


def install(box):
    reachable = cell(box, "!pip download --quiet --retries 0 --timeout 5 --no-deps --dest /tmp/probe iniconfig && echo yes")
    if "yes" not in "".join(reachable.logs.stdout):
        say("– no package registry is reachable from here: nothing installed")
        return
    execution = cell(box, "!pip install --quiet iniconfig\nimport iniconfig\niniconfig.__name__")
    check(execution.text == "iniconfig", "a package was installed and imported")


def main():
    start = time.perf_counter()
    with Sandbox.create(timeout=300) as box:
        first = box.run_code("1+1").text
        took = (time.perf_counter() - start) * 1000
        check(first == "2", f"create and the first run_code('1+1'): {took:.0f} ms")
        for step in (state, frame, chart, failure, deaths, others, install):
            print(f"  {step.__name__}", flush=True)
            step(box)


if __name__ == "__main__":
    main()
