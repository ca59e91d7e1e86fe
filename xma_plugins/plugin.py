"""The base classes of plugins: what an accelerator's kernel needs to be a session.

There is one instance of a plugin for each session; what it keeps, it keeps in itself. Callbacks
are called by one thread at a time. They return a `Status`; what fails raises. An `InvalidError`
says that the item is wrong, that nothing was taken, and that the next may come; after any other
failure the session can only be destroyed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from xma_plugins.kinds import SessionType
from xma_plugins.status import Status

if TYPE_CHECKING:
    from bridges.frame import FrameInfo
    from xma_plugins.frames import XmaDataBuffer, XmaFrame

__all__ = [
    "XMA_VERSION",
    "AdminPlugin",
    "DecoderPlugin",
    "EncoderPlugin",
    "FilterPlugin",
    "KernelPlugin",
    "Plugin",
    "ScalerPlugin",
]

XMA_VERSION = (2020, 1)
"""Main and sub version of the interface: ``XMA_LIB_MAIN_VER`` and ``XMA_LIB_SUB_VER``, XRT 2.13."""


class Plugin(ABC):
    """What all plugins have in common.

    Attributes
    ----------
    kind : SessionType
        The sessions that it is for.
    xma_version : tuple of (int, int)
        The interface that it was written for; each plugin has to say it. A session takes plugins of
        its own main version, up to its own sub version.
    vendor : str
        Who made it.
    summary : str
        What it does, in one line.
    uses_device : bool
        Whether it needs a device in any case. A session of one that does not opens a device only
        where it is asked for buffers or commands.
    """

    kind: ClassVar[SessionType]
    xma_version: ClassVar[tuple[int, int]]
    vendor: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    uses_device: ClassVar[bool] = True

    def init(self, session: Any) -> None:  # noqa: B027 - A plugin may have nothing to make ready.
        """Make ready; called once, before anything else.

        Parameters
        ----------
        session : Session
            Its ``properties`` tell what is asked. Its device, and what the plugin side may call,
            are attributes and methods of it.
        """

    def close(self, session: Any) -> None:  # noqa: B027 - Nor to let go of.
        """Let go of everything, the buffers that were allocated too; called once, at the end.

        It is also called where `init` failed half-way, and in the middle of a stream.
        """


class EncoderPlugin(Plugin):
    """Takes pictures, gives coded data."""

    kind = SessionType.ENCODER

    @abstractmethod
    def send_frame(self, session: Any, frame: "XmaFrame") -> Status:
        """Take a picture; or the end, which is a frame with ``is_last_frame`` and no planes.

        Returns
        -------
        Status
            SUCCESS: data may be received. SEND_MORE_DATA: taken, but there is nothing to receive.
            TRY_AGAIN: nothing was taken; RESEND_AND_RECV: the same, and there is something to
            receive. At the end SUCCESS, or FLUSH_AGAIN: receive once, then it is told again.

        Notes
        -----
        The frame is its sender's. What is to be used later is held by ``frame.reference()``.
        """

    @abstractmethod
    def recv_data(self, session: Any, data: "XmaDataBuffer") -> Status:
        """Fill a data buffer: a dummy is given memory.

        Returns
        -------
        Status
            SUCCESS; TRY_AGAIN: there is nothing yet; EOS: nothing will come any more.
        """


class DecoderPlugin(Plugin):
    """Takes coded data, gives pictures."""

    kind = SessionType.DECODER

    @abstractmethod
    def send_data(self, session: Any, data: "XmaDataBuffer") -> tuple[Status, int]:
        """Take data; or the end, which is a buffer with ``is_eof`` and no data.

        Returns
        -------
        Status
            As of `EncoderPlugin.send_frame`.
        int
            How many bytes were taken.
        """

    @abstractmethod
    def get_properties(self, session: Any) -> "FrameInfo | None":
        """Return what the stream says of its pictures; None before it said so."""

    @abstractmethod
    def recv_frame(self, session: Any, frame: "XmaFrame") -> Status:
        """Fill a frame: a dummy is given planes; see `EncoderPlugin.recv_data`."""


class ScalerPlugin(Plugin):
    """Takes pictures, gives each in several sizes."""

    kind = SessionType.SCALER

    @abstractmethod
    def send_frame(self, session: Any, frame: "XmaFrame") -> Status:
        """Take a picture or the end; see `EncoderPlugin.send_frame`.

        At the end it returns SUCCESS or FLUSH_AGAIN for as long as there is something to receive,
        then EOS.
        """

    @abstractmethod
    def recv_frame_list(self, session: Any, frames: "list[XmaFrame]") -> Status:
        """Fill a frame for each output; see `EncoderPlugin.recv_data`.

        One that stays a dummy was not due: an output at half rate has every second picture.
        """


class FilterPlugin(Plugin):
    """Takes pictures, gives pictures."""

    kind = SessionType.FILTER

    @abstractmethod
    def send_frame(self, session: Any, frame: "XmaFrame") -> Status:
        """Take a picture or the end; see `EncoderPlugin.send_frame`."""

    @abstractmethod
    def recv_frame(self, session: Any, frame: "XmaFrame") -> Status:
        """Fill a frame: a dummy is given planes; see `EncoderPlugin.recv_data`."""


class KernelPlugin(Plugin):
    """Anything else: takes parameters, gives parameters."""

    kind = SessionType.KERNEL

    @abstractmethod
    def write(self, session: Any, parameters: Mapping[str, Any]) -> None:
        """Take parameters."""

    @abstractmethod
    def read(self, session: Any) -> Mapping[str, Any]:
        """Return parameters."""


class AdminPlugin(KernelPlugin):
    """A kernel plugin over several compute units; every command of it names its own."""

    kind = SessionType.ADMIN
