"""A scaler of one to eight outputs, by the kernels ``resize`` and ``polyphase``."""

import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridges.errors import KernelError
from bridges.formats import PixelFormat
from bridges.frame import FrameInfo
from bridges.kernels.families.polyphase import check_coefficients, coefficients
from bridges.kernels.kernel import get
from xma_plugins.builtin.cascade import cascade_parents, largest_first
from xma_plugins.builtin.flow import Flow, Work, run
from xma_plugins.builtin.output import describe, is_due
from xma_plugins.builtin.unit import take_unit
from xma_plugins.errors import InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.kinds import ScalerType
from xma_plugins.params import check_port, read_params
from xma_plugins.plugin import ScalerPlugin
from xma_plugins.properties import Port, ScalerProperties
from xma_plugins.results import Results, planes_of
from xma_plugins.session import Session
from xma_plugins.status import Status
from xma_plugins.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KernelScaler"]

ScalerSession = Session[ScalerProperties]


@dataclass(frozen=True)
class _Step:
    """How one output is made: its form, which output of, or None, and by which parameters."""

    form: FrameInfo
    parent: int | None
    values: dict[str, Any]


class KernelScaler(ScalerPlugin):
    """Makes each picture in all sizes of the outputs, in their order.

    BILINEAR and BICUBIC are those of ``resize``, POLYPHASE the tables of ``polyphase``. An output
    of half rate has the first picture, the third and so on, at their own times. Pictures in buffers
    of the session's device are read where they are.

    Its ``params``:

    ================ =======================================================================
    ``cascade``      whether each output is made of the next larger one (false)
    ``antialias``    whether ``resize`` filters what shrinks more widely (true)
    ``coefficients`` of POLYPHASE, where the properties hold no tables: as of the kernel
                     (``auto``)
    ``siting``       where chroma lies: ``left`` or ``centre`` (``left``)
    ``zerocopy``     whether results stay in device-only buffers (false); otherwise they are
                     read back to the host's side of theirs
    ``depth``        pictures under way at most, 1 or more (2)
    ``pool``         results of each size that are held at most (16)
    ``timeout``      seconds to wait for a result that is held, where nothing else is left (10)
    ================ =======================================================================
    """

    vendor = "xtranscode"
    summary = "makes each picture in up to eight sizes"
    xma_version = (2020, 1)

    def init(self, session: ScalerSession) -> None:
        """Find the compute unit, and which output is made of which."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._given = given = read_params(
            session,
            cascade=False,
            antialias=True,
            coefficients="auto",
            siting="left",
            zerocopy=False,
            depth=2,
            pool=16,
            timeout=10.0,
        )
        properties = session.properties
        self._session, self._outputs = session, properties.outputs
        self._is_polyphase = properties.type is ScalerType.POLYPHASE
        self._kernel = get("polyphase" if self._is_polyphase else "resize")
        self._tables = _tables(session)
        self._unit = take_unit(session, self._kernel)
        self._taken = 0
        self._numbers: deque[int] = deque()
        self._ready: dict[FrameInfo, list[_Step]] = {}
        # Outputs of one size share a pool.
        capacity = given.pool * len(self._outputs)
        self._results = Results(session, capacity, device_only=given.zerocopy)
        self._uploads = Uploads(session, given.depth + 2)
        self._flow = Flow(session, self._start, depth=given.depth, timeout=given.timeout)
        port = properties.input
        if port.format is not None:
            self._check_formats(port.format)
            if port.width and port.height:
                self._plan(FrameInfo(port.format, port.width, port.height))

    def _check_formats(self, layout: PixelFormat) -> None:
        for output in self._outputs:
            if output.format not in (None, layout):
                raise InvalidError(
                    f"{self._session.name} scales {layout.name}, and an output is to be "
                    f"{output.format.name}; convert before or behind it, by a kernel_filter"
                )

    def send_frame(self, session: ScalerSession, frame: XmaFrame) -> Status:
        """Start to scale a picture; see `ScalerPlugin.send_frame`."""
        if frame.is_last_frame:
            self._flow.end()
            return Status.EOS if self._flow.is_ended else Status.FLUSH_AGAIN
        info = check_port(session, session.properties.input, frame.info, "is sent")
        self._plan(info)
        status = Status.SEND_MORE_DATA
        if any(is_due(output, self._taken) for output in self._outputs):
            self._numbers.append(self._taken)
            try:
                status = self._flow.send(frame)
            except BaseException:
                # Whichever picture failed is gone, and this one was not taken.
                self._numbers.clear()
                raise
        if status is Status.TRY_AGAIN:
            self._numbers.pop()
        else:
            self._taken += 1
        return status

    def recv_frame_list(self, session: ScalerSession, frames: list[XmaFrame]) -> Status:
        """Give the oldest picture in all sizes; see `ScalerPlugin.recv_frame_list`.

        A frame of the caller's own whose output is not due is marked ``do_not_encode``.
        """
        work = self._flow.receive()
        if work is None:
            return Status.TRY_AGAIN
        made, work.made = work.made, []
        try:
            for index, into in enumerate(frames):
                frame, made[index] = made[index], None
                if frame is not None:
                    self._results.hand_out(frame, into)
                elif not into.is_dummy:
                    into.do_not_encode = True
        finally:
            for frame in filter(None, made):
                frame.close()
        return Status.SUCCESS

    def close(self, session: ScalerSession) -> None:
        """Wait for what is under way, and let go of it."""
        if hasattr(self, "_flow"):
            self._flow.close()
            self._uploads.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _plan(self, info: FrameInfo) -> list[_Step]:
        """Return form, parent and parameters of each output, for pictures of one form."""
        made = self._ready.get(info)
        if made is not None:
            return made
        self._check_formats(info.format)
        sizes = [_size(output, info) for output in self._outputs]
        half = [output.is_half_rate for output in self._outputs]
        parents: Sequence[int | None] = [None] * len(sizes)
        if self._given.cascade:
            parents = cascade_parents(sizes, half)
        made = []
        for (width, height), parent in zip(sizes, parents, strict=True):
            size = {"width": width, "height": height, "siting": self._given.siting}
            source = (info.width, info.height) if parent is None else sizes[parent]
            values = self._kernel.check({**size, **self._filter(source, (width, height))})
            form = self._kernel.output(info, **values)
            assert isinstance(form, FrameInfo)
            made.append(_Step(form, parent, dict(values)))
        self._ready[info] = made
        return made

    def _filter(self, source: tuple[int, int], target: tuple[int, int]) -> dict[str, Any]:
        """Return the parameters of the kernel that say how it filters."""
        if not self._is_polyphase:
            name = self._session.properties.type.name.lower()
            return {"filter": name, "antialias": self._given.antialias}
        if not any(table is not None for table in self._tables):
            return {"coefficients": self._given.coefficients}
        ratios = (size / wanted for size, wanted in zip(source, target, strict=True))
        own = coefficients("auto", *ratios)
        tables = [
            each.array if table is None else table
            for table, each in zip(self._tables, own, strict=True)
        ]
        lines = [" ".join(map(str, row)) for table in tables for row in table.tolist()]
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="xma-")
        path = Path(self._folder.name) / f"{len(list(Path(self._folder.name).iterdir()))}.txt"
        path.write_text("\n".join(lines))
        return {"coefficients": str(path)}

    def _start(self, frame: XmaFrame, timeout: float) -> Work | None:
        assert frame.info is not None
        number = self._numbers.popleft()
        plan, work = self._plan(frame.info), Work()
        try:
            for output, step in zip(self._outputs, plan, strict=True):
                target = None
                if is_due(output, number):
                    target = self._results.acquire(step.form, timeout)
                    if target is None:
                        work.drop()
                        self._numbers.appendleft(number)
                        return None
                work.made.append(target)
            self._submit(work, frame, plan)
        except BaseException:
            work.drop()
            raise
        return work

    def _submit(self, work: Work, frame: XmaFrame, plan: list[_Step]) -> None:
        """Start the commands, those of parents first: a channel runs them in order."""
        source = self._uploads.take(frame)
        # There are more copies than works.
        assert source is not None
        work.held.append(source)
        properties = self._session.properties
        for index in largest_first([(step.form.width, step.form.height) for step in plan]):
            target, step = work.made[index], plan[index]
            if target is None:
                continue
            describe(target, frame, self._outputs[index])
            made_of = source if step.parent is None else work.made[step.parent]
            assert made_of is not None
            if step.parent is not None and properties.ooo_execution:
                run(self._session, work.commands)
            registers = self._unit.pack(
                channel_id=properties.channel_id,
                source=planes_of(made_of),
                target=planes_of(target),
                **step.values,
            )
            work.commands.append(self._session.schedule_cu_cmd(registers))


def _size(output: Port, info: FrameInfo) -> tuple[int, int]:
    """Return an output's size; a side that is left out keeps the shape, both the size."""
    width, height = output.width, output.height
    if not width and not height:
        return info.width, info.height
    made = get("resize").output(info, width=width, height=height)
    assert isinstance(made, FrameInfo)
    return made.width, made.height


def _tables(session: ScalerSession) -> list[Any]:
    """Return the tables for columns and rows that the properties hold; None for one of our own.

    Raises
    ------
    InvalidError
        They are none, or the scaler is of another type.
    """
    properties = session.properties
    made = []
    for name in ("horizontal_coefficients", "vertical_coefficients"):
        table = getattr(properties, name)
        if table is not None:
            if properties.type is not ScalerType.POLYPHASE:
                raise InvalidError(
                    f"{session.name} has {name}, and is of type {properties.type.name}; tables are "
                    "for POLYPHASE"
                )
            try:
                table = check_coefficients(table, name)
            except KernelError as error:
                raise InvalidError(f"{session.name}: {error}") from error
        made.append(table)
    return made
