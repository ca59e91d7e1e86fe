"""Devices that the tests of this layer use."""

from collections.abc import Iterator

import pytest

from tests.xma_plugins.devices import KINDS, opened
from xma_plugins.device import Device


@pytest.fixture(params=KINDS)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Return one device after the other; what a test leaves on it is a failure."""
    found = opened(request.param)
    yield found
    assert [str(buffer) for buffer in found.buffers] == []
    assert all(bank.used == 0 for bank in found.banks)


@pytest.fixture
def host() -> Iterator[Device]:
    """Return the host, with nothing done on it before."""
    from xma_plugins.device import open_device

    with open_device("cpu") as found:
        yield found
