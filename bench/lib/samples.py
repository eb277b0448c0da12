# SPDX-License-Identifier: Apache-2.0
"""What was measured, and tables of it. A failed operation counts as one that took for ever, so it
shows in the percentiles."""

import math


class Samples:
    def __init__(self, name):
        self.name = name
        self.times = []  # seconds
        self.failed = 0

    def add(self, seconds, ok=True):
        if ok:
            self.times.append(seconds)
        else:
            self.failed += 1

    @property
    def count(self):
        return len(self.times) + self.failed

    def percentile(self, percent):
        """Nearest rank; failures rank last."""
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(percent / 100 * self.count))
        return sorted(self.times)[rank - 1] if rank <= len(self.times) else math.inf

    def as_json(self):
        return {
            "samples": self.count,
            "failed": self.failed,
            "seconds": {f"p{p}": self.percentile(p) for p in (50, 95, 99)},
        }


def milliseconds(seconds):
    if not math.isfinite(seconds):
        return "failed"
    return f"{seconds * 1000:.2f}" if seconds < 1 else f"{seconds * 1000:.0f}"


def table(head, rows):
    """Lines of a Markdown table; all cells are text."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def times_table(samples, rows, base=None):
    """rows: (name in samples, text for people); those that were not measured are left out. With a
    base, a column says how many times as long as that one each took, by their p50."""
    head = ["what", "least ms", "p50 ms", "p95 ms", "p99 ms", "n", "failed"]
    if base:
        head.append("× " + dict(rows)[base])
    lines = []
    for name, text in rows:
        s = samples.get(name)
        if s is None:
            continue
        cells = [text, *(milliseconds(s.percentile(p)) for p in (0, 50, 95, 99)), s.count, s.failed]
        if base:
            cells.append(f"{s.percentile(50) / samples[base].percentile(50):.2f}")
        lines.append(cells)
    return table(head, lines)
