"""Pictures in a video device's memory, as the device that runs kernels sees them and writes them.

Each kind of device has a module of its own: `transcode.va_surfaces`, `transcode.cuda_surfaces`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from av.video.frame import VideoFrame

from bridges.backends.ffmpeg import frame_info
from bridges.backends.ffmpeg_properties import copy_properties
from bridges.closable import Closable
from bridges.edges.countdown import Countdown
from bridges.tensor import AccessMode
from xma_plugins.frames import BufferRef, XmaFrame
from xma_plugins.side_data import SideDataType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction
    from typing import Any

    from av.codec.codec import Codec

    from bridges.frame import Frame, FrameInfo
    from bridges.kernels import Kernel
    from transcode.filters import Step
    from transcode.kernel_step import Call
    from transcode.notices import Notices
    from xma_plugins.buffers import BufferObject
    from xma_plugins.device import Device
    from xma_plugins.load import CommandCount

__all__ = ["Fitting", "Form", "LumaMaker", "Surfaces"]

Form = tuple[int, int, str]
"""Width, height and pixel format in memory."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """What becomes of surfaces on the way to the encoder.

    Attributes
    ----------
    source, target : Form
        What comes and what goes.
    crops : bool
        Whether a smaller target is a part of the picture.
    rate, fps : Fraction or None
        The frame rate of the input, and the one to make, where it is to change.
    fetches : bool
        Whether they leave in the host's memory.
    """

    source: Form
    target: Form
    crops: bool = False
    rate: Fraction | None = None
    fps: Fraction | None = None
    fetches: bool = False


class LumaMaker(Closable):
    """Runs one kernel on surfaces of one form; only the luma of its results says something."""

    @abstractmethod
    def make(self, frame: VideoFrame) -> VideoFrame | None:
        """Return what the kernel makes of a surface, in the host's memory; None of another form.

        It has the surface's time and tags.

        Raises
        ------
        DeviceError
            The device refused, or there is too little memory.
        """


class Surfaces(Closable):
    """The surfaces of one video device.

    One thread uses them; any other may ask what was copied, and by which route.

    Parameters
    ----------
    device : Device or None
        What is to read and write surfaces.
    notices : Notices
        Told of what cannot be done in place.
    """

    def __init__(self, device: Device | None, notices: Notices) -> None:
        self._device, self._notices = device, notices

    @property
    @abstractmethod
    def bytes_copied(self) -> int:
        """Bytes copied from surfaces and into them so far, but for the device's own transfers."""

    @property
    @abstractmethod
    def route(self) -> str:
        """The way from a surface to the device that reads and writes it; empty before the first."""

    @property
    @abstractmethod
    def device_bytes(self) -> int:
        """Bytes of the device's memory that were taken at most; 0 where nobody counts them."""

    @property
    def resizing(self) -> Call | None:
        """The kernel that gives results of others the size asked for; None where `fitting` does."""
        return None

    def read(self, frame: VideoFrame) -> XmaFrame:
        """Return a surface as a picture of the device; closing it gives the surface back.

        Raises
        ------
        DeviceError
            The surface cannot be mapped.
        NoRouteError
            No edges lead from surfaces to the device.
        FormatError
            Its format is not in `bridges.formats`.
        """
        # The surface goes back to the decoder once it was read, and its tags go on.
        tags = VideoFrame()
        copy_properties(frame, tags)
        picture = self._picture(frame, self._mapped(frame, AccessMode.READ))
        picture.put_side_data(SideDataType.LIBAV_FRAME, tags)
        return picture

    @abstractmethod
    def _mapped(self, frame: VideoFrame, access: AccessMode) -> Frame:
        """Return a surface in the memory that the device works in."""

    def _picture(self, frame: VideoFrame, mapped: Frame) -> XmaFrame:
        """Return a mapped surface as a picture of the device, which owns the mapping."""
        device = self._device
        assert device is not None  # Who reads and writes has given it.
        in_place = device.driver.shares_host_memory
        buffers: list[BufferObject] = []

        def end() -> None:
            for buffer in buffers:
                buffer.close()
            mapped.close()

        try:
            for tensor in mapped.tensors:
                buffers.append(
                    device.adopt(tensor.handle("data"), tensor.info.span, owner=tensor)
                    if in_place
                    else device.adopt_tensor(tensor)
                )
            last = Countdown(len(buffers), end)
            planes = [
                BufferRef(buffer.view(tensor.info), buffer=buffer, is_clone=True, on_last=last)
                for buffer, tensor in zip(buffers, mapped.tensors, strict=True)
            ]
        except BaseException:
            end()
            raise
        return XmaFrame(frame_info(frame), planes, pts=frame.pts, time_base=frame.time_base)

    @abstractmethod
    def write(self, info: FrameInfo, written: Sequence[int] | None = None) -> XmaFrame:
        """Return a new surface as a picture of the device, to be written.

        Its ``owner`` is the surface, as a frame of PyAV, which shows what was written once the
        picture is closed.

        Parameters
        ----------
        info : FrameInfo
            Its form.
        written : sequence of int, optional
            The planes that will be written, where those are not all. The others say nothing:
            chroma of no colour.
        """

    def luma_maker(
        self,
        kernel: Kernel,
        parameters: Mapping[str, Any],
        frame: VideoFrame,
        made: FrameInfo,
        count: CommandCount,
    ) -> LumaMaker | None:
        """Return what runs a kernel on further surfaces of a form without its session.

        None: the session does it.

        Parameters
        ----------
        kernel, parameters : Kernel, mapping
            Of its result it writes the luma alone.
        frame : av.VideoFrame
            A surface of that form.
        made : FrameInfo
            What the kernel makes of it.
        count : CommandCount
            Of the session, which gives no more commands meanwhile. Each picture is counted as one;
            that it is carried to the host is part of it.
        """
        return None

    @abstractmethod
    def upload(self, picture: VideoFrame) -> VideoFrame:
        """Return a picture in host memory as a surface, which is a copy."""

    @abstractmethod
    def formats(self, codec: Codec) -> tuple[str, ...]:
        """Return how surfaces lie that an encoder takes; empty where it takes none of these."""

    def holds(self, info: FrameInfo) -> bool:
        """Whether a surface can be made for pictures of a form, which `formats` has."""
        return True

    @property
    @abstractmethod
    def rescales(self) -> bool:
        """Whether the steps of `fitting` give their target whatever comes, not of one form only."""

    @abstractmethod
    def stays(self, codec: Codec, source: Form, target: Form, *, crops: bool) -> bool:
        """Whether a surface reaches an encoder without passing the host's memory.

        Parameters
        ----------
        codec : av.Codec
            The encoder.
        source, target : Form
            What a surface is, and what the encoder is to get.
        crops : bool
            Whether a smaller target is a part of the picture.
        """

    @abstractmethod
    def fitting(self, asked: Fitting) -> list[Step]:
        """Return the steps that make of surfaces what the encoder is to get."""
