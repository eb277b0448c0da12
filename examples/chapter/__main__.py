# SPDX-License-Identifier: Apache-2.0
"""Runs the examples of this directory one after another, in a temporary directory.

    python examples/chapter [PART OF A NAME]...

Needs a server, and E2B_API_KEY, E2B_API_URL and E2B_SANDBOX_URL, which `carrel serve` prints.
"""

import os
import runpy
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def title(path: Path) -> str:
    return path.read_text().split('"""')[1].split("\n")[0]


def main(parts: list[str]) -> None:
    examples = sorted(HERE.glob("[0-9]*.py"))
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for path in examples:
            if parts and not any(part in path.name for part in parts):
                continue
            print(f"\n-- {title(path)} ({path.name})", flush=True)
            start = time.perf_counter()
            runpy.run_path(str(path), run_name="__main__")
            print(f"-- {time.perf_counter() - start:.2f} s", flush=True)
        os.chdir(HERE)


main(sys.argv[1:])
