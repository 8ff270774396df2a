"""What tests may require of the machine: a skip for a missing thing can be made an error."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

#: Comma-separated names, such as avx512: a test that would skip for want of one fails instead.
REQUIRE_VARIABLE = "TCNN_CODEC_REQUIRE"
KNOWN = ("avx512", "bfloat16", "avx2", "scalar")


@pytest.fixture(scope="session")
def need() -> Callable[[str, bool], None]:
    """need(name, present) skips, or fails where the environment requires `name`."""
    required = set(filter(None, os.environ.get(REQUIRE_VARIABLE, "").split(",")))
    unknown = required - set(KNOWN)
    assert not unknown, f"{REQUIRE_VARIABLE} names {sorted(unknown)}; known are {KNOWN}"

    def check(name: str, present: bool) -> None:
        if present:
            return
        message = f"this machine has no {name}"
        if name in required:
            pytest.fail(f"{message}, and {REQUIRE_VARIABLE} requires it")
        pytest.skip(message)

    return check
