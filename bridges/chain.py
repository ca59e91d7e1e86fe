"""Chains: a source, transforms and a sink, worked through frame by frame."""

import contextlib
from collections.abc import Sequence

from bridges.element import Element, Sink, Source, Transform, TransformInplace
from bridges.errors import ElementError
from bridges.frame import MediaFrame

__all__ = ["run_chain"]


def run_chain(
    source: Element, transforms: Sequence[Element] = (), sink: Element | None = None
) -> int:
    """Read all frames of a source, put each through the transforms, and write it to the sink.

    The elements are opened, and closed at the end, whatever happens. One frame is under way at a
    time; everything made on its way is closed once it is written, the latest first.

    Parameters
    ----------
    source : Source
        Where frames come from.
    transforms : sequence of Transform or TransformInplace
        In their order.
    sink : Sink, optional
        Where they end; they are let go where there is none.

    Returns
    -------
    int
        Frames that came to the end of the chain.

    Raises
    ------
    ElementError
        An element stands where one of its kind cannot.
    """
    if not isinstance(source, Source):
        raise ElementError(f"a chain begins with a source, got {source.description.name}")
    if sink is not None and not isinstance(sink, Sink):
        raise ElementError(f"a chain ends with a sink, got {sink.description.name}")
    for element in transforms:
        if not isinstance(element, Transform | TransformInplace):
            raise ElementError(f"between source and sink, {element.description.name} has no place")
    elements = (source, *transforms, *([] if sink is None else [sink]))
    count = 0
    with contextlib.ExitStack() as stack:
        for element in reversed(elements):
            stack.callback(element.close)
        for element in elements:
            element.open()
        while (frame := source.read()) is not None:
            count += _pass(frame, transforms, sink)
        for element in elements:
            element.finish()
    return count


def _pass(frame: MediaFrame, transforms: Sequence[Element], sink: Sink | None) -> bool:
    """Put one frame through the chain; return whether it came to its end."""
    current: MediaFrame | None = frame
    with contextlib.ExitStack() as made:
        made.callback(frame.close)
        for element in transforms:
            assert current is not None
            if isinstance(element, Transform):
                current = element.process(current)
                if current is None:
                    return False
                made.callback(current.close)
            elif isinstance(element, TransformInplace) and not element.process(current):
                return False
        if sink is not None:
            assert current is not None
            sink.write(current)
    return True
