"""FFmpeg's codecs by name, for sessions that decode or encode video."""

from typing import Any, Literal

import av
from av.codec.codec import Codec

from xma_plugins.errors import InvalidError
from xma_plugins.session import Session

__all__ = ["find_codec"]


def find_codec(session: Session[Any], name: str, mode: Literal["r", "w"]) -> Codec:
    """Return a decoder (``"r"``) or an encoder (``"w"``) of video.

    Raises
    ------
    InvalidError
        There is none of that name, or it is for something else than video.
    """
    does = "decode" if mode == "r" else "encode"
    try:
        codec = Codec(name, mode)
    except ValueError as error:
        raise InvalidError(
            f"{session.name}: no {does}r {name!r} in PyAV {av.__version__}"
        ) from error
    if codec.type != "video":
        raise InvalidError(f"{session.name}: {name} {does}s {codec.type}, not video")
    return codec
