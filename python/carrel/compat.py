# SPDX-License-Identifier: Apache-2.0
"""Runs programs that were written for the published SDKs as they are.

    python -m carrel.compat SCRIPT [ARGUMENT]...
    python -m carrel.compat -m MODULE [ARGUMENT]...
    python -m carrel.compat -c CODE [ARGUMENT]...

This package stands in for the modules `e2b` and `e2b_code_interpreter` and all below them.
`install` does the same inside a running program.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import runpy
import sys
import types
from typing import Any

import carrel

# The template of a sandbox that names none.
TEMPLATES = {"e2b": "base", "e2b_code_interpreter": "code-interpreter-v1"}


class StandIn(types.ModuleType):
    """A module with all names of this package, of whatever module of it they are."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            value = getattr(carrel, name)
        except AttributeError:
            raise AttributeError(
                f"carrel has no {name!r}, for which {self.__name__} was asked"
            ) from None
        template = TEMPLATES[self.__name__.partition(".")[0]]
        if name in ("Sandbox", "AsyncSandbox") and value.default_template != template:
            value = type(name, (value,), {"default_template": template, "__doc__": value.__doc__})
        setattr(self, name, value)
        return value


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the published SDKs' modules here, before anybody looks for them on the disk."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] not in TEMPLATES:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return StandIn(spec.name, carrel.__doc__)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__all__ = carrel.__all__  # type: ignore[attr-defined]
        module.__version__ = carrel.__version__  # type: ignore[attr-defined]


def install() -> None:
    """From now on `import e2b` and `import e2b_code_interpreter` mean this package."""
    for name in list(sys.modules):
        if name.partition(".")[0] in TEMPLATES:
            del sys.modules[name]
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


def main(arguments: list[str]) -> None:
    kind = arguments[0] if arguments else "-h"
    if kind in ("-h", "--help"):
        print(__doc__.strip())
        return
    install()
    if kind in ("-m", "-c") and len(arguments) < 2:
        sys.exit(f"carrel.compat: {kind} needs an argument")
    if kind == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, "")
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        program = types.ModuleType("__main__")
        sys.modules["__main__"] = program
        exec(compile(arguments[1], "<string>", "exec"), program.__dict__)
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
