"""What is known of a picture: what was found in it, where it comes from, how its pixels moved.

A frame's ``metadata`` list carries these. They are checked when they are made, cannot be changed,
and go through JSON: see `bridges.metadata_dict`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridges.errors import MetadataError
from bridges.media import DataType

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "AffineTransform",
    "Classification",
    "Detection",
    "InferenceResult",
    "ModelInfo",
    "NamedTensor",
    "ObjectId",
    "SourceIdentifier",
    "TensorDescription",
]

Rectangle = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


def _require(condition: bool, asked: str, found: object) -> None:
    if not condition:
        raise MetadataError(f"{asked}, got {found!r}")


def _require_unit(name: str, value: float) -> None:
    # Written so that it refuses a NaN too.
    _require(0 <= value <= 1, f"{name} lies between 0 and 1", value)


@dataclass(frozen=True, slots=True)
class Detection:
    """A rectangle in which something was found.

    Attributes
    ----------
    x_min, y_min, x_max, y_max : float
        Edges, as a part of the picture's width and height: 0 is left or top, 1 right or bottom.
    confidence : float
        From 0 to 1.
    label_id : int or None
        The model's number for what it found.
    label : str
        Its name; empty where it is unknown.

    Raises
    ------
    MetadataError
        The rectangle is empty or leaves the picture, or the confidence is out of range.
    """

    x_min: float
    y_min: float
    x_max: float
    y_max: float
    confidence: float = 1.0
    label_id: int | None = None
    label: str = ""

    def __post_init__(self) -> None:
        for low, high in ((self.x_min, self.x_max), (self.y_min, self.y_max)):
            _require(
                0 <= low < high <= 1,
                "a detection has edges from 0 to 1, of which the second is the greater",
                (low, high),
            )
        _require_unit("confidence", self.confidence)

    def rectangle(self, width: int, height: int, *, grid: tuple[int, int] = (1, 1)) -> Rectangle:
        """Return the smallest rectangle of whole pixels that covers this one.

        Parameters
        ----------
        width, height : int
            Of the picture, in pixels.
        grid : tuple of int
            Columns and rows at whose multiples it begins and ends; or with the picture.

        Returns
        -------
        tuple of int
            Left, top, width and height in pixels.
        """
        left, right = _outward(self.x_min, self.x_max, width, grid[0])
        top, bottom = _outward(self.y_min, self.y_max, height, grid[1])
        return left, top, right - left, bottom - top


_ROUNDING = 1e-6
"""In pixels: edges that were divided by the width and multiplied again are whole by then."""


def _outward(low: float, high: float, length: int, step: int) -> tuple[int, int]:
    first = min(math.floor(low * length + _ROUNDING), length - 1)
    last = max(math.ceil(high * length - _ROUNDING), first + 1)
    return first // step * step, min(-(-last // step) * step, length)


@dataclass(frozen=True, slots=True)
class Classification:
    """What a picture, or a region of one, was found to show.

    Attributes
    ----------
    label : str
        What it shows.
    label_id : int or None
        The model's number for it.
    confidence : float
        From 0 to 1.
    attribute : str
        What was asked, such as ``"colour"``; empty where there is one question only.

    Raises
    ------
    MetadataError
        The confidence is out of range.
    """

    label: str
    label_id: int | None = None
    confidence: float = 1.0
    attribute: str = ""

    def __post_init__(self) -> None:
        _require_unit("confidence", self.confidence)


@dataclass(frozen=True, slots=True)
class ObjectId:
    """Which object it is, the same from picture to picture.

    Raises
    ------
    MetadataError
        The number is negative.
    """

    id: int

    def __post_init__(self) -> None:
        _require(self.id >= 0, "an object's number is at least 0", self.id)


Row = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class AffineTransform:
    """Where the points of one picture lie in another: ``x' = a x + b y + c, y' = d x + e y + f``.

    Attributes
    ----------
    matrix : tuple of tuple of float
        ``((a, b, c), (d, e, f))``.

    Raises
    ------
    MetadataError
        A coefficient is not a finite number.
    """

    matrix: tuple[Row, Row] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))

    def __post_init__(self) -> None:
        fits = len(self.matrix) == 2 and all(len(row) == 3 for row in self.matrix)
        _require(
            fits and all(math.isfinite(value) for row in self.matrix for value in row),
            "an affine transform has two rows of three finite numbers",
            self.matrix,
        )

    @classmethod
    def translation(cls, x: float, y: float) -> "AffineTransform":
        """Return what moves each point by ``x`` and ``y``."""
        return cls(((1.0, 0.0, float(x)), (0.0, 1.0, float(y))))

    @classmethod
    def scaling(cls, x: float, y: float) -> "AffineTransform":
        """Return what multiplies coordinates by ``x`` and ``y``."""
        return cls(((float(x), 0.0, 0.0), (0.0, float(y), 0.0)))

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies."""
        (a, b, c), (d, e, f) = self.matrix
        return a * x + b * y + c, d * x + e * y + f

    def __matmul__(self, first: "AffineTransform") -> "AffineTransform":
        """Return what does ``first``, then this one, as for matrices."""
        (a, b, c), (d, e, f) = self.matrix
        (p, q, r), (s, t, u) = first.matrix
        return AffineTransform(
            (
                (a * p + b * s, a * q + b * t, a * r + b * u + c),
                (d * p + e * s, d * q + e * t, d * r + e * u + f),
            )
        )

    def inverse(self) -> "AffineTransform":
        """Return the way back.

        Raises
        ------
        MetadataError
            All points lie on one line afterwards, so that there is none.
        """
        (a, b, c), (d, e, f) = self.matrix
        determinant = a * e - b * d
        _require(determinant != 0, "a transform with an inverse is needed", self.matrix)
        a, b, d, e = e / determinant, -b / determinant, -d / determinant, a / determinant
        return AffineTransform(((a, b, -a * c - b * f), (d, e, -d * c - e * f)))


@dataclass(frozen=True, slots=True)
class SourceIdentifier:
    """Which picture, or region of one, this is of.

    Attributes
    ----------
    stream_id : int
        Which of several streams.
    pts : int or None
        Time of the picture, in units of its frame's time base.
    region_id : int or None
        Which of the picture's regions, counted from 0; None is the whole picture.
    object_id : int or None
        Which object is in it; see `ObjectId`.
    batch_index : int
        Its place in a batch.

    Raises
    ------
    MetadataError
        A number but ``pts`` is negative.
    """

    stream_id: int = 0
    pts: int | None = None
    region_id: int | None = None
    object_id: int | None = None
    batch_index: int = 0

    def __post_init__(self) -> None:
        numbers = (self.stream_id, self.region_id, self.object_id, self.batch_index)
        _require(
            all(number is None or number >= 0 for number in numbers),
            "stream, region, object and place in a batch are at least 0",
            numbers,
        )


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """An input or output of a model.

    Attributes
    ----------
    name : str
        As the model calls it.
    data_type : DataType
        Of one sample.
    shape : tuple of int
        Samples per dimension; -1 where any length will do.

    """

    name: str
    data_type: DataType
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        _require(all(length >= -1 for length in self.shape), "lengths are at least -1", self.shape)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model.

    Attributes
    ----------
    name : str
        Such as its file's.
    inputs, outputs : tuple of TensorDescription
        In the model's own order.

    Raises
    ------
    MetadataError
        The name is empty.
    """

    name: str
    inputs: tuple[TensorDescription, ...] = ()
    outputs: tuple[TensorDescription, ...] = ()

    def __post_init__(self) -> None:
        _require(bool(self.name), "a model has a name", self.name)


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """Samples by name: a copy, which outlives the memory that a model wrote them to.

    Attributes
    ----------
    name : str
        As the model calls it.
    data_type : DataType
        Of one sample.
    shape : tuple of int
        Samples per dimension, slowest first.
    data : bytes
        All samples, dense and little-endian.

    Raises
    ------
    MetadataError
        There are more or fewer bytes than the shape needs.
    """

    name: str
    data_type: DataType
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        nbytes = self.data_type.nbytes * math.prod(self.shape)
        _require(
            len(self.data) == nbytes and all(length >= 0 for length in self.shape),
            f"tensor {self.name!r} of shape {self.shape} has {nbytes} bytes",
            len(self.data),
        )

    @classmethod
    def of(cls, name: str, array: "npt.ArrayLike") -> "NamedTensor":
        """Return the samples of what NumPy can make an array of.

        Raises
        ------
        FormatError
            `DataType` has no such samples.
        """
        import numpy as np

        samples = np.asarray(array)
        return cls(name, DataType.from_dtype(samples.dtype), samples.shape, samples.tobytes())

    @property
    def array(self) -> "npt.NDArray[Any]":
        """The samples, as a read-only view."""
        import numpy as np

        return np.frombuffer(self.data, self.data_type.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What a model returned.

    Attributes
    ----------
    tensors : tuple of NamedTensor
        Its outputs.
    model : ModelInfo
        Which model it was.

    Raises
    ------
    MetadataError
        Two tensors have one name.
    """

    tensors: tuple[NamedTensor, ...]
    model: ModelInfo

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in self.tensors]
        _require(len(set(names)) == len(names), "tensors have different names", names)

    def __getitem__(self, name: str) -> NamedTensor:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        there = [tensor.name for tensor in self.tensors]
        raise KeyError(f"{self.model.name} returned no tensor {name!r}, only {there}")
