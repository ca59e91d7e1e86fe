"""Templates of output paths: ``{dir}/{stem}-{crf}.mp4``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from transcode.errors import JobError
from transcode.manifest_tree import advice

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TEMPLATE_NAMES", "is_url", "render", "source_names"]

TEMPLATE_NAMES = ("dir", "ext", "index", "name", "profile", "stem")
"""What a template may name, beside the matrix's names."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}:]*)(:[^{}]*)?\}|[{}]")
_INDEX_FORMAT = re.compile(r":0?[0-9]{0,2}d?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?:concat|data|fd|file|pipe|subfile)[:,]")


def is_url(source: str) -> bool:
    """Return whether a source is no name of a file; a file that exists is never a URL."""
    return _URL.match(source) is not None and not os.path.exists(source)


def source_names(source: str) -> dict[str, str]:
    """Return what templates may say of a source; a URL has no folder."""
    folder, name = os.path.split(source)
    if is_url(source):
        folder, name = "", re.split(r"[?#]", source)[0].rpartition("/")[2]
    stem, ending = os.path.splitext(name)
    return {"dir": folder or ".", "name": name, "stem": stem, "ext": ending.removeprefix(".")}


def render(template: str, values: Mapping[str, str | int]) -> str:
    """Put values in the place of their names.

    Parameters
    ----------
    template : str
        ``{{`` and ``}}`` are braces. A number takes a format: ``{index:04d}``.
    values : mapping of str to str or int
        Only ``dir`` may have a ``/``: no other value adds a folder to the path.

    Raises
    ------
    JobError
        A name is unknown, a brace stands alone, a format does not fit, or a value has a ``/``.
    """

    def put(match: re.Match[str]) -> str:
        found, name, form = match[0], match[1], match[2]
        if found in ("{{", "}}"):
            return found[0]
        if name is None:
            raise JobError(f"{template!r} has a single {found!r}; a brace itself is {found * 2!r}")
        if name not in values:
            raise JobError(f"{template!r}: there is no {{{name}}}; {advice(name, sorted(values))}")
        value = values[name]
        if isinstance(value, int):
            if form and not _INDEX_FORMAT.fullmatch(form):
                raise JobError(f"{template!r}: {found} has another form than {{{name}:04d}}")
            return format(value, (form or ":")[1:])
        if form:
            raise JobError(f"{template!r}: {found}: only {{index}} takes a format, such as :04d")
        if "/" in value and name != "dir":
            raise JobError(f"{template!r}: {{{name}}} is {value!r}, whose '/' would be a folder")
        return value

    return _TOKEN.sub(put, template)
