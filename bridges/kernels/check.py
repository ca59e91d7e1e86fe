"""Trying a kernel on every device of the machine, and comparing what they make, bit by bit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bridges.backends.cpu import CPUContext
from bridges.errors import FormatError, KernelError, XTranscodeError
from bridges.formats import pixel_format
from bridges.frame import Colour, ColourRange, Frame, FrameInfo, TensorFrame
from bridges.kernels.devices import Device
from bridges.kernels.float_reference import float_reference
from bridges.kernels.kernel import Kernel, Parameter, Value
from bridges.kernels.recipe import Info
from bridges.kernels.runtime import Runtime
from bridges.mapper import MemoryMapper, create_mapper
from bridges.tensor import AccessMode, TensorInfo

__all__ = ["Result", "check", "trials"]

FORMATS = ("rgba", "rgb48le", "nv12", "yuv420p10le")
"""Interleaved and planar, RGB and YUV, of 8, 10 and 16 bits; few, since each is compiled anew."""

SIZES = ((5, 3), (66, 7))
_LAYOUTS = ((64, 0), (3, 1))
"""Bytes that strides are multiples of, one more than a multiple where that is odd; and how many
bytes after such a multiple a plane begins. A result must not depend on either."""
_LARGEST = 1 << 20
"""Pixels of a result; the end of a range may make more, which would tell no more."""

Arrays = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class Result:
    """What came of a kernel on one device.

    Attributes
    ----------
    name : str
        The device's, or that of a reference.
    state : str
        ``"measure"``, what the others are compared with; ``"equal"``; ``"differs"``; ``"failed"``,
        where the kernel does not compile or run; ``"skipped"``, where no kernel does.
    detail : str
        The first difference, or why it failed.
    formats : tuple of str
        Pixel formats that were tried.
    pictures : int
        How many pictures were compared.
    """

    name: str
    state: Literal["measure", "equal", "differs", "failed", "skipped"]
    detail: str = ""
    formats: tuple[str, ...] = ()
    pictures: int = 0


@dataclass(frozen=True, eq=False)
class _Case:
    """A picture that a kernel is run on, and what it makes of it."""

    info: FrameInfo
    values: Mapping[str, Value]
    made: Info
    planes: Arrays
    previous: Arrays

    def __str__(self) -> str:
        text = f"{self.info.format.name} {self.info.width}x{self.info.height}"
        return ", ".join([text, *(f"{name}={value}" for name, value in self.values.items())])


def check(
    kernel: Kernel,
    given: Mapping[str, Value],
    runtimes: Sequence[Device],
    reference: Callable[..., Any] | None = None,
) -> Iterator[Result]:
    """Run a kernel on pictures of several formats, sizes and strides, and yield what came of it.

    Parameters
    ----------
    kernel : Kernel
        What to try. One that has a NumPy reference is compared with that, any other with the
        first device's result.
    given : mapping
        Parameters; where there are none, the defaults and the ends of all ranges are tried.
    runtimes : sequence of Device
        As `bridges.kernels.devices.devices` gives them.
    reference : callable, optional
        What it computes, on float64; see `bridges.kernels.float_reference`. It is compared within
        a code.

    Raises
    ------
    KernelError
        A parameter is wrong or missing, the kernel takes none of the pictures, or it is no point
        kernel and there is a ``reference``.
    """
    if reference is not None and kernel.kind != "point":
        raise KernelError(
            f"{kernel.name} takes no reference on float64, which tells what becomes of one pixel; "
            "leave it out, and the kernel's own NumPy reference is taken"
        )
    cases = _cases(kernel, given)
    formats = tuple(dict.fromkeys(case.info.format.name for case in cases))
    measure: list[Arrays] | None = None
    if not kernel.file or kernel.reference is not None:
        measure = [_computed(kernel, case) for case in cases]
        yield Result("NumPy reference", "measure", "", formats, len(cases))
    for device in runtimes:
        if device.runtime is None:
            yield Result(device.name, "skipped", device.reason)
            continue
        try:
            found = _run(device.runtime, kernel, cases)
        except XTranscodeError as error:
            yield Result(device.name, "failed", str(error))
            continue
        is_measure = measure is None
        measure = measure or found[0]
        detail = next(filter(None, (_difference(cases, each, measure) for each in found)), "")
        state: Any = "differs" if detail else "measure" if is_measure else "equal"
        yield Result(device.name, state, detail, formats, len(cases) * len(_LAYOUTS))
    if reference is not None and measure is not None:
        yield _compared(kernel, cases, measure, reference)


def trials(kernel: Kernel, given: Mapping[str, Value]) -> list[dict[str, Value]]:
    """Return the parameters to try: those given, or the defaults and the ends of every range."""
    if given:
        return [kernel.check(given)]
    ends = {each.name: _ends(each) for each in kernel.parameters}
    first = {
        each.name: ends[each.name][0] if each.default is None and ends[each.name] else each.default
        for each in kernel.parameters
    }
    made = [kernel.check(first)]
    for name, values in ends.items():
        made += [{**made[0], name: value} for value in values if value != made[0][name]]
    return made


def _ends(parameter: Parameter) -> list[Value]:
    if parameter.type is bool:
        return [False, True]
    if parameter.low is not None and parameter.high is not None:
        return [parameter.type(parameter.low), parameter.type(parameter.high)]
    return list(parameter.choices)


def _cases(kernel: Kernel, given: Mapping[str, Value]) -> list[_Case]:
    known = [name for name in FORMATS if name in kernel.formats_read]
    cases, refusal = [], ""
    for name in known or kernel.formats_read[: len(FORMATS)]:
        for values in trials(kernel, given):
            for number, (width, height) in enumerate(SIZES):
                colour = Colour(range=(ColourRange.LIMITED, ColourRange.FULL)[number % 2])
                info = FrameInfo(pixel_format(name), width, height, colour)
                try:
                    made = kernel.output(info, **values)
                except (FormatError, KernelError) as error:
                    refusal = str(error)
                    continue
                if isinstance(made, FrameInfo) and made.width * made.height > _LARGEST:
                    continue
                before = _noise(info, 1) if kernel.takes_previous else []
                cases.append(_Case(info, values, made, _noise(info, 0), before))
    if not cases:
        raise KernelError(
            f"{kernel.name} takes none of the pictures that it is tried on: {refusal}"
        )
    return cases


def _noise(info: FrameInfo, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    codes = (random.integers(0, 1 << info.format.bits, plane.shape) for plane in info.planes)
    return [(code << info.format.shift).astype(info.format.dtype) for code in codes]


def _tensors(made: Info) -> Sequence[TensorInfo]:
    return made.planes if isinstance(made, FrameInfo) else made.tensors


def _computed(kernel: Kernel, case: _Case) -> Arrays:
    """Return what the NumPy reference makes."""
    out = [np.zeros(each.shape, each.dtype) for each in _tensors(case.made)]
    written = kernel.written(case.made)
    planes: Any = [array if k in written else None for k, array in enumerate(out)]
    kernel.compute([*case.planes, *case.previous], case.info, case.made, planes, case.values)
    return out


def _run(runtime: Runtime, kernel: Kernel, cases: list[_Case]) -> list[list[Arrays]]:
    """Return what a device makes of all pictures, once for each layout."""
    mapper = create_mapper([CPUContext(), runtime.context])
    return [[_made(runtime, mapper, kernel, case, each) for case in cases] for each in _LAYOUTS]


def _made(
    runtime: Runtime, mapper: MemoryMapper, kernel: Kernel, case: _Case, layout: tuple[int, int]
) -> Arrays:
    source = _frame(case.info, case.planes, layout)
    previous = _frame(case.info, case.previous, layout) if case.previous else None
    target = _frame(case.made, [], layout)
    with ExitStack() as stack:
        read: Any = stack.enter_context(mapper.map(source, AccessMode.READ))
        before: Any = previous and stack.enter_context(mapper.map(previous, AccessMode.READ))
        written: Any = stack.enter_context(mapper.map(target, AccessMode.READ_WRITE))
        runtime.run(kernel, read, written, case.values, previous=before)
    return [tensor.handle("array") for tensor in target.tensors]


def _frame(info: Info, content: Arrays, layout: tuple[int, int]) -> Any:
    """Return a frame in host memory; of zeros where there is no content."""
    is_picture = isinstance(info, FrameInfo)
    arrays = [_laid_out(each, layout if is_picture else (1, 0)) for each in _tensors(info)]
    for array, values in zip(arrays, content, strict=False):
        array[...] = values
    tensors = [CPUContext().wrap(array) for array in arrays]
    return Frame(info, tensors) if isinstance(info, FrameInfo) else TensorFrame(info, tensors)


def _laid_out(info: TensorInfo, layout: tuple[int, int]) -> npt.NDArray[Any]:
    """Return an array of zeros in memory of that layout; see `_LAYOUTS`."""
    multiple, shift = layout
    stride = -(-info.strides[0] // multiple) * multiple + shift
    memory = np.zeros(stride * info.shape[0] + 64 + shift, np.uint8)
    start = -memory.ctypes.data % 64 + shift
    strides = (stride, *info.strides[1:])
    return np.ndarray(info.shape, info.dtype, memory.data, start, strides)


def _difference(cases: list[_Case], found: list[Arrays], wanted: list[Arrays]) -> str:
    """Return the first difference, in words; nothing where all is equal."""
    for case, arrays, expected in zip(cases, found, wanted, strict=True):
        for plane, (array, other) in enumerate(zip(arrays, expected, strict=True)):
            places = np.argwhere(array != other)
            if len(places):
                place = tuple(places[0])
                return (
                    f"{_place(case, plane, place)}: {array[place]}, not {other[place]} "
                    f"({len(places)} of {array.size} samples differ)"
                )
    return ""


def _place(case: _Case, plane: int, place: Sequence[Any]) -> str:
    names = ("row", "column", "channel") if isinstance(case.made, FrameInfo) else ()
    at = [f"{name} {int(number)}" for name, number in zip(names, place, strict=False)]
    return f"{case}: plane {plane}, {', '.join(at) or tuple(map(int, place))}"


def _compared(
    kernel: Kernel, cases: list[_Case], measure: list[Arrays], reference: Callable[..., Any]
) -> Result:
    """Compare with a reference on float64: within a code, of 10 bits where there are more."""
    worst, where, detail = 0.0, "", ""
    for case, arrays in zip(cases, measure, strict=True):
        layout = case.info.format
        code = 1 << max(layout.bits - 10, 0)
        exact = replace(kernel, reference=float_reference(reference, case.values))
        for plane, (array, other) in enumerate(zip(arrays, _computed(exact, case), strict=True)):
            found, wanted = ((each >> layout.shift).astype(np.int64) for each in (array, other))
            apart = np.abs(found - wanted)
            place = tuple(np.argwhere(apart == apart.max())[0])
            if apart[place] > worst * code:
                worst = apart[place] / code
                where = f"{apart[place]} of {(1 << layout.bits) - 1} in {case}"
                if worst > 1:
                    detail = f"{_place(case, plane, place)}: {found[place]}, not {wanted[place]}"
    formats = tuple(dict.fromkeys(case.info.format.name for case in cases))
    within = f"within a code; the largest difference is {where}" if where else "every code is alike"
    state: Any = "differs" if detail else "equal"
    return Result("float64 reference", state, detail or within, formats, len(cases))
