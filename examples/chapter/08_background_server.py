# SPDX-License-Identifier: Apache-2.0
"""A web server in the background: start it, ask it, kill it."""

from carrel import Sandbox

with Sandbox() as sandbox:
    sandbox.files.write(
        "/home/user/server.py",
        """
import os
from http.server import HTTPServer, SimpleHTTPRequestHandler

os.chdir("/home/user")
server = HTTPServer(("0.0.0.0", 8080), SimpleHTTPRequestHandler)
print("Server running on port 8080", flush=True)
server.serve_forever()
""",
    )
    proc = sandbox.commands.run("python /home/user/server.py", background=True)
    print(proc.read().stdout, end="")  # waits for the line that says it is ready

    result = sandbox.commands.run("curl -s http://localhost:8080")
    print(f"Server response has the file: {'server.py' in result.stdout}")

    print(f"Killed: {proc.kill()}")
