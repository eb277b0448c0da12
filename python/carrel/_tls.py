# SPDX-License-Identifier: Apache-2.0
"""The one TLS context, made when the first https address is used: importing ssl takes longer than
the rest of this package."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


@functools.lru_cache(maxsize=None)
def context() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()
