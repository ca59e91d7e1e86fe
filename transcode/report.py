"""The report of a run: what was read, done, copied, dropped and written."""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from transcode.job import VerifyMode
from xma_plugins.load import CommandLoad

__all__ = ["Report", "StreamSummary", "plain"]


@dataclass(frozen=True)
class StreamSummary:
    """One end of a run: a file and its video stream.

    Attributes
    ----------
    path : str
        As the user wrote it.
    container, codec, pix_fmt : str
        libav's names.
    width, height : int
        In pixels.
    rate : Fraction or None
        Mean frames per second, where the container or the encoder says.
    matrix : str
        Matrix coefficients, such as ``"bt709"``; ``"unspecified"`` where untagged.
    nbytes : int or None
        Size of the file; None where it cannot be known.
    """

    path: str
    container: str
    codec: str
    pix_fmt: str
    width: int
    height: int
    rate: Fraction | None
    matrix: str
    nbytes: int | None


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes
    ----------
    source, output : StreamSummary
        The video read and the video written.
    frames : int
        Video frames written.
    frames_decoded : int
        Video frames decoded, those outside the trim counted.
    duration_seconds : float
        Of the video written.
    elapsed_seconds : float
        Wall time of the whole run.
    fps : float
        ``frames`` per second of wall time.
    device : str
        Where kernels ran, and why there; empty where there were none.
    route : str
        The way that frames took through memory; empty where there were no kernels.
    bytes_copied : int
        Bytes that were carried to a device and back, all frames together.
    bytes_between : int
        Bytes of those that were carried between one kernel and the next: 0, unless they ran on
        different devices.
    loads : tuple of CommandLoad
        How busy each kernel's session kept the device, the busiest first. Where a CUDA device
        carries gray pictures to the host by itself, their way is in it.
    kernel_ms : float or None
        Mean time of one frame in all kernels, in milliseconds.
    stage_seconds : dict of str to float
        Time that each stage spent working, waiting for others not counted; at the end the time of
        the verification.
    verified : {"none", "fast", "full"}
        What was checked before the file was published.
    notices : tuple of str
        Everything that was dropped, converted, assumed or rounded.
    device_bytes : int
        Memory of a CUDA device that the run took: each frame of the decoder that kernels read or
        that was fetched, and buffers of kernels, at most. What the decoder works in is not told:
        some 50 MB for H.264 in 1080p. 0 for other devices.
    """

    source: StreamSummary
    output: StreamSummary
    frames: int
    frames_decoded: int
    duration_seconds: float
    elapsed_seconds: float
    fps: float
    device: str
    route: str
    bytes_copied: int
    bytes_between: int
    loads: tuple[CommandLoad, ...]
    kernel_ms: float | None
    stage_seconds: dict[str, float]
    verified: VerifyMode
    notices: tuple[str, ...]
    device_bytes: int = 0

    @property
    def bytes_copied_per_frame(self) -> float:
        """Bytes that the route copied, per frame written."""
        return self.bytes_copied / self.frames if self.frames else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON can hold; rates as ``"30000/1001"``."""
        return plain(self)  # type: ignore[no-any-return]

    def _repr_html_(self) -> str:
        """Return the report as an HTML table. IPython calls it to show one."""
        from transcode.report_html import report_html  # Few runs are in a notebook.

        return report_html(self)


def plain(value: Any) -> Any:
    """Turn dataclasses, tuples and fractions into what JSON can hold."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value
