# SPDX-License-Identifier: Apache-2.0
"""Run commands: a result, with a variable, in a directory."""

from carrel import Sandbox

with Sandbox() as sandbox:
    result = sandbox.commands.run("ls -la /home/user")
    print(result.stdout)
    print(f"Exit code: {result.exit_code}")

    result = sandbox.commands.run("echo $MY_VAR", envs={"MY_VAR": "hello"})
    print(result.stdout, end="")

    sandbox.files.write("/home/user/project/test.py", "print('test')")
    result = sandbox.commands.run("python test.py", cwd="/home/user/project")
    print(result.stdout, end="")
