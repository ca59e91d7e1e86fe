"""What plugins are told: parameters by name, and the form of pictures. Anything else is refused."""

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from bridges.frame import FrameInfo
from xma_plugins.errors import InvalidError
from xma_plugins.properties import Port
from xma_plugins.session import Session

__all__ = ["check_port", "read_params"]


def read_params(session: Session[Any], **defaults: Any) -> SimpleNamespace:
    """Return a session's ``params`` as attributes.

    Parameters
    ----------
    session : Session
        Whose parameters.
    **defaults
        All that there are. A value has its default's type; numbers may be whole where the default
        is not, and are not negative. Where the default is None any value is taken.

    Raises
    ------
    InvalidError
        A parameter is unknown, or has another type.
    """
    for name, value in session.params.items():
        if name not in defaults:
            there = ", ".join(defaults)
            raise InvalidError(f"{session.name} has no parameter {name!r}; it has {there}")
        _check(session, name, value, type(defaults[name]))
    return SimpleNamespace(**{**defaults, **session.params})


_KINDS = {
    float: "a number from 0 on",
    int: "a whole number from 0 on",
    bool: "true or false",
    str: "a text",
    dict: "a mapping",
}


def _check(session: Session[Any], name: str, value: Any, kind: type) -> None:
    if kind is type(None):
        return
    if kind is dict:
        fits = isinstance(value, Mapping)
    elif kind in (int, float):
        fits = type(value) in (int, kind) and 0 <= value < math.inf
    else:
        fits = type(value) is kind
    if not fits:
        raise InvalidError(
            f"{session.name}: parameter {name!r} takes {_KINDS[kind]}, got {value!r}"
        )


def check_port(session: Session[Any], port: Port, info: FrameInfo | None, does: str) -> FrameInfo:
    """Return the form of a picture; refuse one that a side of the session was not declared to be.

    Parameters
    ----------
    session : Session
        Whose side.
    port : Port
        What was declared of it.
    info : FrameInfo or None
        The picture's form; None of one of FFmpeg in a pixel format that is not in
        `bridges.formats`.
    does : str
        What the session does with the picture, for the message: ``"is sent"``.

    Raises
    ------
    InvalidError
        Its format is another one or not known, or its size is another, where one was declared.
    """
    if info is None:
        declared = "" if port.format is None else f", where its properties say {port.format.name}"
        raise InvalidError(
            f"{session.name} {does} a picture in a pixel format that is not in "
            f"bridges.formats{declared}; convert before it, for example by a libav_scaler"
        )
    found = info.format.name, info.width, info.height
    layout = info.format if port.format is None else port.format
    wanted = layout.name, port.width or info.width, port.height or info.height
    if found != wanted:
        texts = ["{} of {}x{}".format(*form) for form in (found, wanted)]
        raise InvalidError(f"{session.name} {does} {texts[0]}, where its properties say {texts[1]}")
    return info
