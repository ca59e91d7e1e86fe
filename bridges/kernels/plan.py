"""What running a kernel on frames of one layout takes, alike on every runtime that compiles."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bridges.errors import FormatError
from bridges.frame import Frame, MediaFrame
from bridges.kernels.frames import check_frames, previous_for
from bridges.kernels.kernel import Kernel, Value
from bridges.kernels.launch import WORD, Launch, Plane, Scratch, Table
from bridges.tensor import MemoryType, Tensor

__all__ = ["Memory", "Plan", "Planner", "Step"]

Memory = int | Table | Scratch
"""What an argument can point to; a number counts the tensors of the plan."""


@dataclass(frozen=True, eq=False)
class Step:
    """One launch, with its arguments told apart.

    Attributes
    ----------
    launch : Launch
        What is compiled and called.
    memories : tuple of (int, Memory)
        Places among the arguments, with what goes there.
    scalars : tuple of (int, numpy scalar)
        Places among the arguments, with their values: strides of planes, and numbers.
    """

    launch: Launch
    memories: tuple[tuple[int, Memory], ...]
    scalars: tuple[tuple[int, np.integer[Any]], ...]


class Plan:
    """What running a kernel on frames of one layout takes; found once and kept.

    Parameters
    ----------
    kernel : Kernel
        What to run.
    source, target, previous : MediaFrame
        Frames of that layout; the last is None where there is none.
    values : mapping
        All parameters.
    """

    def __init__(
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        previous: Frame | None,
        values: Mapping[str, Value],
    ) -> None:
        self._kernel, self._values = kernel, values
        self._source, self._target = source.info, target.info
        self._layouts = {Plane("source", k): tensor.info for k, tensor in enumerate(source.tensors)}
        self._layouts |= {Plane("target", k): each.info for k, each in enumerate(target.tensors)}
        if previous is not None:
            self._layouts |= {
                Plane("previous", k): each.info for k, each in enumerate(previous.tensors)
            }
        self._planes: dict[Plane, int] = {}
        self._words = self._make(True)
        used = [self._layouts[plane] for plane in self._planes]
        self._rows_are_aligned = not any(
            info.shape[0] > 1 and info.strides[0] % WORD for info in used
        )

    def tensors(self, source: Frame, target: MediaFrame, previous: Frame | None) -> list[Tensor]:
        """Return the planes that arguments point to."""
        frames: dict[str, MediaFrame] = {"source": source, "target": target}
        if previous is not None:
            frames["previous"] = previous
        return [frames[plane.frame].tensors[plane.index] for plane in self._planes]

    @property
    def planes(self) -> tuple[Plane, ...]:
        """What each of `tensors` is."""
        return tuple(self._planes)

    def steps(self, is_aligned: bool) -> tuple[Step, ...]:
        """Return what to launch, in order.

        Parameters
        ----------
        is_aligned : bool
            Whether the first byte of each of `tensors` is at a multiple of
            `bridges.kernels.launch.WORD`.
        """
        return self._words if is_aligned and self._rows_are_aligned else self._samples

    @cached_property
    def _samples(self) -> tuple[Step, ...]:
        return self._make(False)

    def _make(self, aligned: bool) -> tuple[Step, ...]:
        launches = self._kernel.launches(self._source, self._target, self._values, aligned=aligned)
        return tuple(map(self._step, launches))

    def _step(self, launch: Launch) -> Step:
        memories: list[tuple[int, Memory]] = []
        scalars: list[tuple[int, np.integer[Any]]] = []
        place = 0
        for argument in launch.arguments:
            if isinstance(argument, np.integer):
                scalars.append((place, argument))
            elif isinstance(argument, Plane):
                memories.append((place, self._planes.setdefault(argument, len(self._planes))))
                place += 1
                scalars.append((place, np.uint32(self._layouts[argument].strides[0])))
            else:
                memories.append((place, argument))
            place += 1
        return Step(launch, tuple(memories), tuple(scalars))


def _layout(frame: MediaFrame) -> tuple[Any, ...]:
    return frame.memory_type, frame.form, *[tensor.info for tensor in frame.tensors]


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
        self,
        kernel: Kernel,
        source: Frame,
        target: MediaFrame,
        previous: Frame | None,
        parameters: Mapping[str, object],
    ) -> tuple[Plan, list[Tensor]]:
        """Return the plan for some frames, and the planes that its arguments point to.

        ``previous`` may be given to any kernel, and left out for any.

        Raises
        ------
        KernelError
            A parameter is wrong.
        FormatError
            The frames lie in other memory, or the kernel does not take them.
        """
        previous = previous_for(kernel, source, previous)
        frames: list[MediaFrame] = [source, target]
        if previous is not None:
            frames.append(previous)
        # Times differ from frame to frame, so that a whole FrameInfo is no key.
        key = (
            kernel,
            tuple(parameters.items()),
            source.tensors == target.tensors,
            *map(_layout, frames),
        )
        plan = self._plans.get(key)
        if plan is None:
            values = kernel.check(parameters)
            check_frames(kernel, source, target, previous, values)
            self._check_memory(kernel, frames)
            plan = Plan(kernel, source, target, previous, values)
            with self._lock:
                if len(self._plans) >= self._CAPACITY:
                    self._plans.clear()
                self._plans[key] = plan
        return plan, plan.tensors(source, target, previous)

    def _check_memory(self, kernel: Kernel, frames: list[Any]) -> None:
        for frame in frames:
            # What a kernel leaves alone may lie anywhere: the first plane is always written.
            if frame.memory_type is not self._memory_type:
                raise FormatError(
                    f"{self._name} takes frames in {self._memory_type.value} memory, not "
                    f"{frame.memory_type.value}"
                )
