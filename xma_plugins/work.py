"""What a register map asks for: the frames that it points to, and the kernel that runs on them."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bridges.closable import Closable
from bridges.frame import Frame, FrameInfo, TensorFrame
from bridges.kernels.kernel import Kernel, Parameter, Value
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.compute_unit import ComputeUnit
from xma_plugins.drivers.driver import Driver
from xma_plugins.errors import InvalidError
from xma_plugins.planes import Planes, read_frame, read_planes
from xma_plugins.registers import RegisterMap

if TYPE_CHECKING:
    from bridges.kernels.runtime import Event
    from xma_plugins.buffers import BufferObject

__all__ = ["FindBuffer", "Work"]

FindBuffer = Callable[[int], "BufferObject"]
"""Returns the buffer that an address is in, or raises `InvalidError`."""


class Work(Closable):
    """One command made ready: every pointer is resolved, and its buffer held until ``close()``.

    Parameters
    ----------
    compute_unit : ComputeUnit
        What is to work.
    registers : RegisterMap
        What it is told.
    find_buffer : callable
        Returns the buffer that an address is in.
    driver : Driver
        Of the device.

    Raises
    ------
    InvalidError
        A register holds what cannot be, or a plane is not inside of a buffer.
    BufferUseError
        A buffer was freed.
    KernelError, FormatError
        The kernel does not take these parameters, or these pictures.
    """

    def __init__(
        self,
        compute_unit: ComputeUnit,
        registers: RegisterMap,
        find_buffer: FindBuffer,
        driver: Driver,
    ) -> None:
        self._unit, self._registers = compute_unit, registers
        self._find, self._driver = find_buffer, driver
        self._spans: dict[str, list[tuple[int, int, Tensor]]] = {"read": [], "written": []}
        self._views: dict[tuple[int, TensorInfo], Tensor] = {}
        self._arguments: tuple[Any, ...] = ()
        self._held = ExitStack()
        try:
            values = registers.read(compute_unit.layout)
            if compute_unit.kernel is None:
                self._hold_all(values)
            else:
                self._arguments = self._frames(compute_unit.kernel, values)
        except BaseException:
            self.close()
            raise

    def start(self) -> "Event":
        """Start the work; see `Driver.enqueue`."""
        if self._unit.hardware is not None:
            return self._driver.start(self._unit.hardware, self._registers)
        return self._driver.enqueue(*self._arguments)

    def close(self) -> None:
        """Let go of all buffers; may be repeated."""
        self._arguments = ()
        self._views = {}
        self._spans = {}
        self._held.close()

    def _hold_all(self, values: dict[str, Any]) -> None:
        """Hold what hardware is pointed to: it tells of no more than where that begins."""
        for argument in self._unit.arguments:
            address = values[argument.name]
            if argument.type == "address" and address:
                self._hold(address)

    def _hold(self, address: int) -> "BufferObject":
        buffer = self._find(address)
        buffer.hold()
        self._held.callback(buffer.let_go)
        return buffer

    def _frames(self, kernel: Kernel, values: dict[str, Any]) -> tuple[Any, ...]:
        """Return the arguments of `Driver.enqueue`."""
        parameters = {each.name: _typed(each, values[each.name]) for each in kernel.parameters}
        read = read_frame(values, "source")
        assert isinstance(read.info, FrameInfo)
        made = kernel.output(read.info, **parameters)
        if isinstance(made, FrameInfo):
            write = read_frame(values, "target")
        else:
            write = Planes(made, *read_planes(values, "target", len(made.tensors)))
        source = Frame(read.info, self._tensors("source", read, "read"))
        previous = None
        if kernel.takes_previous and values["previous_plane0"]:
            before = read_frame(values, "previous")
            assert isinstance(before.info, FrameInfo)
            previous = Frame(before.info, self._tensors("previous", before, "read"))
        tensors = self._tensors("target", write, "written", kernel.written(write.info))
        self._refuse_overlap()
        kind: Any = Frame if isinstance(made, FrameInfo) else TensorFrame
        return kernel, source, kind(write.info, tensors), parameters, previous

    def _tensors(
        self, frame: str, planes: Planes, use: str, needed: tuple[int, ...] | None = None
    ) -> list[Tensor]:
        """Return a tensor for each plane; where none is needed, and none given, any stands in."""
        tensors: list[Tensor] = []
        for number, (address, layout) in enumerate(
            zip(planes.addresses, planes.layouts, strict=True)
        ):
            is_needed = needed is None or number in needed
            if not is_needed and not address:
                tensors.append(tensors[0])
                continue
            name = f"{frame}_plane{number}"
            tensor = self._tensor(name, address, layout)
            if is_needed:
                self._spans[use].append((address, address + layout.span, tensor))
            tensors.append(tensor)
        return tensors

    def _tensor(self, name: str, address: int, layout: TensorInfo) -> Tensor:
        # A picture that is its own target has to be the same tensors.
        view = self._views.get((address, layout))
        if view is None:
            try:
                buffer = self._hold(address)
            except InvalidError as error:
                raise type(error)(f"{name} of {self._unit.name}: {error}") from error
            offset = address - buffer.paddr
            if offset + layout.span > buffer.size:
                raise InvalidError(
                    f"{name} of {self._unit.name} takes {layout.span} bytes from byte {offset} on "
                    f"of a {buffer}, which ends before"
                )
            view = buffer.view(layout, offset)
            self._views[address, layout] = view
        return view

    def _refuse_overlap(self) -> None:
        """Refuse to write over what is read, but for planes that are the very same."""
        for start, end, tensor in self._spans["written"]:
            for other_start, other_end, other in self._spans["read"]:
                if start < other_end and other_start < end and tensor is not other:
                    raise InvalidError(
                        f"{self._unit.name} would write to {start:#x} to {end:#x} while it reads "
                        f"{other_start:#x} to {other_end:#x}; let them be the same, or apart"
                    )


def _typed(parameter: Parameter, value: Any) -> Value:
    """Return a register's value in a parameter's own type."""
    if parameter.type is not bool:
        return parameter.type(value)
    if value not in (0, 1):
        raise InvalidError(f"argument {parameter.name!r} is 0 or 1, got {value}")
    return bool(value)
