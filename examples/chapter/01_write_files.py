# SPDX-License-Identifier: Apache-2.0
"""Write text, a script and JSON."""

import json

from carrel import Sandbox

with Sandbox() as sandbox:
    sandbox.files.write("/home/user/hello.txt", "Hello from a sandbox!")

    sandbox.files.write(
        "/home/user/script.py",
        """
import sys

print(f"Arguments: {sys.argv[1:]}")
print("Script executed successfully")
""",
    )

    config = {"model": "small", "temperature": 0.7}
    sandbox.files.write("/home/user/config.json", json.dumps(config, indent=2))

    print(sandbox.commands.run("cat hello.txt").stdout)
    print(sandbox.commands.run("python script.py one two").stdout, end="")
    print(json.loads(sandbox.files.read("/home/user/config.json")) == config)
