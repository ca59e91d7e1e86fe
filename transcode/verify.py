"""Verification: a written file is read again and compared with what should be in it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.container import InputContainer
from av.format import Flags as FormatFlags
from av.video.stream import VideoStream

from bridges.backends.ffmpeg_properties import is_damaged
from bridges.frame import ColourRange
from transcode.container import error_text, open_input
from transcode.errors import SourceError, VerifyError
from transcode.notices import Notices

if TYPE_CHECKING:
    from array import array

__all__ = ["Expected", "verify", "video_tags"]


@dataclass(frozen=True)
class Expected:
    """What must be found in a written file.

    Attributes
    ----------
    path : str
        As the user wrote it, for messages.
    times : array of int
        Presentation times of the video's frames, in ``time_base``, in any order.
    time_base : Fraction
        Seconds per unit of ``times``.
    codec : str
        Canonical name of the video codec.
    width, height : int
        In pixels.
    tags : dict of str to object
        Colour, aspect and rotation, by name; a container that cannot carry one is told of, and
        is no failure.
    streams : dict of str to int
        How many streams of each type there must be.
    metadata : set of str
        Keys of the container's metadata; a container that cannot hold one is told of.
    container : str
        Its name, for messages.
    """

    path: str
    times: "array[int]"
    time_base: Fraction
    codec: str
    width: int
    height: int
    tags: dict[str, object]
    streams: dict[str, int]
    metadata: frozenset[str] = frozenset()
    container: str = "the container"


def verify(
    location: str, expected: Expected, *, decode: bool, check: Callable[[], None], notices: Notices
) -> None:
    """Read a file to its end and compare it with what should be in it.

    Parameters
    ----------
    location : str
        The file.
    expected : Expected
        What must be in it.
    decode : bool
        Whether every frame is decoded too.
    check : callable
        Called now and then; what it raises ends the work.
    notices : Notices
        Told of tags and exact times that the container does not carry.

    Raises
    ------
    VerifyError
        Frames, times, size or codec are not what they should be.
    """
    try:
        with open_input(location) as container:
            _check_streams(container, expected)
            video = _video(container)
            _check_video(video, expected)
            if decode:
                video.thread_type = "AUTO"
            times = _read(container, video, expected, decode=decode, check=check)
            _check_times(container, video, times, expected, notices)
            _check_tags(video, expected, notices)
            _check_metadata(container, expected, notices)
    except (SourceError, av.FFmpegError) as error:
        said = str(error).removeprefix(f"{location}: ")
        why = said if isinstance(error, SourceError) else error_text(location, error)
        raise VerifyError(
            f"{expected.path}: what was written cannot be read again: {why}"
        ) from error


def _video(container: InputContainer) -> VideoStream:
    return container.streams.video[0]


def _check_streams(container: InputContainer, expected: Expected) -> None:
    for kind, count in expected.streams.items():
        found = sum(stream.type == kind for stream in container.streams)
        if found < count:
            raise VerifyError(f"{expected.path}: has {found} {kind} streams, should have {count}")


def _check_video(video: VideoStream, expected: Expected) -> None:
    context = video.codec_context
    found = context.codec.canonical_name, context.width, context.height
    wanted = expected.codec, expected.width, expected.height
    if found != wanted:
        raise VerifyError(f"{expected.path}: its video is {found}, should be {wanted}")


def _read(
    container: InputContainer,
    video: VideoStream,
    expected: Expected,
    *,
    decode: bool,
    check: Callable[[], None],
) -> list[int | None]:
    """Demux everything; return the presentation time of each video packet that is shown."""
    times: list[int | None] = []
    frames = 0
    for number, packet in enumerate(container.demux()):
        if number % 64 == 0:
            check()
        if packet.stream.index != video.index:
            continue
        if packet.size and not packet.is_discard:
            times.append(packet.pts)
        if decode:
            for frame in packet.decode():
                # Decoders conceal what they cannot decode; their frames say so.
                frames += not is_damaged(frame)  # type: ignore[arg-type]
    if decode and frames != len(times):
        raise VerifyError(f"{expected.path}: only {frames} of {len(times)} frames can be decoded")
    return times


def _check_times(
    container: InputContainer,
    video: VideoStream,
    times: list[int | None],
    expected: Expected,
    notices: Notices,
) -> None:
    if len(times) != len(expected.times):
        raise VerifyError(
            f"{expected.path}: has {len(times)} frames, should have {len(expected.times)}"
        )
    flags = container.format.flags
    if FormatFlags.no_timestamps in FormatFlags(flags) or any(time is None for time in times):
        notices.add(f"{expected.container} stores no frame times")
        return
    assert video.time_base is not None
    wanted = sorted(expected.times)
    found = sorted(time for time in times if time is not None)
    tick = video.time_base
    worst = Fraction(0)
    for time, should in zip(found, wanted, strict=True):
        off = (time - found[0]) * tick - (should - wanted[0]) * expected.time_base
        worst = max(worst, abs(off))
    # Two roundings can meet in one difference: of the first time, and of this one.
    if worst > tick:
        raise VerifyError(
            f"{expected.path}: frame times are off by up to {float(worst):.6f} s, more than the "
            f"container's tick of {tick} s"
        )
    if worst:
        notices.add(f"times rounded to {tick} s, as {expected.container} stores them")


def _check_tags(video: VideoStream, expected: Expected, notices: Notices) -> None:
    found = video_tags(video)
    for name, should in expected.tags.items():
        same = found[name] == should
        if name == "colour range":
            # Limited range is what an untagged file is taken to have, and some codecs rely on it.
            same = (found[name] == ColourRange.FULL) == (should == ColourRange.FULL)
        if not same:
            notices.add(f"{name} not carried: {should} was written, {found[name]} is read back")


def _check_metadata(container: InputContainer, expected: Expected, notices: Notices) -> None:
    there = {key.lower() for key in container.metadata}
    lost = sorted(key for key in expected.metadata if key.lower() not in there)
    if lost:
        names = ", ".join(lost)
        notices.add(f"metadata dropped, which {expected.container} cannot hold: {names}")


def video_tags(video: VideoStream) -> dict[str, object]:
    """Return the tags that should survive a transcode, as a reader of the file sees them."""
    context = video.codec_context
    return {
        "colour range": int(context.color_range),
        "colour matrix": int(context.colorspace),
        "colour primaries": int(context.color_primaries),
        "colour transfer": int(context.color_trc),
        "sample aspect ratio": video.sample_aspect_ratio or Fraction(1),
    }
