# SPDX-License-Identifier: Apache-2.0
"""List a tree with kinds and sizes."""

from carrel import Sandbox

with Sandbox() as sandbox:
    sandbox.files.write("/home/user/project/src/main.py", "print('main')")
    sandbox.files.write("/home/user/project/src/utils.py", "# utils")
    sandbox.files.write("/home/user/project/README.md", "# Project")

    for entry in sandbox.files.list("/home/user/project"):
        print(f"{'DIR ' if entry.is_dir else 'FILE'} {entry.name}")

    for entry in sandbox.files.list("/home/user/project/src"):
        print(f"  {entry.name} ({entry.size} bytes)")
