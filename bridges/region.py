"""Regions: what was detected in a picture, as pictures over the same memory."""

from collections.abc import Iterable

from bridges.frame import Frame
from bridges.metadata import AffineTransform, Detection, SourceIdentifier

__all__ = ["regions_of"]


def regions_of(
    frame: Frame, detections: Iterable[Detection] | None = None, *, stream_id: int = 0
) -> tuple[Frame, ...]:
    """Return the part of a picture that each detection covers; the picture is their parent.

    A region begins and ends at whole pixels and whole chroma samples, and covers its detection.
    Its metadata, a list of its own, are the detection as found in the picture, a
    `SourceIdentifier` with its number, and the `AffineTransform` from its pixels to the picture's.

    Parameters
    ----------
    frame : Frame
        The picture.
    detections : iterable of Detection, optional
        By default those among the picture's own metadata.
    stream_id : int
        Which of several streams the picture is from.

    Raises
    ------
    FormatError
        This kind of memory cannot be cut there; no region is left open.
    """
    if detections is None:
        detections = [found for found in frame.metadata if isinstance(found, Detection)]
    info = frame.info
    grid = (
        1 << max(plane.log2_width for plane in info.format.planes),
        1 << max(plane.log2_height for plane in info.format.planes),
    )
    regions: list[Frame] = []
    try:
        for number, found in enumerate(detections):
            x, y, width, height = found.rectangle(info.width, info.height, grid=grid)
            region = frame.region(x, y, width, height)
            source = SourceIdentifier(stream_id, info.pts, region_id=number)
            region.metadata = [found, source, AffineTransform.translation(x, y)]
            regions.append(region)
    except BaseException:
        for region in regions:
            region.close()
        raise
    return tuple(regions)
