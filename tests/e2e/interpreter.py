# SPDX-License-Identifier: Apache-2.0
"""What the tests of the code interpreter share."""

import os

import pytest
import requests
from e2b_code_interpreter import Sandbox

from harness import TEMPLATES

needs_interpreter = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not (TEMPLATES / "code-interpreter-v1" / "rootfs").is_dir(),
                       reason="no template code-interpreter-v1"),
]


@pytest.fixture(scope="module")
def box(server):
    with Sandbox.create(envs={"GLOBAL": "everywhere"}, timeout=900) as sandbox:
        yield sandbox


def raw(box, method, path, **kwargs):
    """A request to the service past the SDK."""
    headers = {"E2b-Sandbox-Id": box.sandbox_id, "E2b-Sandbox-Port": "49999"}
    return requests.request(method, os.environ["E2B_SANDBOX_URL"] + path, headers=headers,
                            timeout=60, **kwargs)
