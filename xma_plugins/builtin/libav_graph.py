"""Chains of FFmpeg's filters: one picture in, those that are ready out."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter.filter import Filter
from av.filter.graph import Graph
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg_log import captured_log
from bridges.backends.ffmpeg_properties import sample_aspect_ratio
from xma_plugins.errors import FilterError

__all__ = ["FilterChain", "Geometry", "changed", "geometry", "parse_chain"]

Geometry = tuple[int, int, str, int, int, Fraction | None]
"""Width, height, pixel format, matrix, range, and the pixels' aspect."""

_ANY_CLOCK = Fraction(1, 1000000)
"""Time base of pictures that have none; libavfilter wants one."""


def geometry(picture: VideoFrame) -> Geometry:
    """Return what a chain is built for; a picture that differs needs another one."""
    return (
        picture.width,
        picture.height,
        picture.format.name,
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


class FilterChain:
    """Filters joined by commas, built for pictures of one form.

    Parameters
    ----------
    chain : str
        Such as ``"scale=640:-2,hflip"``; see `parse_chain`.
    first : av.VideoFrame
        Of the form.
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
        buffer = (
            f"video_size={first.width}x{first.height}:pix_fmt={first.format.name}"
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
                graph.configure(auto_buffer=False)
            except (av.FFmpegError, ValueError) as error:
                said = f": {log.text or error}"
                raise FilterError(f"filter chain {chain!r} was refused{said}") from error
        self._graph = graph

    def run(self, picture: VideoFrame | None) -> Iterator[VideoFrame]:
        """Filter a picture, or flush at None; yield what is ready.

        Raises
        ------
        FilterError
            A filter failed.
        """
        try:
            self._graph.vpush(picture)
            while True:
                yield self._graph.vpull()
        except (BlockingIOError, EOFError):
            return
        except (av.FFmpegError, ValueError) as error:
            raise FilterError(f"filter chain {self._text!r} failed: {error}") from error
