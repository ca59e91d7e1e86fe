"""A filter that runs any kernel of `bridges.kernels` as a compute unit of the session's device."""

from collections.abc import Mapping
from dataclasses import replace

from bridges.errors import KernelError
from bridges.formats import ColourModel
from bridges.frame import FrameInfo
from bridges.kernels.call import parse_given
from bridges.kernels.kernel import Kernel, Value
from bridges.media import TensorsInfo
from xma_plugins.buffers import BufferObject
from xma_plugins.builtin.flow import Flow, Work, run
from xma_plugins.builtin.unit import take_unit
from xma_plugins.errors import InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.params import check_port, read_params
from xma_plugins.planes import Planes, lay_out
from xma_plugins.plugin import FilterPlugin
from xma_plugins.properties import FilterProperties, Port
from xma_plugins.results import Results, planes_of
from xma_plugins.session import Session
from xma_plugins.side_data import SideDataType
from xma_plugins.status import Status
from xma_plugins.uploads import Uploads

__all__ = ["INTO_LUMA", "KernelFilter"]

FilterSession = Session[FilterProperties]

INTO_LUMA = ("gray", "point", "chain")
"""Families whose gray result may be the luma of any picture, whose chroma then has no colour."""


class KernelFilter(FilterPlugin):
    """Runs one kernel on each picture.

    Pictures in buffers of the session's device are read where they are, others are written to it
    once. A gray result is written into the luma of the output's format, where the output is
    declared and has luma; its chroma has no colour. A kernel that makes numbers hands the picture
    itself on, with them as CUSTOM_DATA side data: a dictionary of arrays by the names that the
    kernel gives them.

    Its ``params``:

    ============== =========================================================================
    ``kernel``     ``"invert(amount=0.5)"``, ``"my.cl:tint"``, or a `Kernel`
    ``parameters`` a mapping: those of a `Kernel`, or more of a call
    ``zerocopy``   whether results stay in device-only buffers (false); otherwise they are
                   read back to the host's side of theirs
    ``depth``      commands under way at most, 1 or more (2)
    ``pool``       results that are held at most (16)
    ``timeout``    seconds to wait for a result that is held, where nothing else is left (10)
    ``into``       a callable that gives what to write results into, instead of buffers of such a
                   pool: called with the form of a result and the planes that will be written, it
                   returns a frame over the device's memory, which whoever receives it owns
    ============== =========================================================================
    """

    vendor = "xtranscode"
    summary = "runs a kernel, such as invert(amount=0.5), on each picture"
    xma_version = (2020, 1)

    def init(self, session: FilterSession) -> None:
        """Find the kernel, and a compute unit that runs it."""
        given = read_params(
            session,
            kernel=None,
            parameters={},
            zerocopy=False,
            depth=2,
            pool=16,
            timeout=10.0,
            into=None,
        )
        self._kernel, self._values = _kernel_of(session, given.kernel, given.parameters)
        self._unit = take_unit(session, self._kernel)
        self._previous: XmaFrame | None = None
        self._numbers: list[BufferObject] = []
        self._spare_numbers: list[BufferObject] = []
        self._forms: dict[FrameInfo, FrameInfo | TensorsInfo] = {}
        # The last result is held for the next one too.
        capacity = given.pool + self._kernel.takes_previous
        self._results = Results(session, capacity, device_only=given.zerocopy)
        self._into = given.into
        self._uploads = Uploads(session, given.depth + 2)
        self._session = session
        self._flow = Flow(session, self._start, depth=given.depth, timeout=given.timeout)
        if session.properties.input.format is not None:
            self._kernel.check_source(FrameInfo(session.properties.input.format, 1, 1))

    def send_frame(self, session: FilterSession, frame: XmaFrame) -> Status:
        """Start the kernel on a picture; see `FilterPlugin.send_frame`."""
        if frame.is_last_frame:
            self._flow.end()
            return Status.SUCCESS
        info = check_port(session, session.properties.input, frame.info, "is sent")
        self._form(info)
        return self._flow.send(frame)

    def recv_frame(self, session: FilterSession, frame: XmaFrame) -> Status:
        """Give the oldest picture, once its kernel is done; see `FilterPlugin.recv_frame`."""
        work = self._flow.receive()
        if work is None:
            return Status.EOS if self._flow.is_ended else Status.TRY_AGAIN
        (made,) = work.made
        assert made is not None
        if work.result is not None:
            self._attach(made, *work.result)
        if work.result is not None and frame.is_dummy:
            frame.take(made)
        else:
            self._results.hand_out(made, frame)
        return Status.SUCCESS

    def close(self, session: FilterSession) -> None:
        """Wait for what is under way, and let go of it."""
        if hasattr(self, "_flow"):
            self._flow.close()
            self._forget_previous()
            self._uploads.close()
            while self._numbers:
                session.buffer_free(self._numbers.pop())

    def _form(self, info: FrameInfo) -> FrameInfo | TensorsInfo:
        """Return what the kernel makes of a picture.

        Raises
        ------
        KernelError
            It does not take such a picture.
        InvalidError
            The output is declared to be something else.
        """
        made = self._forms.get(info)
        if made is None:
            made = self._kernel.output(info, **self._values)
            port = self._session.properties.output
            if port is not None and isinstance(made, FrameInfo):
                made = self._carried(made, port)
                check_port(self._session, port, made, "makes")
            self._forms[info] = made
        return made

    def _carried(self, made: FrameInfo, port: Port) -> FrameInfo:
        """Return a gray result as the luma of the output's format, whose chroma has no colour."""
        if (
            port.format is not None
            and made.format.model is ColourModel.GRAY
            and self._kernel.kind in INTO_LUMA
            and port.format.planes[0].channels == "Y"
        ):
            return replace(made, format=port.format)
        return made

    def _start(self, frame: XmaFrame, timeout: float) -> Work | None:
        assert frame.info is not None
        made = self._form(frame.info)
        if not isinstance(made, FrameInfo):
            return self._count(frame, made)
        written = self._kernel.written(made)
        if self._into is None:
            target = self._results.acquire(made, timeout, written=written)
        else:
            target = self._into(made, written)
        if target is None:
            return None
        target.describe_as(frame)
        work = Work(made=[target])
        try:
            source = self._near(frame, work)
            previous: Planes | None = None
            if self._kernel.takes_previous:
                before = self._before(made) or source
                previous = planes_of(before)
                work.held.append(before.reference())
            self._submit(work, source, planes_of(target), previous)
            if previous is not None:
                self._forget_previous()
                self._previous = target.reference()
                work.on_drop = self._forget_previous
        except BaseException:
            work.drop()
            raise
        return work

    def _near(self, frame: XmaFrame, work: Work) -> XmaFrame:
        """Return a picture on the device, held for as long as it is worked on."""
        source = self._uploads.take(frame)
        # There are more copies than works.
        assert source is not None
        work.held.append(source)
        return source

    def _submit(
        self, work: Work, source: XmaFrame, target: Planes, previous: Planes | None = None
    ) -> None:
        session = self._session
        registers = self._unit.pack(
            self._values,
            channel_id=session.properties.channel_id,
            source=planes_of(source),
            target=target,
            **({} if previous is None else {"previous": previous}),
        )
        work.commands.append(session.schedule_cu_cmd(registers))
        if previous is not None and session.properties.ooo_execution:
            # The next one reads what this one writes.
            run(session, work.commands)

    def _before(self, made: FrameInfo) -> XmaFrame | None:
        """Return the result before; None where there is none, or one of another form."""
        last = self._previous
        return last if last is not None and last.info == made else None

    def _forget_previous(self) -> None:
        last, self._previous = self._previous, None
        if last is not None:
            last.close()

    def _count(self, frame: XmaFrame, made: TensorsInfo) -> Work:
        """Start a kernel that makes numbers; they are read when the picture is received."""
        buffer = self._buffer_for(lay_out(made)[1])
        planes, _ = lay_out(made, buffer.paddr)
        work = Work(result=(buffer, planes), on_drop=lambda: self._spare_numbers.append(buffer))
        try:
            work.made.append(frame.reference())
            source = self._near(frame, work)
            self._submit(work, source, planes)
        except BaseException:
            work.drop()
            raise
        return work

    def _buffer_for(self, nbytes: int) -> BufferObject:
        """Return a buffer for numbers, one that was used before where it is large enough."""
        for buffer in self._spare_numbers:
            if buffer.size >= nbytes:
                self._spare_numbers.remove(buffer)
                return buffer
        buffer = self._session.buffer_alloc(nbytes)
        self._numbers.append(buffer)
        return buffer

    def _attach(self, frame: XmaFrame, buffer: BufferObject, planes: Planes) -> None:
        """Read numbers, and add them to their picture."""
        self._session.buffer_read(buffer, buffer.size)
        data, info = buffer.data, planes.info
        assert data is not None
        assert isinstance(info, TensorsInfo)
        made = {}
        for name, address, layout in zip(info.names, planes.addresses, info.tensors, strict=True):
            start = address - buffer.paddr
            samples = data[start : start + layout.span].view(layout.dtype)
            made[name] = samples.reshape(layout.shape).copy()
        frame.put_side_data(SideDataType.CUSTOM_DATA, made)
        self._spare_numbers.append(buffer)


def _kernel_of(
    session: FilterSession, given: object, parameters: Mapping[str, Value]
) -> tuple[Kernel, dict[str, Value]]:
    """Return the kernel and all of its parameters.

    Raises
    ------
    InvalidError
        There is no kernel to run.
    KernelError
        There is none of that name, or a parameter is wrong.
    """
    called: dict[str, Value] = {}
    if isinstance(given, Kernel):
        kernel = given
    elif isinstance(given, str):
        kernel, called = parse_given(given)
    else:
        raise InvalidError(
            f"{session.name} needs a kernel: params={{'kernel': 'invert(amount=0.5)'}}, got "
            f"{given!r}"
        )
    try:
        return kernel, kernel.check({**called, **parameters})
    except KernelError as error:
        raise KernelError(f"{kernel.name}: {error}") from error
