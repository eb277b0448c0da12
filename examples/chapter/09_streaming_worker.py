# SPDX-License-Identifier: Apache-2.0
"""A worker whose output comes while it runs."""

from carrel import Sandbox

with Sandbox() as sandbox:
    sandbox.files.write(
        "/home/user/worker.py",
        """
import sys
import time

for i in range(5):
    print(f"Processing step {i + 1}/5", flush=True)
    time.sleep(0.2)
print("done without a warning", file=sys.stderr)
print("Done!")
""",
    )
    result = sandbox.commands.run(
        "python /home/user/worker.py",
        on_stdout=lambda data: print(f"[STDOUT] {data}", end="", flush=True),
        on_stderr=lambda data: print(f"[STDERR] {data}", end="", flush=True),
    )
    print(f"Exit code: {result.exit_code}")
