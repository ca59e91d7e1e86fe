"""The one way in which tests skip for what a machine lacks."""

import pytest

from tests.helpers.require import require


def test_what_is_there_is_no_reason_to_skip(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XT_REQUIRE", "opencl")
    require("opencl", True, "")


def test_what_is_missing_skips_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XT_REQUIRE", "cuda")
    with pytest.raises(pytest.skip.Exception, match="opencl: no device"):
        require("opencl", False, "no device")


def test_what_is_required_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XT_REQUIRE", "cuda, opencl")
    with pytest.raises(pytest.fail.Exception, match="XT_REQUIRE lists opencl, but no device"):
        require("opencl", False, "no device")
