"""Clips with known content, made on demand.

>>> clips = library(folder)
>>> path = clips.path("vfr_mp4")
>>> clips["vfr_mp4"].main.pts
(0, 528, ...)
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tests.assets.catalogue import ALL
from tests.assets.truth import (
    Attachment,
    AudioTrack,
    Chapter,
    Clip,
    Colour,
    Damage,
    SubtitleEvent,
    SubtitleTrack,
    VideoTrack,
)
from tests.assets.writer import write

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLIPS",
    "DAMAGED",
    "SOUND",
    "Attachment",
    "AudioTrack",
    "Chapter",
    "Clip",
    "Colour",
    "Damage",
    "Library",
    "SubtitleEvent",
    "SubtitleTrack",
    "VideoTrack",
    "library",
    "make",
]

CLIPS: Mapping[str, Clip] = MappingProxyType({clip.name: clip for clip in ALL})
SOUND: tuple[str, ...] = tuple(name for name, clip in CLIPS.items() if clip.damage is None)
DAMAGED: tuple[str, ...] = tuple(name for name, clip in CLIPS.items() if clip.damage is not None)


def make(name: str, folder: Path) -> Path:
    """Make one clip, whether it is there already or not.

    Parameters
    ----------
    name : str
        One of `CLIPS`.
    folder : Path
        Where to; it is created if it is missing.

    Returns
    -------
    Path
        The file. It appears there complete or not at all, so several processes may make the
        same clip at once.

    Raises
    ------
    KeyError
        If there is no clip of that name.
    """
    clip = CLIPS[name]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / clip.file_name
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as hidden:
        draft = Path(hidden) / clip.file_name
        write(clip, draft)
        os.replace(draft, target)
    return target


class Library:
    """Makes each clip once in a folder, when it is first asked for.

    Parameters
    ----------
    folder : Path
        Where the clips lie; several processes may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Clip:
        return CLIPS[name]

    def path(self, name: str) -> Path:
        """Return the file of a clip; make it if it is not there yet."""
        path = self.folder / CLIPS[name].file_name
        return path if path.exists() else make(name, self.folder)


def library(folder: Path) -> Library:
    """Return the clips that lie, or will lie, in `folder`."""
    return Library(folder)
