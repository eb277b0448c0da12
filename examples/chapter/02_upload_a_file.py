# SPDX-License-Identifier: Apache-2.0
"""Upload a local CSV and count its lines there."""

from pathlib import Path

from carrel import Sandbox

Path("local_data.csv").write_text("day,visitors\n" + "".join(f"{d},{d * 7}\n" for d in range(99)))

with Sandbox() as sandbox:
    with open("local_data.csv", "rb") as f:
        sandbox.files.write("/home/user/data.csv", f)

    result = sandbox.commands.run("wc -l /home/user/data.csv")
    print(f"Lines: {result.stdout.strip()}")

    # The same in one call; directories go the same way.
    sandbox.files.upload("local_data.csv", "/home/user/again.csv")
    print(sandbox.commands.run("cmp data.csv again.csv && echo the same").stdout, end="")
