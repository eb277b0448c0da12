# SPDX-License-Identifier: Apache-2.0
"""Puts the section that a benchmark left in bench/results into docs/benchmarks.md, in place of the
one with the same heading, or at the end.

usage: publish.py NAME
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench" / "results"
HEAD = """# Benchmarks

Made by `make bench` (bench/README.md); each section says which command makes it again. The figures
are of a small shared machine with other work on it: what counts is the ratio of contestants that
were measured side by side in the same run.
"""


def machine_line(name):
    m = json.loads((RESULTS / f"{name}.json").read_text())["machine"]
    return (
        f"Machine: {m['cpus']} CPUs ({m['cpu']}), {m['memory_gib']} GiB, virtualised by "
        f"{m['virtual']}; Linux {m['kernel']}, {m['system']}."
    )


def main(name):
    section = (RESULTS / f"{name}.md").read_text().rstrip() + "\n\n" + machine_line(name) + "\n"
    title = section.splitlines()[0]
    page = PAGE.read_text() if PAGE.exists() else HEAD
    parts = [p.rstrip() + "\n" for p in re.split(r"^(?=## )", page, flags=re.M)]
    at = next((i for i, part in enumerate(parts) if part.splitlines()[0] == title), len(parts))
    parts[at : at + 1] = [section]
    PAGE.write_text("\n".join(parts))
    print(f"published: {title} in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1])
