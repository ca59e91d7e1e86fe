"""libavfilter: a linear chain of filters as one step of a pipeline."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

import av
from av.filter import Graph
from av.filter.filter import Filter
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg_properties import sample_aspect_ratio
from transcode.errors import FilterError
from transcode.ffmpeg_log import captured_log
from transcode.notices import Notices

__all__ = ["GraphStep", "Step", "parse_chain"]


class Step(Protocol):
    """One step between decoder and encoder."""

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Take a frame, or None at the end; yield what is ready."""

    def close(self) -> None:
        """Release what the step holds; may be repeated."""


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


Geometry = tuple[int, int, str, int, int, Fraction | None]


def _geometry(frame: VideoFrame) -> Geometry:
    return (
        frame.width,
        frame.height,
        frame.format.name,
        frame.colorspace,
        frame.color_range,
        sample_aspect_ratio(frame),
    )


class GraphStep:
    """A filter graph, built for the first frame and again when frames change their form.

    Parameters
    ----------
    chain : str
        Filters joined by commas.
    rate : Fraction or None
        Frame rate of the input, for filters that ask for it.
    notices : Notices
        Told when frames change their form.
    """

    def __init__(self, chain: str, *, rate: Fraction | None, notices: Notices) -> None:
        self._text = chain
        self._chain = parse_chain(chain)
        self._rate = rate
        self._notices = notices
        self._graph: Graph | None = None
        self._geometry: Geometry | None = None

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Filter a frame, or flush at None.

        Raises
        ------
        FilterError
            A filter does not accept its arguments or its input.
        """
        if frame is None:
            yield from self._flush()
            return
        geometry = _geometry(frame)
        if geometry != self._geometry:
            if self._geometry is not None:
                self._notices.add(
                    f"frames change from {_describe(self._geometry)} to {_describe(geometry)}"
                )
            yield from self._flush()
            self._build(frame)
            self._geometry = geometry
        yield from self._run(frame)

    def _build(self, frame: VideoFrame) -> None:
        graph = Graph()
        aspect = sample_aspect_ratio(frame) or Fraction(0, 1)
        buffer = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
            f":time_base={frame.time_base}:pixel_aspect={aspect.numerator}/{aspect.denominator}"
            f":colorspace={frame.colorspace}:range={frame.color_range}"
        )
        if self._rate:
            buffer += f":frame_rate={self._rate}"
        with captured_log() as log:
            try:
                nodes = [graph.add("buffer", buffer)]
                nodes += [graph.add(name, arguments or None) for name, arguments in self._chain]
                nodes.append(graph.add("buffersink"))
                graph.link_nodes(*nodes)
                graph.configure(auto_buffer=False)
            except (av.FFmpegError, ValueError) as error:
                said = f": {log.text or error}"
                raise FilterError(f"filter chain {self._text!r} was refused{said}") from error
        self._graph = graph

    def _run(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        graph = self._graph
        if graph is None:
            return
        try:
            graph.vpush(frame)
            while True:
                yield graph.vpull()
        except (BlockingIOError, EOFError):
            return
        except (av.FFmpegError, ValueError) as error:
            raise FilterError(f"filter chain {self._text!r} failed: {error}") from error

    def _flush(self) -> Iterator[VideoFrame]:
        yield from self._run(None)
        self._graph = None

    def close(self) -> None:
        """Free the graph."""
        self._graph = None


def _describe(geometry: Geometry) -> str:
    width, height, pix_fmt, *_ = geometry
    return f"{width}x{height} {pix_fmt}"
