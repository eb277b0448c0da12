# SPDX-License-Identifier: Apache-2.0
"""Build a project and run its tests."""

from carrel import Sandbox

with Sandbox() as sandbox:
    # 1. its files
    sandbox.files.write(
        "/home/user/project/calculator.py",
        """
def add(a, b):
    return a + b


def multiply(a, b):
    return a * b


def divide(a, b):
    if b == 0:
        raise ValueError("Cannot divide by zero")
    return a / b
""",
    )
    sandbox.files.write(
        "/home/user/project/test_calculator.py",
        """
import pytest
from calculator import add, divide, multiply


def test_add():
    assert add(2, 3) == 5
    assert add(-1, 1) == 0


def test_multiply():
    assert multiply(3, 4) == 12
    assert multiply(0, 5) == 0


def test_divide():
    assert divide(10, 2) == 5.0
    with pytest.raises(ValueError):
        divide(1, 0)
""",
    )
    # 2. what it needs
    sandbox.commands.run("pip install pytest", timeout=240)

    # 3. its tests
    result = sandbox.commands.run(
        "python -m pytest test_calculator.py -v", cwd="/home/user/project"
    )
    print(result.stdout)
    print(f"Tests passed: {result.exit_code == 0}")
