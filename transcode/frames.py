"""The frames of a video for Python: in order, by number and by time, through kernels."""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast, overload

import av
from av.stream import Disposition

from bridges.backends.ffmpeg_decoding import decoded
from bridges.backends.ffmpeg_log import uncaptured_log
from bridges.closable import Closable
from bridges.errors import ClosedError
from transcode.container import error_text, open_input
from transcode.errors import JobError, SourceError
from transcode.frame_index import FrameIndex, read_index
from transcode.frame_kernels import FrameKernels
from transcode.hardware import choose_hardware, is_surface
from transcode.job import parse_time
from transcode.picture import Picture

if TYPE_CHECKING:
    import os

    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from transcode.hardware import Hardware

__all__ = ["Frames", "frames"]

Place = int | float | str | Fraction
"""A frame's number; or a time in seconds, as a fraction, a float or a text such as ``"1:30.5"``."""

_MARGINS = (0, 1, 10, 3600)
"""Seconds before a key frame to seek to, one after the other, until decoding begins with it or
before it."""

_FORWARD = 32
"""Frames that are decoded and left out, at most, rather than seeking."""


def frames(
    path: str | os.PathLike[str],
    *,
    device: str = "auto",
    kernels: Sequence[str] = (),
    start: Place | None = None,
    stop: Place | None = None,
    step: int = 1,
    software_fallback: bool = False,
) -> Frames:
    """Return the frames of a video: to iterate, to index and to slice.

    Parameters
    ----------
    path : str or path-like
        What to read: a file, or a URL that can be sought in.
    device : str
        Where kernels run and frames are given; see `bridges.device.DeviceName`. A ``cuda`` or
        ``vaapi`` device decodes too.
    kernels : sequence of str
        What is done with each frame, one after the other: ``"rgb_to_grayscale"``.
    start, stop : int, float, str or Fraction, optional
        The first frame, and the first one not any more, by number; or by time, in seconds after
        the first frame: ``12.5``, ``"1:30"``. Numbers below 0 count from the end.
    step : int
        Every so many-th frame.
    software_fallback : bool
        Whether software decodes what such a device cannot.

    Raises
    ------
    XTranscodeError
        The file, a kernel or the device cannot be had.

    Examples
    --------
    >>> with frames("talk.mp4", kernels=["rgb_to_grayscale"]) as gray:  # doctest: +SKIP
    ...     for picture in gray:
    ...         print(picture.time, numpy.asarray(picture).mean())
    """
    if isinstance(kernels, str):
        raise JobError(f"kernels takes a list of texts, got the text {kernels!r}")
    video = _Video(str(path), device, kernels, software_fallback=software_fallback)
    try:
        return Frames(video, video.places(start, stop, step))
    except BaseException:
        video.close()
        raise


class Frames(Sequence[Picture], Closable):
    """Frames of one video, or some of them. It is used by one thread at a time.

    Iterating decodes each frame once, and ends where nothing more can be decoded: of a file that
    breaks off there are fewer than ``len`` says. ``frames[7]`` and `at` seek, exactly, with
    constant and with variable frame rates; ``frames[10:90:2]`` is a part, which decodes nothing yet
    and shares the open file.

    Each `Picture` has memory of its own and lasts until it is closed or forgotten; the file and the
    device stay open until ``close()``.
    """

    def __init__(self, video: _Video, places: range | None) -> None:
        self._video, self._places = video, places

    def __iter__(self) -> Iterator[Picture]:
        pictures = self._in_order()
        return _one_ahead(pictures) if self._video.kernels.works_ahead else pictures

    def _in_order(self) -> Iterator[Picture]:
        if self._places is None:
            number = 0
            while (picture := self._video.read(number)) is not None:
                yield picture
                number += 1
            return
        for number in self._places:
            yield self._known(number)

    def __len__(self) -> int:
        return len(self._range)

    @property
    def _range(self) -> range:
        if self._places is None:
            self._places = range(len(self._video.index))
        return self._places

    @overload
    def __getitem__(self, place: int) -> Picture: ...

    @overload
    def __getitem__(self, place: slice) -> Frames: ...

    def __getitem__(self, place: int | slice) -> Picture | Frames:
        if isinstance(place, slice):
            return Frames(self._video, self._range[place])
        try:
            number = self._range[place]
        except IndexError:
            raise IndexError(f"there is no frame {place} among {len(self._range)}") from None
        return self._known(number)

    def _known(self, number: int) -> Picture:
        picture = self._video.read(number)
        if picture is None:
            raise SourceError(f"{self._video.path}: frame {number} is missing at its end")
        return picture

    def at(self, time: float | str | Fraction) -> Picture:
        """Return the frame that is on the screen at a time, in seconds after the first frame.

        Raises
        ------
        SourceError
            The file cannot be read there.
        JobError
            The text is no time.
        """
        return self._known(self._video.index.shown_at(_seconds(time)))

    @property
    def times(self) -> tuple[Fraction, ...]:
        """When each frame is shown, in seconds after the video's first one; nothing is decoded."""
        return tuple(map(self._video.index.time, self._range))

    @property
    def device(self) -> str:
        """Where frames are decoded and computed, and why there; empty for decoding by software."""
        return self._video.device

    @property
    def route(self) -> str:
        """The way from the decoder to where frames are given, and what was copied on it."""
        return self._video.kernels.route

    def __repr__(self) -> str:
        known = "" if self._places is None else f"{len(self._places)} "
        return f"<{known}frames of {self._video.path}>"

    def close(self) -> None:
        """Close the file and the device, for all parts; pictures stay good. May be repeated."""
        self._video.close()


class _Video:
    """An open file, and where its decoder stands."""

    def __init__(
        self, path: str, device: str, kernels: Sequence[str], *, software_fallback: bool
    ) -> None:
        self.path = path
        self._fallback = software_fallback
        self._lock = threading.Lock()
        self._hardware: Hardware | None = choose_hardware(device)
        self._decoder: VideoCodecContext | None = None
        self._begun = self._in_software = False
        self._index: FrameIndex | None = None
        self._closed = False
        with contextlib.ExitStack() as stack:
            if self._hardware is not None:
                stack.callback(self._hardware.close)
            self.kernels = FrameKernels(kernels, device, self._hardware)
            stack.callback(self.kernels.close)
            self._container, self._stream = self._open()
            stack.callback(self._free)
            self._opened = stack.pop_all()
        self._time_base = self._stream.time_base or Fraction(1)
        self._decoded = self._decode()
        self._next: int | None = 0  # None: nobody knows where the decoder stands.
        self._first: int | None = None

    @property
    def device(self) -> str:
        decoder = self._hardware.description if self._hardware else ""
        if self._hardware is not None and (self._decoder is None or self._in_software):
            decoder += ", which does not decode this: software does"
        return ", kernels on ".join(filter(None, (decoder, self.kernels.description)))

    def _open(self) -> tuple[Any, VideoStream]:
        container, stream = self._opened_by(self._hardware)
        if self._hardware is None:
            return container, stream
        try:
            self._decoder = self._hardware.decoder(stream, fallback=self._fallback)
        except LookupError as why:
            container.close()
            if not self._fallback:
                raise SourceError(f"{self.path}: {why}; say software_fallback=True") from why
            return self._opened_by(None)
        return container, stream

    def _opened_by(self, hardware: Hardware | None) -> tuple[Any, VideoStream]:
        container = open_input(self.path, hardware=hardware, software_fallback=self._fallback)
        try:
            pictures = Disposition.attached_pic
            streams = [s for s in container.streams.video if not s.disposition & pictures]
            if not streams or streams[0].codec_context is None:
                raise SourceError(f"{self.path}: no video stream that this FFmpeg decodes")
            if hardware is None:
                streams[0].thread_type = "AUTO"
        except BaseException:
            container.close()
            raise
        return container, streams[0]

    def _free(self) -> None:
        self._container.close()
        if self._hardware is not None and self._decoder is not None:
            has_decoded = self._begun and not self._in_software
            self._hardware.free(self._decoder, has_decoded=has_decoded)
            self._decoder = None

    def _decode(self) -> Generator[VideoFrame, None, None]:
        """Yield frames from where the container stands."""
        hardware, nothing = self._hardware, contextlib.nullcontext()
        quietly = nothing if hardware is None else uncaptured_log()
        try:
            with contextlib.closing(self._pictures()) as pictures:
                # FFmpeg makes the decoder for the first frame.
                with nothing if hardware is None or self._begun else hardware.busy, quietly:
                    frame = next(pictures, None)
                while frame is not None:
                    yield frame
                    del frame  # What nobody refers to is filled again; see `decoded`.
                    with quietly:
                        frame = next(pictures, None)
        except av.FFmpegError as error:
            raise SourceError(self._refusal(error)) from error

    def _pictures(self) -> Generator[VideoFrame, None, None]:
        if self._hardware is None or self._decoder is None:
            by_pyav: Generator[VideoFrame, None, None] = self._container.decode(self._stream)
            return by_pyav
        if self._decoder is not self._stream.codec_context:  # Which seeking empties.
            self._decoder.flush_buffers()
        return decoded(self._container, self._stream, self._decoder, self._hardware.kind)

    def _refusal(self, error: av.FFmpegError) -> str:
        words = f"{self.path}: cannot be decoded: {error_text(self.path, error)}"
        if self._hardware is not None and not self._begun and not self._fallback:
            words += f"; or {self._hardware.name} cannot, then say software_fallback=True"
        return words

    @property
    def index(self) -> FrameIndex:
        """The times of all frames; the file is read once, by a reader of its own."""
        if self._index is None:
            self._check_open()
            with open_input(self.path) as container:
                stream = cast("VideoStream", container.streams[self._stream.index])
                self._index = read_index(container, stream, self.path)
        return self._index

    def places(self, start: Place | None, stop: Place | None, step: int) -> range | None:
        """Return the numbers of the frames asked for; None: all, however many there are."""
        stride = _whole(step)
        if stride is None or stride < 1:
            raise JobError(f"step is a whole number of 1 or more, got {step!r}")
        if start is None and stop is None and stride == 1:
            return None
        whole = range(len(self.index))
        return whole[slice(self._place(start), self._place(stop), stride)]

    def _place(self, place: Place | None) -> int | None:
        if place is None:
            return None
        number = _whole(place)
        if number is not None:
            return number
        seconds = _seconds(place)
        if seconds < 0:
            raise JobError(f"times count from the first frame on, got {place!r}")
        return self.index.first_from(seconds)

    def read(self, number: int) -> Picture | None:
        """Return a frame by its number; None behind the last."""
        with self._lock:
            if self._closed:
                self._check_open()
            frame = self._frame(number)
            if frame is None:
                return None
            first = self._first if self._index is None else self._index.pts[0]
            time = (frame.pts or 0) - (first or 0), self._time_base
            picture = self.kernels.repeat(frame, number, time)
            if picture is None:
                self._in_software = self._in_software or not is_surface(frame)
                picture = self.kernels.run(frame, number, time, self._decoder)
            return picture

    def _frame(self, number: int) -> VideoFrame | None:
        position, self._next = self._next, None  # What fails on the way is sought anew.
        if position != number:
            position = self._go_to(number, position)
        frame = next(self._decoded, None)
        while frame is not None and position < number:
            position += 1
            del frame  # See `decoded`.
            frame = next(self._decoded, None)
        if frame is not None:
            if self._first is None and number == 0:
                self._first = frame.pts
            if self._index is not None:
                self._check(frame, self._index, number)
            self._begun = True
            position += 1
        self._next = position
        return frame

    def _check(self, frame: VideoFrame, index: FrameIndex, number: int) -> None:
        """Refuse a frame that is not the one that the index has there."""
        if frame.pts != index.pts[number]:
            raise SourceError(
                f"{self.path}: frame {number} should be shown at {index.time(number)} s, and "
                f"the decoder gives one of time stamp {frame.pts}; the file is damaged"
            )

    def _go_to(self, number: int, position: int | None) -> int:
        """Have the decoder stand at a frame, or before it; return at which."""
        index = self.index
        key = index.key_of(number)
        if position is not None and position < number and key <= position + _FORWARD:
            return position  # Decoding on is as near.
        for margin in _MARGINS:
            # Containers without an index of their own are searched by the time of any packet.
            self._seek(index.pts[key] - round(margin / index.time_base))
            frame = next(self._decoded, None)
            found = None if frame is None else index.number_of(frame.pts or 0)
            if frame is not None and found is not None and found <= key:
                self._decoded = _chain(frame, self._decoded)
                return found
        raise SourceError(f"{self.path}: frame {number} cannot be sought")

    def _seek(self, pts: int) -> None:
        self._decoded.close()
        try:
            self._container.seek(pts, stream=self._stream)
        except av.FFmpegError as error:
            words = error_text(self.path, error)
            raise SourceError(f"{self.path}: cannot be sought in: {words}") from error
        self._decoded = self._decode()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the frames of {self.path} were closed; ask for them again")

    def close(self) -> None:
        self._closed = True
        with self._lock:
            self._decoded.close()
            self._opened.close()


def _one_ahead(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Have the device begin with a picture before the one ahead of it is given."""
    previous = next(pictures, None)
    while previous is not None:
        failure, following = None, None
        try:
            following = next(pictures, None)
        except Exception as error:  # noqa: BLE001 - raised once the picture before was given
            failure = error
        try:
            yield previous
        except GeneratorExit:
            if following is not None:
                following.close()
            raise
        if failure is not None:
            raise failure
        previous = following


def _chain(
    frame: VideoFrame, others: Generator[VideoFrame, None, None]
) -> Generator[VideoFrame, None, None]:
    yield frame
    del frame
    yield from others


def _whole(value: Any) -> int | None:
    """Return a whole number of any type, NumPy's too, as an int; None of anything else."""
    try:
        return operator.index(value)
    except TypeError:
        return None


def _seconds(time: float | str | Fraction) -> Fraction:
    """Return a time as a fraction; of a float, the simplest to within a microsecond."""
    if isinstance(time, str):
        return parse_time(time)
    try:
        exact = Fraction(time)
    except (TypeError, ValueError, OverflowError) as error:
        raise JobError(f"time {time!r} is no number of seconds") from error
    return exact.limit_denominator(10**6) if isinstance(time, float) else exact
