"""Point kernels that follow each other, made into one: one launch, and no picture between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bridges.errors import KernelError
from bridges.frame import FrameInfo
from bridges.kernels.kernel import Kernel, Value
from bridges.kernels.launch import Launch
from bridges.kernels.point import Link, compute_chain, launch_chain
from bridges.kernels.recipe import Planes, Recipe

__all__ = ["Call", "fuse"]

Call = tuple[Kernel, Mapping[str, Value]]
"""A kernel and all of its parameters."""

_FIRST = ("yuv_to_rgb",)
_LAST = ("rgb_to_yuv", "rgb_to_grayscale")


def fuse(calls: Sequence[Call]) -> list[Call]:
    """Return the same kernels with neighbouring point kernels made into one.

    A chain may begin with ``yuv_to_rgb`` and end with ``rgb_to_yuv`` or ``rgb_to_grayscale``: they
    then only say what is read and written. Between its kernels, pixels keep 16 bits, where kernels
    that run apart round to the depth of the picture; and where source and target are sampled alike,
    a chroma sample stays that of its own block of pixels.

    Parameters
    ----------
    calls : sequence of (Kernel, mapping)
        Kernels with all of their parameters, in the order in which they run.
    """
    groups: list[list[Call]] = []
    for call in calls:
        if groups and _continues(groups[-1], call[0]):
            groups[-1].append(call)
        else:
            groups.append([call])
    return [group[0] if len(group) == 1 else _fused(group) for group in groups]


def _continues(group: list[Call], kernel: Kernel) -> bool:
    """Whether a kernel can be the next of a chain."""
    kernels = [each for each, _ in group]
    if kernels[-1].name in _LAST or not _is_part(kernels[0], _FIRST):
        return False
    if not _is_part(kernel, _LAST):
        return False
    # Files of users may name things alike that are not.
    sources = {each.source for each in (*kernels, kernel) if each.file}
    names = {each.name: each.source for each in kernels}
    return len(sources) <= 1 and names.get(kernel.name, kernel.source) == kernel.source


def _is_part(kernel: Kernel, ends: tuple[str, ...]) -> bool:
    return kernel.kind == "point" or (kernel.name in ends and not kernel.file)


def _fused(group: list[Call]) -> Call:
    kernels = [kernel for kernel, _ in group]
    texts = [_call_text(kernel, values) for kernel, values in group]
    made = _Fused(
        name=" + ".join(texts),
        summary="; ".join(kernel.summary for kernel in kernels),
        parameters=(),
        source="\n".join(dict.fromkeys(kernel.source for kernel in kernels)),
        kind="chain",
        reads=kernels[0].reads,
        writes=kernels[-1].writes,
        calls=tuple(group),
    )
    return made, {}


def _call_text(kernel: Kernel, values: Mapping[str, Value]) -> str:
    given = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"{kernel.name}({given})" if given else kernel.name


@dataclass(frozen=True)
class _Fused(Kernel):
    """A chain, as one kernel without parameters."""

    calls: tuple[Call, ...] = field(default=(), compare=False)

    @cached_property
    def recipe(self) -> Recipe:
        chain: Any = _Chain(self.calls)
        recipe: Recipe = chain
        return recipe


class _Chain:
    """How a chain is called: the family of one kernel."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        ends = [values for kernel, values in (calls[0], calls[-1]) if kernel.kind == "convert"]
        sitings = {str(values["siting"]) for values in ends}
        if len(sitings) > 1:
            raise KernelError(
                "a chain reads and writes chroma of one siting, got "
                f"{' and '.join(sorted(sitings))}"
            )
        self._siting = sitings.pop() if sitings else "left"

    def _infos(self, info: FrameInfo) -> list[FrameInfo]:
        """Return what each kernel reads, and what the last one makes."""
        infos = [info]
        for kernel, values in self._calls:
            made = kernel.output(infos[-1], **values)
            assert isinstance(made, FrameInfo)
            infos.append(made)
        return infos

    def output(self, _kernel: Kernel, info: FrameInfo, /) -> FrameInfo:
        return self._infos(info)[-1]

    def note(self, _kernel: Kernel, info: FrameInfo, /) -> str:
        infos = self._infos(info)
        notes = [
            kernel.note(read, **values)
            for (kernel, values), read in zip(self._calls, infos, strict=False)
        ]
        return "; ".join(dict.fromkeys(filter(None, notes)))

    def written(self, _kernel: Kernel, target: FrameInfo, /) -> tuple[int, ...]:
        # Chroma that is gray stays as it is, as `rgb_to_grayscale` alone has it.
        last, _ = self._calls[-1]
        return last.written(target)

    def in_place(self, _kernel: Kernel, source: FrameInfo, target: FrameInfo, /) -> bool:
        return source.format is target.format

    def launches(
        self, kernel: Kernel, source: FrameInfo, target: FrameInfo, aligned: bool, /
    ) -> tuple[Launch, ...]:
        return launch_chain(
            self._links(source),
            source,
            target,
            aligned=aligned,
            siting=self._siting,
            planes_written=self.written(kernel, target),
        )

    def compute(
        self,
        _kernel: Kernel,
        planes: Planes,
        source: FrameInfo,
        target: FrameInfo,
        out: Planes,
        /,
    ) -> None:
        links = self._links(source)
        compute_chain(links, planes, source, target, out, siting=self._siting)

    def _links(self, source: FrameInfo) -> list[Link]:
        infos = self._infos(source)
        return [
            Link(kernel, values, info)
            for (kernel, values), info in zip(self._calls, infos, strict=False)
            if kernel.kind == "point"
        ]
