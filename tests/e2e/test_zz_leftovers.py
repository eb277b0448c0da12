# SPDX-License-Identifier: Apache-2.0
"""Last: the shared server is stopped, and the host is as it was before."""

from conftest import finish


def test_the_server_stops_and_leaves_nothing(server):
    finish(server)
