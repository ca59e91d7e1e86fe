"""Compiled code, kept in the user's cache folder: each kernel is compiled once per machine."""

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from bridges.kernels.launch import Launch

__all__ = ["cache_folder", "cache_key", "portable_source", "read_code", "write_code"]


def cache_folder(framework: str) -> Path:
    """Return where code is kept: ``$XDG_CACHE_HOME/xtranscode/<framework>`` or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "xtranscode", framework)


def portable_source(launch: Launch) -> str:
    """Return the whole text that a framework compiles: the prelude, and the launch's own."""
    return f"{_prelude()}\n{launch.source}"


@functools.cache
def _prelude() -> str:
    return resources.files("bridges.kernels").joinpath("prelude.h").read_text("utf-8")


def cache_key(parts: Iterable[str]) -> str:
    """Return a file name that changes with each of the texts that the code depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_code(path: Path) -> bytes:
    """Return what is kept; empty where there is nothing, or where the file is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    digest, code = content[:32], content[32:]
    return code if hashlib.sha256(code).digest() == digest else b""


def write_code(path: Path, code: bytes) -> None:
    """Keep code, whole or not at all; a folder that cannot be written is no failure."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(file.name, path)
