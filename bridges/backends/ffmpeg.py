"""FFmpeg's memory: the planes of an AVFrame in host memory or on a device, through PyAV."""

import ctypes as c
import functools
import threading
import weakref
from collections.abc import Hashable
from typing import Any, NamedTuple

import av
import numpy.typing as npt
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg_hardware import (
    HARDWARE,
    device_reference,
    hardware_of,
    new_drm_device,
    new_frames_context,
    plane_pitches,
    software_name,
)
from bridges.backends.ffmpeg_properties import set_info
from bridges.backends.host_array import HostArray, array_at
from bridges.backends.layout import plane_layout
from bridges.backends.probe import Probe
from bridges.context import Context
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError, FormatError
from bridges.formats import PixelFormat, pixel_format
from bridges.frame import Colour, ColourRange, Frame, FrameInfo, Matrix
from bridges.native.libavutil import AVBufferRef, AVFrame, frame_head, frame_pointer, library
from bridges.native.libavutil_cuda import cuda_device
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = [
    "FFmpegContext",
    "FFmpegTensor",
    "create",
    "frame_form",
    "frame_info",
    "frame_place",
    "new_frame",
    "probe",
]


class FFmpegTensor(HostArray, Tensor):
    """One plane of an AVFrame; its parent is the PyAV frame.

    Parameters
    ----------
    frame : av.VideoFrame
        The frame.
    index : int
        The plane.
    address : int
        Of the first sample; 0 where the frame is on a device.
    info, context, parent, on_close
        As for `Tensor`.
    device_address : int
        Of the first sample of a frame on a CUDA device; else 0.
    """

    memory_type = MemoryType.FFMPEG

    def __init__(
        self,
        frame: VideoFrame,
        index: int,
        address: int,
        info: TensorInfo,
        *,
        device_address: int = 0,
        **tensor: Any,
    ) -> None:
        super().__init__(info, parent=frame, **tensor)
        self._index = index
        self._address = address
        self.device_address = device_address

    def _handles(self) -> dict[str, Any]:
        handles = {"av_frame": self.parent, "plane_index": self._index}
        return handles | {"data": self._address} if self._address else handles

    def memory_key(self) -> Hashable | None:
        """Return what identifies the memory of a VA surface; see `Tensor.memory_key`.

        FFmpeg gives host memory to other frames as soon as it has it back.
        """
        context = self.context
        if not isinstance(context, FFmpegContext) or context.hardware != "vaapi":
            return super().memory_key()
        from bridges.backends.vaapi_ffmpeg import surface_key

        return surface_key(self.handle("av_frame"), self._index)

    def _host_array(self) -> npt.NDArray[Any]:
        if not self._address and not self.closed:
            raise FormatError("this frame is on a device; map it to the CPU first")
        # FFmpeg itself refuses nobody who writes into a frame that others read.
        return array_at(
            self.handle("data"), self.info, owner=self.handle("av_frame"), writeable=True
        )

    def _release(self) -> None:
        """Nothing to do: the PyAV frame owns the samples, and ``parent`` holds it."""


_DATA_OFFSET = AVBufferRef.data.offset

_KEPT_FORMS = 8


class _Form(NamedTuple):
    """What frames of one pool, size and colour have in common."""

    format: PixelFormat
    colour: Colour
    layouts: tuple[TensorInfo, ...]


class FFmpegContext(Context):
    """FFmpeg's frames in host memory, or on one device.

    Parameters
    ----------
    hardware : str
        Empty for host memory, else the kind of the device's memory: ``"drm_prime"``, ``"vaapi"``
        or ``"cuda"``.
    device : int, optional
        ``AVBufferRef *`` of an AVHWDeviceContext, of which the context takes a reference of its
        own. Where it is left out, the first frame that is wrapped tells the device.

    Attributes
    ----------
    hardware : str
        As above.

    Raises
    ------
    DeviceNotFoundError
        There is no such kind of memory.
    """

    memory_type = MemoryType.FFMPEG

    def __init__(self, hardware: str = "", *, device: int = 0) -> None:
        super().__init__()
        if hardware and hardware not in HARDWARE:
            raise DeviceNotFoundError(
                f"FFmpeg shares no {hardware!r} memory, only {', '.join(HARDWARE)}; leave it empty "
                "for host memory"
            )
        self.hardware = hardware
        self.name = f"FFmpeg {hardware}".rstrip()
        self.shares_host_memory = not hardware
        self._device = c.c_void_p()
        self._lock = threading.Lock()
        self._frames: dict[tuple[Any, ...], c.c_void_p] = {}
        self._forms: dict[tuple[int, ...], _Form] = {}
        self._cuda: tuple[int, int] | None = None
        self._letting_go = weakref.finalize(self, _unreference, self._frames, self._device)
        if device:
            self._belongs_to(device)

    def _handles(self) -> dict[str, Any]:
        return {"ffmpeg.device_context": self._device.value} if self._device else {}

    def _belongs_to(self, reference: int) -> bool:
        """Return whether frames of a device are this context's; the first device becomes its own.

        Frames of DRM_PRIME are the same memory for every device.
        """
        with self._lock:
            if not self._device:
                self._device.value = library().av_buffer_ref(reference)
            own = AVBufferRef.from_address(self._device.value or 0).data
        return self.hardware == "drm_prime" or AVBufferRef.from_address(reference).data == own

    def _derive(self, memory_type: MemoryType) -> Context | None:
        if memory_type is MemoryType.DMA and self.hardware == "drm_prime":
            from bridges.backends.dma import DMAContext

            return DMAContext()
        if memory_type is MemoryType.VAAPI and self.hardware == "vaapi":
            from bridges.backends.vaapi_ffmpeg import borrow_device

            return borrow_device(self.handle("ffmpeg.device_context"))
        return None

    def wrap(self, frame: VideoFrame) -> Frame:
        """Return the planes of a decoded frame, without a copy.

        Those of a frame on a device have no ``"data"``; their rows are said to be as far apart as
        FFmpeg knows, and dense where only the driver knows.

        Parameters
        ----------
        frame : av.VideoFrame
            In this context's kind of memory, of a format that `bridges.formats` knows.

        Raises
        ------
        FormatError
            The format is not in the table, the frame is empty or in memory of another kind or
            device, or its rows lie bottom-up.
        ClosedError
            The context was closed.
        """
        hardware = hardware_of(frame)
        if hardware != self.hardware:
            raise FormatError(
                f"this FFmpeg context takes frames in {self.hardware or 'host'} memory, got one in "
                f"{hardware or 'host'} memory ({frame.format.name}); download or upload it, or "
                f"wrap it with FFmpegContext(hardware={hardware!r})"
            )
        return self._wrap_hardware(frame) if hardware else self._wrap_host(frame)

    def _wrap_host(self, frame: VideoFrame) -> Frame:
        info = frame_info(frame)
        native = AVFrame.from_address(frame_pointer(frame))
        tensors = []
        for index in range(len(info.format.planes)):
            stride = native.linesize[index]
            address = native.data[index]
            if address is None or stride <= 0:
                raise FormatError(
                    f"plane {index} of this {info.format.name} frame has no rows in host memory "
                    f"(stride {stride}); download it from its device or flip it first"
                )
            layout = plane_layout(info.format, index, info.width, info.height, stride)
            tensors.append(FFmpegTensor(frame, index, address, layout, context=self))
        return Frame(info, tensors)

    def _wrap_hardware(self, frame: VideoFrame) -> Frame:
        if self._closed:
            raise ClosedError(f"the {self.name} context was closed; make another one")
        addresses, key = frame_place(frame)
        form = self._forms.get(key)
        if form is None:
            form = self._form(frame)
            if self.hardware == "cuda" and key[-1]:
                self._keep(key, form, AVFrame.from_address(frame_pointer(frame)).hw_frames_ctx)
        info = FrameInfo(form.format, key[3], key[4], form.colour, frame.pts, frame.time_base)
        if self.hardware != "cuda":
            addresses = 0, 0, 0
        return Frame(
            info,
            [
                FFmpegTensor(frame, index, 0, layout, context=self, device_address=addresses[index])
                for index, layout in enumerate(form.layouts)
            ],
        )

    def _form(self, frame: VideoFrame) -> _Form:
        info = frame_info(frame)
        pitches = plane_pitches(frame, len(info.format.planes))
        reference = device_reference(frame)
        if reference and not self._belongs_to(reference):
            raise FormatError(
                f"this {self.hardware} frame is of another device than the first one, or than the "
                "one that this context was made for; make an FFmpegContext for each device"
            )
        layouts = tuple(
            plane_layout(info.format, index, info.width, info.height, pitch)
            for index, pitch in enumerate(pitches)
        )
        return _Form(info.format, info.colour, layouts)

    def _keep(self, key: tuple[int, ...], form: _Form, frames: int) -> None:
        """Know a form again, by the address of its pool, of which a reference is taken."""
        with self._lock:
            if len(self._forms) >= _KEPT_FORMS:
                self._forms.clear()
                for known in [known for known in self._frames if known[0] == "pool"]:
                    library().av_buffer_unref(c.byref(self._frames.pop(known)))
            self._forms[key] = form
            if ("pool", key[-1]) not in self._frames:
                self._frames["pool", key[-1]] = c.c_void_p(library().av_buffer_ref(frames))

    @property
    def cuda(self) -> tuple[int, int]:
        """The ``CUcontext`` and the ``CUstream`` of the CUDA device that frames are on.

        Raises
        ------
        KeyError
            No frame has told the device yet.
        """
        if self._cuda is None:
            device = cuda_device(self.handle("ffmpeg.device_context"))
            self._cuda = device.cuda_ctx or 0, device.stream or 0
        return self._cuda

    def allocate(self, info: TensorInfo) -> FFmpegTensor:
        """Return one gray plane in a new AVFrame.

        Raises
        ------
        FormatError
            ``info`` is not two-dimensional with 8 or 16 bits a sample.
        DeviceError
            The frames of this context are on a device.
        """
        names = {"u1": "gray", "u2": "gray16le"}
        name = names.get(info.dtype.str[1:])
        if len(info.shape) != 2 or name is None:
            raise FormatError(
                f"FFmpeg allocates planes of (rows, columns) of 8 or 16 bits, not {info.shape} "
                f"of {info.dtype}; allocate a whole frame with allocate_frame"
            )
        self._check_host()
        frame = self.wrap(VideoFrame(info.shape[1], info.shape[0], name))
        tensor = frame.tensors[0]
        assert isinstance(tensor, FFmpegTensor)
        return tensor

    def allocate_frame(self, info: FrameInfo) -> Frame:
        """Return a frame in new, reference-counted FFmpeg memory; the samples start undefined.

        Raises
        ------
        DeviceError
            The frames of this context are on a device.
        """
        self._check_host()
        return self.wrap(new_frame(info))

    def frames_context(self, info: FrameInfo) -> int:
        """Return the ``AVBufferRef *`` of an AVHWFramesContext for frames of DRM_PRIME.

        It is made at the first call for a format and size, and lives until ``close()``.

        Raises
        ------
        DeviceError
            This context is for other memory, or FFmpeg cannot make it.
        ClosedError
            The context was closed.
        """
        if self._closed:
            raise ClosedError(f"the {self.name} context was closed; make another one")
        if self.hardware != "drm_prime":
            raise DeviceError(f"{self.name} wraps frames, and makes none for memory that exists")
        key = info.format.name, info.width, info.height
        with self._lock:
            if key not in self._frames:
                if not self._device:
                    self._device.value = new_drm_device()
                device = self._device.value or 0
                self._frames[key] = new_frames_context(device, "drm_prime", *key)
            return self._frames[key].value or 0

    def _check_host(self) -> None:
        if self.hardware:
            raise DeviceError(
                f"FFmpeg makes frames in {self.hardware} memory in decoders and filters only; "
                "allocate host memory, or memory of the device's own kind, and map it"
            )

    def close(self) -> None:
        """Let go of the device; may be repeated. Frames that are still open stay usable."""
        super().close()
        self._forms.clear()
        self._letting_go()


def _unreference(frames: dict[tuple[Any, ...], c.c_void_p], device: c.c_void_p) -> None:
    for reference in (*frames.values(), device):
        if reference:
            library().av_buffer_unref(c.byref(reference))
    frames.clear()


def new_frame(info: FrameInfo) -> VideoFrame:
    """Return an AVFrame in new host memory, with the colour and time of ``info``."""
    frame = VideoFrame(info.width, info.height, info.format.name)
    set_info(frame, info)
    return frame


def frame_place(frame: VideoFrame) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return where a frame on a device lies, as FFmpeg tells it, and of which form it is.

    Returns
    -------
    addresses : tuple of int
        Of three planes; 0 where there is none.
    form : tuple of int
        Equal for frames of one pool, size, layout and colour.
    """
    head = frame_head(frame)
    pool = c.c_uint64.from_address(head[-1] + _DATA_OFFSET).value if head[-1] else 0
    return head[:3], (*head[3:12], pool)


def frame_info(frame: VideoFrame) -> FrameInfo:
    """Return what a PyAV frame says of itself; of one on a device, as it lies in memory there.

    Raises
    ------
    FormatError
        Its pixel format is not in `bridges.formats`, or the device's is not told.
    """
    form = frame_form(frame)
    return FrameInfo(form.format, form.width, form.height, form.colour, frame.pts, frame.time_base)


def frame_form(frame: VideoFrame) -> FrameInfo:
    """Return what `frame_info` does, without a time: one object for all frames of a form.

    Raises
    ------
    FormatError
        As of `frame_info`.
    """
    name = frame.format.name
    native = AVFrame.from_address(frame_pointer(frame))
    return _timeless(
        software_name(frame) if name in HARDWARE else name,
        native.width,
        native.height,
        native.colorspace,
        native.color_range,
        native.color_primaries,
        native.color_trc,
    )


@functools.lru_cache(256)
def _timeless(
    name: str,
    width: int,
    height: int,
    matrix: int,
    colour_range: int,
    primaries: int,
    transfer: int,
) -> FrameInfo:
    colour = Colour(Matrix(matrix), ColourRange(colour_range), primaries, transfer)
    return FrameInfo(pixel_format(name), width, height, colour)


def create(selector: str = "") -> FFmpegContext:
    """Return FFmpeg's frames in host memory, or in the device memory that is selected.

    Parameters
    ----------
    selector : str
        As for `FFmpegContext`: empty, ``"drm_prime"``, ``"vaapi"`` or ``"cuda"``.
    """
    return FFmpegContext(selector)


def probe() -> Probe:
    """Report PyAV and the FFmpeg in it."""
    version = ".".join(map(str, av.library_versions["libavutil"]))
    return Probe(
        name="ffmpeg",
        available=True,
        reason=f"PyAV {av.__version__}, libavutil {version}",
        remedy="",
        devices=(),
    )
