# SPDX-License-Identifier: Apache-2.0
"""Write, read and compare; read JSON that code has made."""

from carrel import Sandbox

with Sandbox() as sandbox:
    sandbox.files.write("/home/user/test.txt", "line 1\nline 2\nline 3")
    content = sandbox.files.read("/home/user/test.txt")
    print(content)
    print(content == "line 1\nline 2\nline 3")

    sandbox.run_code("""
import json

data = {"results": [1, 2, 3, 4, 5]}
with open("/home/user/output.json", "w") as f:
    json.dump(data, f, indent=2)
""")
    output = sandbox.files.read("/home/user/output.json")
    print(output)
