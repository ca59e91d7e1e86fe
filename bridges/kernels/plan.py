"""What running a kernel on frames of one layout takes, alike on every runtime that compiles."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridges.errors import FormatError
from bridges.frame import Frame
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.runtime import check_frames
from bridges.tensor import MemoryType, Tensor

__all__ = ["ENTRIES", "WORD", "Plan", "Planner", "Scalars", "Step"]

ENTRIES = ("words", "samples")
"""What the names of a portable source's entry points end with, in the order of `Step.entry`."""

WORD = 4
"""Bytes. Rows that start at multiples of it are read and written a word at a time."""

Scalars = tuple[tuple[int, np.integer[Any]], ...]
"""Places among the arguments, with their values. Between them, at 0, 2, 4 and so on, are the planes
of `Plan.tensors`."""


@dataclass(frozen=True)
class Step:
    """A launch of one entry point over some columns of all rows.

    Attributes
    ----------
    entry : int
        Which of `ENTRIES`.
    size : tuple of int
        Items along a row, and rows.
    scalars : Scalars
        The same object whenever the plan is the same, of the types that the source declares.
    """

    entry: int
    size: tuple[int, int]
    scalars: Scalars


@dataclass(frozen=True)
class Plan:
    """What running a kernel on frames of one layout takes; found once and kept.

    Attributes
    ----------
    launch : Launch
        How the kernel is compiled.
    words : tuple of Step
        The steps where all planes start at multiples of `WORD`.
    samples : tuple of Step
        The steps where one does not.
    """

    launch: Launch
    words: tuple[Step, ...]
    samples: tuple[Step, ...]

    def tensors(self, source: Frame, target: Frame) -> list[Tensor]:
        """Return the planes that are arguments, in their order."""
        return [target.tensors[0], *(source.tensors[plane] for plane in self.launch.planes)]


class Planner:
    """Finds plans, and keeps them. Several threads may share it.

    Parameters
    ----------
    memory_type : MemoryType
        Where frames have to lie.
    name : str
        The runtime's, for what is refused.
    """

    _CAPACITY = 64

    def __init__(self, memory_type: MemoryType, name: str) -> None:
        self._memory_type, self._name = memory_type, name
        self._plans: dict[Any, Plan] = {}
        self._lock = threading.Lock()

    def find(
        self, kernel: Kernel, source: Frame, target: Frame, parameters: dict[str, object]
    ) -> Plan:
        """Return the plan for two frames.

        Raises
        ------
        KernelError
            A parameter is wrong.
        FormatError
            The frames lie in other memory, or the kernel does not take them.
        """
        # Times differ from frame to frame, so that a whole FrameInfo is no key.
        key = kernel.name, _layout(source), _layout(target), tuple(parameters.items())
        plan = self._plans.get(key)
        if plan is None:
            for frame in (source, target):
                if frame.memory_type is not self._memory_type:
                    raise FormatError(
                        f"{self._name} takes frames in {self._memory_type.value} memory, not "
                        f"{frame.memory_type.value}"
                    )
            plan = _plan(kernel, source, target, kernel.check(parameters))
            with self._lock:
                if len(self._plans) >= self._CAPACITY:
                    self._plans.clear()
                self._plans[key] = plan
        return plan


def _layout(frame: Frame) -> tuple[Any, ...]:
    info = frame.info
    planes = tuple(tensor.info for tensor in frame.tensors)
    return frame.memory_type, info.format.name, info.colour, info.width, info.height, planes


def _plan(kernel: Kernel, source: Frame, target: Frame, values: dict[str, Any]) -> Plan:
    check_frames(kernel, source, target)
    launch = kernel.launch(source.info, target.info, **values)
    tensors = [target.tensors[0], *(source.tensors[plane] for plane in launch.planes)]
    strides = [tensor.info.strides[0] for tensor in tensors]
    width, height = target.info.width, target.info.height

    def step(entry: int, first: int, columns: int) -> Step:
        given: list[np.integer[Any]] = [*map(np.uint32, (first, columns, height)), *launch.scalars]
        places: list[tuple[int, np.integer[Any]]] = [
            (2 * index + 1, np.uint32(stride)) for index, stride in enumerate(strides)
        ]
        places += enumerate(given, start=2 * len(strides))
        return Step(entry, (columns, height), tuple(places))

    samples = (step(1, 0, width),)
    items, tail = divmod(width, launch.pixels_per_item)
    if items == 0 or (height > 1 and any(stride % WORD for stride in strides)):
        return Plan(launch, samples, samples)
    words = [step(0, 0, items)]
    if tail:
        words.append(step(1, width - tail, tail))
    return Plan(launch, tuple(words), samples)
