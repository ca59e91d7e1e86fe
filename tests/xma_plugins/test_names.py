"""The guide's tables: the names in them are there, and none of the original's is left out."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import xma_plugins
from tests.bridges.memories.xrt import libraries
from tests.helpers.require import require
from xma_plugins import find_plugin, plugin_names

_GUIDE = (Path(__file__).parents[2] / "docs" / "xma.md").read_text()
_NAMES = _GUIDE.partition("\n## Names\n")[2]
_ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in _NAMES.splitlines()
    if line.startswith("| `")
]


def _code(cell):
    return re.findall(r"`([^`]*)`", cell)


PYTHON_NAMES = sorted(
    {name for _, python in _ROWS for name in _code(python) if re.fullmatch(r"\w+(\.\w+)*", name)}
    - {"with", "isinstance", "coefficients", "params"}
)


def _child(parent, name):
    """Return a member of a module or a class; None stands for an attribute of an instance."""
    if inspect.ismodule(parent):
        try:
            return getattr(parent, name)
        except AttributeError:
            return importlib.import_module(f"{parent.__name__}.{name}")
    if hasattr(parent, name):
        return getattr(parent, name)
    if any(name in vars(cls).get("__annotations__", {}) for cls in parent.mro()):
        return None
    assigned = rf"\bself\.{name}\b[^=\n]*=[^=]"
    sources = [inspect.getsource(cls) for cls in parent.mro() if cls.__module__ != "builtins"]
    assert any(re.search(assigned, source) for source in sources), f"{parent} has no {name}"
    return None


def test_there_are_names():
    assert len(_ROWS) > 120
    assert len(PYTHON_NAMES) > 200


@pytest.mark.parametrize("name", PYTHON_NAMES)
def test_a_name_of_ours_is_there(name):
    first, *rest = name.split(".")
    if first in ("bridges", "fractions", "logging"):
        found = importlib.import_module(first)
    else:
        found = _child(xma_plugins, first)
    for part in rest:
        found = _child(found, part)


def test_each_name_of_the_original_stands_once_in_its_table():
    original = [name for c, _ in _ROWS for name in _code(c)]
    twice = {name for name in original if original.count(name) > 1}
    assert twice == {"hwvendor_string"}  # Of properties and of plugins.


def test_every_function_of_the_original_is_told_of():
    folder = libraries()
    require("xrt", folder is not None, "XRT is not installed; try: apt install libxrt1")
    exported = set()
    for library in ("libxma2api.so.2", "libxma2plugin.so.2"):
        strings = re.findall(rb"(?<=\0)xma_[a-z0-9_]+(?=\0)", (folder / library).read_bytes())
        exported |= {name.decode() for name in strings}
    assert len(exported) > 60
    assert exported - {name for c, _ in _ROWS for name in _code(c)} == set()


def test_the_guide_lists_all_plugins_and_their_parameters():
    section = _GUIDE.partition("\n## Plugins of the package\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", section, re.M)
    ours = [n for n in plugin_names() if find_plugin(n).__module__.startswith("xma_plugins.")]
    assert [name for name, _ in rows] == ours
    for name, cell in rows:
        table = find_plugin(name).__doc__.partition("Its ``params``:\n")[2]
        documented = re.findall(r"^    ``(\w+)``", table, re.M)
        assert _code(cell) == documented, name
