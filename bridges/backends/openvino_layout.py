"""How samples in host memory become an ``ov.Tensor`` over that very memory.

openvino's Python tensors are dense, or a box cut out of a dense one. So rows with padding are a
dense tensor as wide as the distance between rows, and of that the part that holds samples. Where
that distance is no whole number of pixels, no such tensor exists: the rows are then shown as rows
of *samples*, ``(rows, columns * channels)`` in place of ``(rows, columns, channels)``.

openvino's CPU plugin packs a box for itself as part of an inference, and can do so (2026.4) for u8,
i8, i32, f16, f32 and boolean; a request given a box of 16-bit integers fails ("does not support u16
for use with oneDNN"). Dense tensors are taken in every type.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.backends.host_array import array_at
from bridges.backends.openvino_library import load_openvino
from bridges.errors import FormatError
from bridges.tensor import TensorInfo

if TYPE_CHECKING:
    import openvino as ov
else:
    ov = load_openvino()

__all__ = ["Layout", "describe", "layout_of"]

_TYPES: dict[np.dtype[Any], Any] = {
    np.dtype(np.bool_): ov.Type.boolean,
    np.dtype(np.uint8): ov.Type.u8,
    np.dtype(np.int8): ov.Type.i8,
    np.dtype(np.uint16): ov.Type.u16,
    np.dtype(np.int16): ov.Type.i16,
    np.dtype(np.uint32): ov.Type.u32,
    np.dtype(np.int32): ov.Type.i32,
    np.dtype(np.uint64): ov.Type.u64,
    np.dtype(np.int64): ov.Type.i64,
    np.dtype(np.float16): ov.Type.f16,
    np.dtype(np.float32): ov.Type.f32,
    np.dtype(np.float64): ov.Type.f64,
}
"""Sample types that both sides have. Beyond them openvino hands out NumPy types that are not its
own (bf16 as float16, packed 4-bit as bytes), and takes big-endian samples for little-endian."""

_DTYPES = {kind: dtype for dtype, kind in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Layout:
    """How openvino sees one block of samples.

    Attributes
    ----------
    shape : tuple of int
        As openvino shows it.
    around : TensorInfo
        The dense tensor that it is cut out of; of the same shape where nothing is cut.
    is_exact : bool
        Whether ``shape`` is the one asked for, and not rows of samples.
    """

    shape: tuple[int, ...]
    around: TensorInfo
    is_exact: bool

    @property
    def element_type(self) -> Any:
        """The ``ov.Type`` of one sample."""
        return _TYPES[self.around.dtype]

    def over(self, address: int, owner: object) -> tuple[Any, Any]:
        """Return an ``ov.Tensor`` over the samples at ``address``, and what must outlive it.

        Parameters
        ----------
        address : int
            Of the first sample.
        owner : object
            What frees the memory when it goes; part of what must outlive the tensor.
        """
        # The padding after the last row may be somebody else's: it is described, never touched.
        dense = array_at(address, self.around, owner=owner, writeable=True)
        return self._cut(ov.Tensor(dense, shared_memory=True))

    def allocate(self) -> tuple[Any, Any]:
        """Return an ``ov.Tensor`` in new memory of openvino's, and what must outlive it."""
        return self._cut(ov.Tensor(self.element_type, list(self.around.shape)))

    def _cut(self, dense: Any) -> tuple[Any, Any]:
        if self.shape == self.around.shape:
            return dense, dense
        # openvino's box keeps alive the tensor that it is cut from, but not that one's array.
        return ov.Tensor(dense, [0] * len(self.shape), list(self.shape)), dense


@functools.lru_cache(maxsize=256)
def describe(info: TensorInfo) -> Layout:
    """Return how openvino sees samples of a layout.

    Raises
    ------
    FormatError
        There is no sample, or openvino has no such sample type or no such strides.
    """
    if info.dtype not in _TYPES:
        names = ", ".join(dtype.name for dtype in _TYPES)
        raise FormatError(
            f"OpenVINO has no samples of type {info.dtype.str}; convert them to one of {names}"
        )
    if not info.shape or 0 in info.shape:
        raise FormatError(f"OpenVINO needs at least one sample, got shape {info.shape}")
    itemsize = info.dtype.itemsize
    around = _around(info.shape, info.strides, itemsize)
    if around:
        return Layout(info.shape, TensorInfo(around, info.dtype), True)
    if info.strides[-2:] == (info.shape[-1] * itemsize, itemsize):
        rows = (*info.shape[:-2], math.prod(info.shape[-2:]))
        around = _around(rows, (*info.strides[:-2], itemsize), itemsize)
    if not around:
        raise FormatError(
            f"OpenVINO needs samples side by side and rows a whole number of samples apart, got "
            f"shape {info.shape} of {info.dtype.name} with strides {info.strides}; copy the array "
            "first"
        )
    return Layout(rows, TensorInfo(around, info.dtype), False)


def _around(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the dense shape that a strided block can be cut out of; empty where there is none."""
    steps, last = list(strides), len(shape) - 1
    first = next((axis for axis, length in enumerate(shape) if length > 1), last)
    # The stride of a dimension of 1 is never taken, and may be whatever fits.
    if shape[last] == 1:
        steps[last] = itemsize
    for axis in range(first + 1, last):
        if shape[axis] == 1:
            steps[axis] = steps[axis - 1]
    for axis in reversed(range(first)):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    around = [shape[0]]
    for outer, inner, length in zip(steps, steps[1:], shape[1:], strict=False):
        if inner <= 0 or outer % inner or outer // inner < length:
            return ()
        around.append(outer // inner)
    return tuple(around) if steps[last] == itemsize else ()


def layout_of(native: Any) -> TensorInfo:
    """Return the layout of an ``ov.Tensor`` in host memory; a scalar has one dimension of 1.

    Raises
    ------
    FormatError
        NumPy has no such sample type.
    """
    dtype = _DTYPES.get(native.element_type)
    if dtype is None:
        name = native.element_type.get_type_name()
        raise FormatError(
            f"NumPy has no samples of OpenVINO's type {name}; convert them inside the model"
        )
    shape, strides = tuple(native.shape), tuple(native.strides)
    return TensorInfo(shape or (1,), dtype, strides if 0 not in shape else ())
