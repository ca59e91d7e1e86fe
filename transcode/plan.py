"""Plans: how much of which device each job of a list takes, and which of them fit at once."""

from __future__ import annotations

import functools
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from bridges.errors import DeviceNotFoundError
from bridges.tensor import MemoryType
from transcode.errors import JobError, SourceError
from transcode.probe import probe
from xma_plugins.admission import CARD_LOAD, holders, measured_load, pixel_load, reserve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridges.context import Context
    from transcode.job import Job, VideoOptions
    from transcode.manifest import Manifest, ManifestJob
    from transcode.media import VideoInfo
    from xma_plugins.admission import Holder, Reservation

__all__ = ["DevicePlan", "Plan", "PlannedJob", "device_of", "job_load", "plan"]


@dataclass(frozen=True)
class PlannedJob:
    """A job of a plan.

    Attributes
    ----------
    listed : ManifestJob
        What is to be run.
    device : str
        The one name of its device, such as ``"opencl:0:0"``.
    load : int
        What it takes of that device, in millionths of a card.
    wave : int or None
        1 where it fits now, beside what others hold and the jobs listed before it; 2 where it fits
        when those of the first wave are done; and so on. None where it cannot fit while others hold
        what they do.
    """

    listed: ManifestJob
    device: str
    load: int
    wave: int | None


@dataclass(frozen=True)
class DevicePlan:
    """A device of a plan; loads are in millionths of a card.

    Attributes
    ----------
    name, description : str
        Its one name, and what people call it.
    capacity : int
        How much it takes.
    holders : tuple of Holder
        Who holds how much of it now.
    jobs : tuple of PlannedJob
        The jobs on it.
    """

    name: str
    description: str
    capacity: int
    holders: tuple[Holder, ...]
    jobs: tuple[PlannedJob, ...]

    @property
    def reserved(self) -> int:
        """The load that others hold now."""
        return sum(holder.load for holder in self.holders)

    @property
    def total(self) -> int:
        """The load of all its jobs."""
        return sum(job.load for job in self.jobs)

    @property
    def at_once(self) -> int:
        """How many of its jobs fit now."""
        return sum(job.wave == 1 for job in self.jobs)

    @property
    def waves(self) -> int | None:
        """How many waves its jobs make; None where one of them is in none."""
        waves = [job.wave for job in self.jobs]
        return None if None in waves else max(wave for wave in waves if wave is not None)


@dataclass(frozen=True)
class Plan:
    """What the jobs of a list take.

    Attributes
    ----------
    jobs : tuple of PlannedJob
        In the list's order.
    devices : tuple of DevicePlan
        In the order in which the jobs name them.
    """

    jobs: tuple[PlannedJob, ...]
    devices: tuple[DevicePlan, ...]

    @property
    def fits(self) -> bool:
        """Whether all jobs fit now."""
        return all(job.wave == 1 for job in self.jobs)

    def reserve(self, label: str) -> tuple[Reservation, ...]:
        """Reserve what all jobs take, one reservation a device: all of them or none.

        Raises
        ------
        ChannelCapacityError
            A device has too little left.
        """
        with ExitStack() as stack:
            made = tuple(
                stack.enter_context(
                    reserve(device.name, device.total, label, capacity=device.capacity)
                )
                for device in self.devices
            )
            stack.pop_all()
        return made


def plan(jobs: Manifest) -> Plan:
    """Find out what the jobs of a list take, and which of them fit.

    Raises
    ------
    SourceError
        A source is missing or cannot be read.
    JobError
        The load of a job cannot be told.
    DeviceNotFoundError
        A device is not on this machine.
    """
    capacities = _capacities(jobs)
    loads: dict[str, list[tuple[ManifestJob, int]]] = defaultdict(list)
    descriptions = {}
    for listed in jobs.jobs:
        try:
            name, description = device_of(_asked(listed.job))
            load = job_load(listed)
        except (DeviceNotFoundError, SourceError) as error:
            raise type(error)(f"{listed.place}: {error}") from error
        descriptions[name] = description
        loads[name].append((listed, load))
    devices = tuple(
        _device_plan(name, descriptions[name], capacities.get(name, CARD_LOAD), loads[name])
        for name in loads
    )
    planned = {id(job.listed): job for device in devices for job in device.jobs}
    return Plan(tuple(planned[id(listed)] for listed in jobs.jobs), devices)


def _capacities(jobs: Manifest) -> dict[str, int]:
    """Return what the list says of devices, by their one names, in millionths of a card."""
    found: dict[str, int] = {}
    for asked, cards in jobs.capacities.items():
        try:
            name = device_of(asked)[0]
        except DeviceNotFoundError as error:
            raise DeviceNotFoundError(f"{jobs.path}: capacities: {error}") from error
        if name in found:
            raise JobError(f"{jobs.path}: capacities: {asked} is {name}, which is there already")
        found[name] = int(CARD_LOAD * cards)
    return found


def _device_plan(
    name: str, description: str, capacity: int, loads: Sequence[tuple[ManifestJob, int]]
) -> DevicePlan:
    held = holders(name)
    room = capacity - sum(holder.load for holder in held)
    waves = _waves((load for _, load in loads), room)
    jobs = tuple(
        PlannedJob(listed, name, load, wave)
        for (listed, load), wave in zip(loads, waves, strict=True)
    )
    return DevicePlan(name, description, capacity, held, jobs)


def _waves(loads: Iterable[int], room: int) -> list[int | None]:
    """Put each load into the first wave that has room for it."""
    left: list[int] = []
    waves: list[int | None] = []
    for load in loads:
        if load > room:
            waves.append(None)
            continue
        found = next((n for n, free in enumerate(left) if load <= free), len(left))
        if found == len(left):
            left.append(room)
        left[found] -= load
        waves.append(found + 1)
    return waves


def job_load(listed: ManifestJob) -> int:
    """Return what a job takes of its device, in millionths of a card.

    That is what the list says: the load itself, or the rate that was measured, set against the rate
    of the source. Otherwise it is reckoned from pixels a second: those of the source, or those of
    all outputs together where these are more, because decoder and encoder work side by side. What
    ``vf`` and kernels do to the size is not known here.

    Raises
    ------
    SourceError
        The source is missing, cannot be read, or has no video.
    JobError
        The source does not tell its frame rate.
    """
    path = str(listed.job.source)
    video = _video(path)
    if listed.load is not None:
        return listed.load
    if video.rate is None:
        raise JobError(f"{listed.place}: {path} does not tell its frame rate; say the job's load")
    if listed.measured_fps is not None:
        return measured_load(video.rate, listed.measured_fps)
    read = video.width * video.height * video.rate
    written = sum(_written(output.video, video, video.rate) for output in listed.job.outputs)
    return pixel_load(max(read, Fraction(written)))


def _video(path: str) -> VideoInfo:
    """Return the video stream that a run would take."""
    streams = [v for v in probe(path).video if "attached_pic" not in v.disposition]
    if not streams:
        raise SourceError(f"{path}: no video stream")
    return next((v for v in streams if "default" in v.disposition), streams[0])


def _written(options: VideoOptions, source: VideoInfo, rate: Fraction) -> Fraction:
    """Return the pixels a second of an output."""
    width, height = options.size_of(source.width, source.height)
    return width * height * (options.fps or rate)


def _asked(job: Job) -> str:
    """Return the device that a run of the job asks for: without kernels, only one that is named."""
    return "cpu" if job.device == "auto" and not job.filters else job.device


@functools.cache
def device_of(name: str) -> tuple[str, str]:
    """Return the one name of a device, however it is asked for, and what people call it.

    ``"auto"``, ``"opencl"`` and ``"opencl:0"`` may all be ``"opencl:0:0"``, and have to count as
    one. A device that two frameworks reach counts once for each.

    Raises
    ------
    DeviceNotFoundError
        The device is not on this machine, or kernels cannot run on its kind.
    """
    # Here, because a plan of plain transcodes needs no kernels.
    from transcode.runtime import choose_runtime

    if name == "cpu":
        return name, "the processor"
    chosen = choose_runtime(name)
    with chosen.runtime.context as context:
        return _name(context), chosen.description


def _name(context: Context) -> str:
    if context.memory_type is MemoryType.OPENCL:
        from bridges.backends.opencl import OpenCLContext

        assert isinstance(context, OpenCLContext)
        return f"opencl:{context.device.platform_index}:{context.device.device_index}"
    if context.memory_type is MemoryType.SYCL:
        from bridges.backends.sycl import SyclContext

        assert isinstance(context, SyclContext)
        return f"sycl:{context.device.selector}"
    if context.memory_type is MemoryType.CUDA:
        from bridges.backends.cuda import CUDAContext

        assert isinstance(context, CUDAContext)
        return f"cuda:{context.ordinal}"
    return "cpu"
