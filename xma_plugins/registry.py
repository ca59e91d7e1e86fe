"""Plugins by name: those of the package, and those that other packages bring.

A package of yours brings a plugin by an entry point in the group ``xtranscode.plugins`` that names
its class.
"""

import difflib
import functools
import importlib
import inspect
from typing import TYPE_CHECKING

from xma_plugins.errors import PluginError
from xma_plugins.plugin import XMA_VERSION, Plugin
from xma_plugins.plugin_file import is_file, load_plugin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "find_plugin", "handshake", "plugin_names"]

GROUP = "xtranscode.plugins"

_BUILT_IN = {
    "copy_encoder": "xma_plugins.builtin.copy_encoder:CopyEncoder",
    "copy_filter": "xma_plugins.builtin.copy_filter:CopyFilter",
    "kernel_filter": "xma_plugins.builtin.kernel_filter:KernelFilter",
    "kernel_scaler": "xma_plugins.builtin.kernel_scaler:KernelScaler",
    "libav_decoder": "xma_plugins.builtin.libav_decoder:LibavDecoder",
    "libav_encoder": "xma_plugins.builtin.libav_encoder:LibavEncoder",
    "libav_scaler": "xma_plugins.builtin.libav_scaler:LibavScaler",
    "lookahead": "xma_plugins.builtin.lookahead:Lookahead",
}


def plugin_names() -> list[str]:
    """Return the names of all plugins there are, sorted; none of them is imported."""
    return sorted({*_BUILT_IN, *_installed()})


def find_plugin(name: str) -> type[Plugin]:
    """Return a plugin's class.

    Parameters
    ----------
    name : str
        One of `plugin_names`; or a file of one's own: ``my.py`` or ``my.py:MyFilter``; or a
        compiled plugin: ``native:/path/to/plugin.so``, see `xma_plugins.native`.

    Raises
    ------
    PluginError
        There is none of that name, it cannot be imported, or it does not fit.
    """
    if name.startswith("native:"):
        from xma_plugins.native import named_plugin

        found = named_plugin(name)
    elif is_file(name):
        found = load_plugin(name)
    else:
        found = _import(name)
    handshake(found)
    return found


def _import(name: str) -> type[Plugin]:
    """Return the class of a plugin of this package, or of one that is installed."""
    try:
        if name in _BUILT_IN:
            module, _, attribute = _BUILT_IN[name].partition(":")
            found: type[Plugin] = getattr(importlib.import_module(module), attribute)
            return found
        entry = _installed().get(name)
        if entry is not None:
            found = entry.load()
            return found
    except PluginError:
        raise
    except Exception as error:  # Any code of others runs at its import.
        raise PluginError(f"plugin {name!r} cannot be imported: {error}") from error
    close = difflib.get_close_matches(name, plugin_names(), 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise PluginError(f"no plugin {name!r}, only {', '.join(plugin_names())}{hint}")


def handshake(plugin: object) -> None:
    """Check that a class is a plugin, whole, and written for this version of the interface.

    Raises
    ------
    PluginError
        It is not.
    """
    if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
        raise PluginError(f"{plugin!r} is no plugin: it does not inherit a class of xma_plugins")
    missing = sorted(plugin.__abstractmethods__) if inspect.isabstract(plugin) else []
    if missing:
        raise PluginError(f"plugin {plugin.__name__} lacks {', '.join(missing)}")
    version = getattr(plugin, "xma_version", None)
    if version is None:
        raise PluginError(
            f"plugin {plugin.__name__} does not say which interface it was written for; add "
            f"xma_version = {XMA_VERSION}"
        )
    try:
        main, sub = map(int, version)
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"plugin {plugin.__name__} says xma_version = {version!r}; it is two whole numbers, "
            f"such as {XMA_VERSION}"
        ) from error
    if main != XMA_VERSION[0] or sub > XMA_VERSION[1]:
        raise PluginError(
            f"plugin {plugin.__name__} was written for version {main}.{sub} of the interface; this "
            f"is {XMA_VERSION[0]}.{XMA_VERSION[1]}"
        )


@functools.cache
def _installed() -> "dict[str, EntryPoint]":
    # It reads what is installed, which takes longer than a session's start.
    from importlib import metadata

    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
