"""Plugins in a file of one's own, which need not be installed: ``my.py:MyFilter``."""

import importlib.util
import itertools
import os
import sys
import traceback
from types import ModuleType

from xma_plugins.errors import PluginError
from xma_plugins.plugin import Plugin

__all__ = ["is_file", "load_plugin"]

_numbers = itertools.count(1)


def is_file(name: str) -> bool:
    """Whether a plugin's name is that of a file: ``my.py`` or ``my.py:MyFilter``."""
    return name.endswith(".py") or ".py:" in name


def load_plugin(name: str) -> type[Plugin]:
    """Run a Python file and return a plugin's class of it.

    Parameters
    ----------
    name : str
        ``folder/my.py:MyFilter``, or the path alone where the file has one plugin.

    Raises
    ------
    PluginError
        There is no such file, it fails, or it has no such plugin.
    """
    path, colon, wanted = name.rpartition(":") if ".py:" in name else (name, "", "")
    module = _run(path)
    own = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Plugin)
        and value.__module__ == module.__name__
    }
    if not colon:
        if len(own) == 1:
            return next(iter(own.values()))
        if own:
            first = next(iter(own))
            raise PluginError(f"{path} holds {', '.join(own)}; say which: {path}:{first}")
        raise PluginError(f"{path} holds no plugin: no class of it inherits one of xma_plugins")
    found: type[Plugin] | None = getattr(module, wanted, None)
    if found is None:
        raise PluginError(f"{path} holds no {wanted!r}; it holds {', '.join(own) or 'no plugin'}")
    return found


def _run(path: str) -> ModuleType:
    """Import a file under a name of its own."""
    name = f"xtranscode_plugin_{next(_numbers)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Dataclasses look for their module there.
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        del sys.modules[name]
        raise PluginError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except SyntaxError as error:
        del sys.modules[name]
        raise PluginError(f"{path}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{_place(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _place(error: BaseException, path: str) -> str:
    """Return the line of a file that an error passed last."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == os.path.abspath(path)
    ]
    return f"{path}:{lines[-1]}" if lines else path
