"""VA-API's memory: surfaces of the video engines of Intel's and AMD's GPUs, through libva."""

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any

from bridges.backends.probe import Probe
from bridges.backends.vaapi_display import (
    DEFAULT_NODE,
    DRIVERS,
    INSTALL,
    Display,
    load,
    open_display,
    render_nodes,
)
from bridges.backends.vaapi_image import can_export, derives_in_place
from bridges.backends.vaapi_surface import (
    PlaneLayout,
    Surface,
    create_surface,
    surface_format,
)
from bridges.context import Context
from bridges.errors import ClosedError, DeviceNotFoundError, FormatError
from bridges.formats import PixelFormat, pixel_format
from bridges.frame import Frame, FrameInfo
from bridges.native.libva import LIBRARIES
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = ["VAAPIContext", "VAAPITensor", "create", "probe", "whole_surface"]


class VAAPITensor(Tensor):
    """One plane of a VA surface, or a part of it.

    Parameters
    ----------
    surface : Surface
        The surface, which the tensors of all its planes share.
    index : int
        The plane.
    info : TensorInfo
        Layout of the samples.
    offset : int
        Bytes from the plane's first sample to the tensor's.
    owner : object, optional
        Who keeps the surface from being drawn into again, such as an AVFrame. It is held until
        ``close()``; a mapping holds it while it is used, so that a cache keeps none from its pool.
    pool : object, optional
        Who keeps the surface's name from being given to other memory, such as a frames context:
        hashable, and equal for the surfaces of one pool.
    context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.VAAPI

    def __init__(
        self,
        surface: Surface,
        index: int,
        info: TensorInfo,
        *,
        offset: int = 0,
        owner: object | None = None,
        pool: Hashable | None = None,
        **tensor: Any,
    ) -> None:
        super().__init__(info, **tensor)
        self._surface: Surface | None = surface
        self.index, self.offset, self.owner, self.pool = index, offset, owner, pool

    @property
    def surface(self) -> Surface:
        """The surface: hold it to have it outlive this tensor.

        Raises
        ------
        ClosedError
            The tensor was closed.
        """
        if self._surface is None:
            raise ClosedError("this VAAPI tensor was closed; map it again")
        return self._surface

    @property
    def position(self) -> tuple[int, int]:
        """Where the tensor starts in the picture: x and y in pixels."""
        plane = self.surface.format.planes[self.index]
        whole = self.surface.planes[self.index]
        y, x = divmod(self.offset, whole.strides[0])
        return x // whole.strides[1] << plane.log2_width, y << plane.log2_height

    def _handles(self) -> dict[str, Any]:
        x, y = self.position
        return {
            "va_surface": self.surface.number,
            "plane_index": self.index,
            "offset_x": x,
            "offset_y": y,
        }

    def memory_owner(self) -> object | None:
        """Return the surface and who keeps it from being drawn into; see `Tensor`."""
        return self.surface, self.owner

    def _part(self, info: TensorInfo, offset: int) -> "VAAPITensor":
        element = self.surface.planes[self.index].strides[1]
        if offset % element or info.shape[2:] != self.info.shape[2:]:
            raise FormatError(
                f"a VA surface cannot be cut between the {element} bytes of one element; map it "
                "to the CPU and cut the array"
            )
        return VAAPITensor(
            self.surface,
            self.index,
            info,
            offset=self.offset + offset,
            owner=self.owner,
            pool=self.pool,
            context=self.context,
            parent=self,
        )

    def memory_key(self) -> Hashable | None:
        """Return display, surface, place and pool; the key holds the pool.

        A surface of this context's own is known by its tensor, one that is somebody else's and of
        no pool by nothing that lasts.
        """
        if self.pool is not None:
            surface = self.surface
            return surface.display.native, surface.number, self.index, self.offset, self.pool
        return super().memory_key() if self.owner is None else None

    def _release(self) -> None:
        self._surface = self.owner = None


class VAAPIContext(Context):
    """A VA display.

    Parameters
    ----------
    display : Display
        Opened by `create`, or somebody else's: see `borrow`.

    Attributes
    ----------
    display : Display
        The display.
    """

    memory_type = MemoryType.VAAPI

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display: Display | None = display
        self.name = f"{display.vendor} on {display.node or 'a display of somebody else'}"

    @classmethod
    def create(cls, selector: str = "") -> "VAAPIContext":
        """Open a device.

        Parameters
        ----------
        selector : str
            The node, ``"/dev/dri/renderD128"`` where it is left out.

        Raises
        ------
        DeviceNotFoundError
            libva, the node or a driver for it is not there; the message says what to do.
        """
        return cls(open_display(selector or DEFAULT_NODE))

    @classmethod
    def borrow(cls, display: int, *, owner: object, node: str = "") -> "VAAPIContext":
        """Use a display that somebody else has initialised.

        Parameters
        ----------
        display : int
            ``VADisplay``, of the libva that this process uses.
        owner : object
            Who terminates it, once nobody holds ``owner`` any more.
        node : str
            The device's node, where it is known.
        """
        return cls(Display(display, node=node, owner=owner))

    @property
    def display(self) -> Display:
        """The display.

        Raises
        ------
        ClosedError
            The context was closed.
        """
        if self._display is None:
            raise ClosedError(f"the VAAPI context {self.name} was closed; open it again")
        return self._display

    def _handles(self) -> dict[str, Any]:
        handles: dict[str, Any] = {"va_display": self.display.native}
        return handles | {"drm_device": self.display.node} if self.display.node else handles

    @cached_property
    def derives_in_place(self) -> bool:
        """Whether the host sees surfaces where they are, and not a copy that the driver makes."""
        return derives_in_place(self.display)

    @cached_property
    def can_export(self) -> bool:
        """Whether the driver hands surfaces out as dma-bufs."""
        return can_export(self.display)

    def wrap(
        self,
        number: int,
        info: FrameInfo,
        *,
        owner: object,
        pool: Hashable | None = None,
        layout: Sequence[PlaneLayout] | None = None,
    ) -> Frame:
        """Return the planes of somebody else's surface, without a copy.

        Parameters
        ----------
        number : int
            ``VASurfaceID`` of this display.
        info : FrameInfo
            What it holds.
        owner, pool
            As for `VAAPITensor`; without a pool no cache keeps a mapping of the surface.
        layout
            As for `Surface`.

        Raises
        ------
        FormatError
            VA-API has no such format.
        """
        surface_format(info.format)
        surface = Surface(self.display, number, info.format, info.width, info.height, layout=layout)
        return self.frame(surface, info, owner=owner, pool=pool)

    def frame(
        self,
        surface: Surface,
        info: FrameInfo,
        *,
        owner: object | None = None,
        pool: Hashable | None = None,
    ) -> Frame:
        """Return the planes of a surface; ``owner`` and ``pool`` are as for `VAAPITensor`."""
        tensors = [
            VAAPITensor(surface, index, plane, owner=owner, pool=pool, context=self)
            for index, plane in enumerate(surface.planes)
        ]
        return Frame(info, tensors)

    def allocate(self, info: TensorInfo) -> VAAPITensor:
        """Return the one plane of a new surface; the driver says how far apart its rows are.

        Raises
        ------
        FormatError
            ``info`` is neither ``(rows, columns)`` nor ``(rows, columns, 4)`` of 8 bits.
        DeviceError
            The driver has no such surfaces, or too little memory.
        """
        name = {(): "gray", (4,): "bgra"}.get(info.shape[2:])
        if len(info.shape) < 2 or info.dtype.str != "|u1" or name is None:
            raise FormatError(
                f"VA-API allocates planes of (rows, columns) or (rows, columns, 4) of 8 bits, not "
                f"{info.shape} of {info.dtype}; allocate a whole frame with allocate_frame"
            )
        surface = self._create(pixel_format(name), info.shape[1], info.shape[0])
        return VAAPITensor(surface, 0, surface.planes[0], context=self)

    def allocate_frame(self, info: FrameInfo) -> Frame:
        """Return a frame in a new surface; the samples start undefined.

        Raises
        ------
        FormatError
            VA-API has no such format.
        DeviceError
            The driver has no such surfaces, or too little memory.
        """
        return self.frame(self._create(info.format, info.width, info.height), info)

    def _create(self, form: PixelFormat, width: int, height: int) -> Surface:
        if width < 1 or height < 1:
            raise FormatError(f"a VA surface has at least one pixel, got {width}x{height}")
        return create_surface(self.display, form, width, height)

    def _derive(self, memory_type: MemoryType) -> Context | None:
        if memory_type is MemoryType.DMA:
            from bridges.backends.dma import DMAContext

            return DMAContext(drm_device=self.display.node or None)
        return None

    def close(self) -> None:
        """Let go of the display, which its surfaces hold on to; may be repeated."""
        super().close()
        self._display = None


def whole_surface(frame: Frame) -> tuple[Surface, int, int]:
    """Return the surface of a frame and where the frame starts in it: x and y in pixels.

    Raises
    ------
    FormatError
        The frame's planes are of several surfaces or of several places in one.
    """
    tensors = [tensor for tensor in frame.tensors if isinstance(tensor, VAAPITensor)]
    surface = tensors[0].surface
    x, y = tensors[0].position
    for index, (tensor, dense) in enumerate(zip(tensors, frame.info.planes, strict=True)):
        steps = tensor.info.strides == surface.planes[index].strides
        is_same = tensor.surface is surface and tensor.index == index and tensor.position == (x, y)
        if not (is_same and steps and tensor.info.shape == dense.shape):
            raise FormatError(
                f"plane {index} of this frame is not the same part of the same VA surface as the "
                "others; map its planes one by one"
            )
    return surface, x, y


def create(selector: str = "") -> VAAPIContext:
    """Open a device; see `VAAPIContext.create`."""
    return VAAPIContext.create(selector)


def probe() -> Probe:
    """Report the render nodes that a driver is there for."""
    try:
        load()
    except DeviceNotFoundError as error:
        return Probe("vaapi", False, str(error), INSTALL)
    found, refused = [], []
    for node in render_nodes():
        try:
            with VAAPIContext.create(node) as context:
                found.append(context.name)
        except DeviceNotFoundError as error:
            refused.append(str(error))
    if found:
        return Probe("vaapi", True, LIBRARIES[0], devices=tuple(found))
    reason = "; ".join(refused) or "there is no render node in /dev/dri"
    return Probe("vaapi", False, reason, DRIVERS)
