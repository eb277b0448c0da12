# SPDX-License-Identifier: Apache-2.0
"""Short runs of tests/soak: nothing grows, and deaths of whatever process lose and leave nothing."""

import sys

from harness import ROOT

sys.path.insert(0, str(ROOT / "tests" / "soak"))

from soak import soak_cycles, soak_faults  # noqa: E402


def test_cycles_leave_nothing():
    soak_cycles(100)


def test_deaths_lose_and_leave_nothing():
    soak_faults(100, pause=0.3)
