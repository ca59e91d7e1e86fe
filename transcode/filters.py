"""Steps of a pipeline, one after the other; libavfilter as one of them: a chain of filters."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Protocol

from av.video.frame import VideoFrame

from transcode.hardware import is_surface, nbytes_of
from transcode.notices import Notices
from xma_plugins.builtin.libav_graph import (
    FilterChain,
    Geometry,
    changed,
    geometry,
    parse_chain,
)

__all__ = ["GraphStep", "Step", "run_steps"]


class Step(Protocol):
    """One step between decoder and encoder."""

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Take a frame, or None at the end; yield what is ready."""

    def cancel(self) -> None:
        """Have `process` fail where it waits; called from another thread than that, repeatedly."""

    def close(self) -> None:
        """Release what the step holds, once no thread is in it; may be repeated."""


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

    Attributes
    ----------
    fetched : int
        Bytes of frames that came from video hardware and left in host memory, so far.

    Raises
    ------
    FilterError
        The chain names a filter that is not there, or branches.
    """

    def __init__(self, chain: str, *, rate: Fraction | None, notices: Notices) -> None:
        parse_chain(chain)
        self._chain, self._rate, self._notices = chain, rate, notices
        self._graph: FilterChain | None = None
        self._geometry: Geometry | None = None
        self._takes_surfaces = False
        self.fetched = 0

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
        form = geometry(frame)
        if form != self._geometry:
            if self._geometry is not None:
                self._notices.add(changed(self._geometry, form))
            yield from self._flush()
            self._graph = FilterChain(self._chain, frame, rate=self._rate)
            self._geometry, self._takes_surfaces = form, is_surface(frame)
        if self._graph is not None:
            yield from self._counted(self._graph.run(frame))

    def _counted(self, filtered: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in filtered:
            if self._takes_surfaces and not is_surface(frame):
                self.fetched += nbytes_of(frame)
            yield frame

    def _flush(self) -> Iterator[VideoFrame]:
        graph, self._graph = self._graph, None
        if graph is not None:
            yield from self._counted(graph.run(None))

    def cancel(self) -> None:
        """Do nothing: it waits for nobody."""

    def close(self) -> None:
        """Free the graph."""
        self._graph = None


def run_steps(steps: Sequence[Step], frame: VideoFrame | None) -> Iterator[VideoFrame]:
    """Pass a frame through every step, or flush them in order at None."""
    if not steps:
        if frame is not None:
            yield frame
        return
    for result in steps[0].process(frame):
        yield from run_steps(steps[1:], result)
    if frame is None:
        yield from run_steps(steps[1:], None)
