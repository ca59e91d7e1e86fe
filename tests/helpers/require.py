"""Skips that cannot hide: ``XT_REQUIRE=opencl,cuda`` turns them into failures."""

import os

import pytest


def require(name: str, available: bool, reason: str) -> None:
    """Skip the test unless ``name`` is available; fail it where ``XT_REQUIRE`` lists ``name``."""
    if available:
        return
    required = {entry.strip() for entry in os.environ.get("XT_REQUIRE", "").split(",")}
    if name in required:
        pytest.fail(f"XT_REQUIRE lists {name}, but {reason}", pytrace=False)
    pytest.skip(f"{name}: {reason}")
