"""One file for each kind of memory, called as its member of ``MemoryType``, with a ``MEMORY``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridges import MemoryType
    from tests.bridges.memories.memory import Memory


def memory_of(memory_type: MemoryType) -> Memory:
    """Return how the contract suite uses one kind of memory."""
    return importlib.import_module(f"{__name__}.{memory_type.name.lower()}").MEMORY
