"""Chains of FFmpeg's filters: one picture in, those that are ready out."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction

import av
from av.filter.filter import Filter
from av.filter.graph import Graph
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg_hardware import HARDWARE, software_name
from bridges.backends.ffmpeg_log import CapturedLog, captured_log, uncaptured_log
from bridges.backends.ffmpeg_properties import sample_aspect_ratio
from bridges.errors import DeviceError
from bridges.native.libavfilter import set_source_frames
from bridges.native.libavutil import AVFrame, frame_pointer
from xma_plugins.errors import FilterError

__all__ = ["FilterChain", "Geometry", "changed", "geometry", "parse_chain"]

Geometry = tuple[int, int, str, int, int, Fraction | None]
"""Width, height, pixel format (of frames on a device with the one in its memory, such as
``"vaapi nv12"``), matrix, range, and the pixels' aspect."""

_ANY_CLOCK = Fraction(1, 1000000)
"""Time base of pictures that have none; libavfilter wants one."""


def geometry(picture: VideoFrame) -> Geometry:
    """Return what a chain is built for; a picture that differs needs another one."""
    name = picture.format.name
    return (
        picture.width,
        picture.height,
        f"{name} {software_name(picture)}" if name in HARDWARE else name,
        picture.colorspace,
        picture.color_range,
        sample_aspect_ratio(picture),
    )


def changed(before: Geometry, after: Geometry) -> str:
    """Return what to say of pictures that change their form."""
    texts = [f"{width}x{height} {pix_fmt}" for width, height, pix_fmt, *_ in (before, after)]
    return f"frames change from {texts[0]} to {texts[1]}"


def parse_chain(text: str) -> list[tuple[str, str]]:
    """Split ``"scale=640:-2,hflip"`` into filter names and arguments.

    Quotes and backslashes work as in libavfilter's graph syntax: one level of them is removed.

    Raises
    ------
    FilterError
        The chain is empty, branches, or names a filter that is not there.
    """
    chain = []
    for part in _split(text):
        name, _, arguments = part.partition("=")
        name = name.strip()
        try:
            Filter(name)
        except ValueError as error:
            raise FilterError(f"unknown filter {name!r} in {text!r}") from error
        chain.append((name, arguments))
    return chain


def _split(text: str) -> Iterator[str]:
    part = ""
    quoted = escaped = False
    for character in text:
        if escaped:
            part, escaped = part + character, False
        elif character == "'":
            quoted = not quoted
        elif quoted:
            part += character
        elif character == "\\":
            escaped = True
        elif character in "[];":
            raise FilterError(
                f"filter chain {text!r} branches at {character!r}; a chain has one input and one "
                "output, and its filters are joined by commas"
            )
        elif character == ",":
            yield part.strip()
            part = ""
        else:
            part += character
    if quoted or escaped:
        raise FilterError(f"filter chain {text!r} ends inside a quote")
    yield part.strip()


def _refused(chain: str, first: VideoFrame, log: CapturedLog, error: BaseException) -> str:
    device = first.format.name
    if device in HARDWARE and any("convert between" in text for _, text in log.messages):
        return (
            f"filter chain {chain!r} has a filter of the host, and frames are on a {device} device;"
            f" take filters of the device, or put hwdownload,format={software_name(first)} before"
        )
    return f"filter chain {chain!r} was refused: {log.text or error}"


class FilterChain:
    """Filters joined by commas, built for pictures of one form.

    Parameters
    ----------
    chain : str
        Such as ``"scale=640:-2,hflip"``; see `parse_chain`.
    first : av.VideoFrame
        Of the form; where it is on a device, filters of that device take it there.
    rate : Fraction or None
        Frame rate of the input, for filters that ask for it.

    Raises
    ------
    FilterError
        A filter does not accept its arguments or its input.
    """

    def __init__(self, chain: str, first: VideoFrame, *, rate: Fraction | None) -> None:
        self._text = chain
        graph = Graph()
        aspect = sample_aspect_ratio(first) or Fraction(0, 1)
        is_on_device = first.format.name in HARDWARE
        # A source takes the format of a device only together with its frames, which follow.
        pix_fmt = software_name(first) if is_on_device else first.format.name
        buffer = (
            f"video_size={first.width}x{first.height}:pix_fmt={pix_fmt}"
            f":time_base={first.time_base or _ANY_CLOCK}"
            f":pixel_aspect={aspect.numerator}/{aspect.denominator}"
            f":colorspace={first.colorspace}:range={first.color_range}"
        )
        if rate:
            buffer += f":frame_rate={rate}"
        parsed = parse_chain(chain)
        with captured_log() as log:
            try:
                nodes = [graph.add("buffer", buffer)]
                nodes += [graph.add(name, arguments or None) for name, arguments in parsed]
                nodes.append(graph.add("buffersink"))
                graph.link_nodes(*nodes)
                if is_on_device:
                    native = AVFrame.from_address(frame_pointer(first))
                    set_source_frames(nodes[0], native.format, native.hw_frames_ctx)
                graph.configure(auto_buffer=False)
            except (av.FFmpegError, ValueError, DeviceError) as error:
                raise FilterError(_refused(chain, first, log, error)) from error
        self._graph = graph
        self._quietly: Callable[[], AbstractContextManager[None]] = (
            uncaptured_log if is_on_device else nullcontext
        )

    def run(self, picture: VideoFrame | None) -> Iterator[VideoFrame]:
        """Filter a picture, or flush at None; yield what is ready.

        Raises
        ------
        FilterError
            A filter failed.
        """
        try:
            with self._quietly():
                self._graph.vpush(picture)
            while True:
                with self._quietly():
                    filtered = self._graph.vpull()
                yield filtered
        except (BlockingIOError, EOFError):
            return
        except (av.FFmpegError, ValueError) as error:
            raise FilterError(f"filter chain {self._text!r} failed: {error}") from error
