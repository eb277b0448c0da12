# SPDX-License-Identifier: Apache-2.0
"""Watch a directory that code makes, and see three files appear."""

from carrel import Sandbox

with Sandbox() as sandbox:
    # It need not be there yet.
    watcher = sandbox.files.watch(
        "/home/user/output",
        on_event=lambda event: print(f"File event: {event.type} - {event.name}"),
    )
    sandbox.run_code("""
import os

os.makedirs("/home/user/output", exist_ok=True)
for i in range(3):
    with open(f"/home/user/output/file_{i}.txt", "w") as f:
        f.write(f"Content {i}")
""")
    watcher.stop()  # tells all that has happened until now
