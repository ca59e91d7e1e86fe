"""Frames in host memory with rows padded, addresses shifted, and everything around them guarded."""

from dataclasses import dataclass

import numpy as np

from bridges import Colour, ColourRange, Frame, FrameInfo, Matrix
from bridges.backends.cpu import CPUContext
from bridges.formats import pixel_format

RANGES = (ColourRange.LIMITED, ColourRange.FULL)


def frame_info(
    name: str,
    size: tuple[int, int],
    colour_range: ColourRange = ColourRange.UNSPECIFIED,
    matrix: Matrix = Matrix.UNSPECIFIED,
    primaries: int = 2,
) -> FrameInfo:
    colour = Colour(matrix, colour_range, primaries)
    return FrameInfo(pixel_format(name), size[0], size[1], colour)


@dataclass
class Picture:
    """A frame, and the memory that its planes are cut from."""

    frame: Frame
    memory: list[np.ndarray]
    around: list[np.ndarray]
    guards: list[np.ndarray]

    @classmethod
    def create(
        cls, info: FrameInfo, *, padding: int = 0, shift: int = 0, seed: int | None = None
    ) -> "Picture":
        """Make a picture of random codes, or of unwritten ones where there is no seed.

        Rows lie ``padding`` bytes apart; planes begin ``shift`` bytes after a multiple of 64.
        """
        memories, around_all, guards = [], [], []
        random = np.random.default_rng(seed)
        tensors = []
        for plane in info.planes:
            strides = (plane.strides[0] + padding, *plane.strides[1:])
            nbytes = strides[0] * plane.shape[0]
            memory = random.integers(0, 256, nbytes + 256, np.uint8)
            start = -memory.ctypes.data % 64 + shift
            array = np.ndarray(plane.shape, plane.dtype, memory, start, strides)
            if seed is not None:
                codes = random.integers(0, 1 << info.format.bits, plane.shape)
                array[...] = codes << info.format.shift
            around = np.ones(memory.shape, bool)
            np.ndarray((*plane.shape, plane.dtype.itemsize), bool, around, start, (*strides, 1))[
                ...
            ] = False
            tensors.append(CPUContext().wrap(array))
            memories.append(memory)
            around_all.append(around)
            guards.append(memory[around])
        return cls(Frame(info, tensors), memories, around_all, guards)

    @property
    def arrays(self) -> list[np.ndarray]:
        return [tensor.handle("array") for tensor in self.frame.tensors]

    def guards_hold(self) -> bool:
        """Return whether every byte that is no sample is as it was."""
        return all(
            np.array_equal(memory[around], guard)
            for memory, around, guard in zip(self.memory, self.around, self.guards, strict=True)
        )

    def codes(self, channel: str) -> np.ndarray:
        """Return the codes of one channel, picture-sized, found by the table of formats alone."""
        info = self.frame.info
        plane, offset, step = info.format.find(channel)
        array = self.arrays[plane]
        flat = array.reshape(array.shape[0], -1)[:, offset::step][:, : info.width]
        return flat.astype(np.int64) >> info.format.shift
