# SPDX-License-Identifier: Apache-2.0
"""Server and launcher are killed at random under load, and nothing is lost. CARREL_STORM_SECONDS makes
it longer (make soak)."""

import os
import time

import pytest
from e2b import Sandbox

from harness import eventually
from storm import Storm, Worker, insist

SECONDS = float(os.environ.get("CARREL_STORM_SECONDS", "8"))
ROUND = 30  # between two looks at everything


@pytest.mark.slow
def test_nothing_is_lost_in_a_storm(own_server):
    server = own_server
    storm = Storm(server)
    print(f"seed {storm.seed}")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        workers = [Worker(server, n) for n in range(4)]
        source = workers[0].sandbox
        source.files.write("/root/kept", "in the snapshot", user="root")
        snapshot = source.create_snapshot()
        cold = Sandbox.create(timeout=3600)
        cold.files.write("kept", "cold")
        assert cold.pause(mode="filesystem") is True
        short = Sandbox.create(timeout=3600)
        short.set_timeout(1)
        storm.rage(min(ROUND, max(2.0, end - time.monotonic())), workers)
        for worker in workers:
            worker.check()
        assert not insist(short.is_running), "the end of life came through it all"
        path = f"/sandboxes/{short.sandbox_id}"
        eventually(lambda: server.api("GET", path).status == 404, what="its end")
        insist(lambda: cold.connect(timeout=3600))
        assert insist(lambda: cold.files.read("kept")) == "cold"
        copy = insist(lambda: Sandbox.create(snapshot.snapshot_id, timeout=3600))
        assert insist(lambda: copy.files.read("/root/kept", user="root")) == "in the snapshot"
        names = {s.sandbox_id for s in insist(lambda: Sandbox.list().next_items())}
        known = [w.sandbox for w in workers] + [cold, copy]
        assert {s.sandbox_id for s in known} <= names
        for sandbox in known:
            assert insist(sandbox.kill) in (True, False)
        insist(lambda: Sandbox.delete_snapshot(snapshot.snapshot_id))
    print(f"{storm.deaths} deaths")
