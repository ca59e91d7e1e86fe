"""What the guest says: its command's output and end, and the kernel's words."""

from __future__ import annotations

import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Channels"]

_BLOCK = 1 << 16


class Channels:
    """Sockets between QEMU and this process: a serial port of virtio's for each, and the console.

    Parameters
    ----------
    outputs : dict of str to int
        The file descriptor that gets what comes over a channel, by its name.

    Attributes
    ----------
    status : bytes
        What the guest said about its command: a line as it starts, and one with its exit status.
    console : bytes
        The last that QEMU, the kernel and its first process complained about.
    """

    def __init__(self, outputs: dict[str, int]) -> None:
        self.status = self.console = b""
        self._outputs = outputs
        self._ours: dict[str, socket.socket] = {}
        self._ends: dict[str, socket.socket] = {}
        for name in (*outputs, "status", "console"):
            self._ours[name], self._ends[name] = socket.socketpair()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close_ends()
        for ours in self._ours.values():
            ours.close()

    @property
    def ends(self) -> tuple[int, ...]:
        """Return the file descriptors that QEMU inherits."""
        return tuple(end.fileno() for end in self._ends.values())

    @property
    def console_end(self) -> int:
        """Return the file descriptor that QEMU itself can complain to."""
        return self._ends["console"].fileno()

    def close_ends(self) -> None:
        """Close QEMU's ends, so that the channels end with it."""
        for end in self._ends.values():
            end.close()

    def options(self) -> list[str]:
        """Return QEMU's options; the guest finds each port by its name."""
        line = ["-device", "virtio-serial-pci"]
        for name, end in self._ends.items():
            device = f"virtserialport,chardev={name},name={name}"
            line += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
            line += ["-serial", f"chardev:{name}"] if name == "console" else ["-device", device]
        return line

    @property
    def has_started(self) -> bool:
        """Return whether the guest has booted, and the command runs."""
        return b"\n" in self.status

    @property
    def exit_status(self) -> int | None:
        """Return the command's exit status, or None as long as it is not told."""
        lines = self.status.split(b"\n")
        return int(lines[1]) if len(lines) > 2 else None

    def follow(self, stop: Callable[[], None], deadline: float, boot_deadline: float) -> None:
        """Pass on what comes until QEMU closes all channels, and stop it after the status.

        Parameters
        ----------
        stop : callable
            Ends QEMU. What the command wrote is in the channels by then.
        deadline, boot_deadline : float
            When all has to be over, and when the command has to run, of ``time.monotonic``.

        Raises
        ------
        TimeoutError
            It is not.
        """
        with selectors.DefaultSelector() as selector:
            for name, ours in self._ours.items():
                selector.register(ours, selectors.EVENT_READ, name)
            while selector.get_map():
                limit = deadline if self.has_started else min(deadline, boot_deadline)
                left = limit - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    raise TimeoutError
                for key, _ in ready:
                    data = self._ours[key.data].recv(_BLOCK)
                    if not data:
                        selector.unregister(key.fileobj)
                    self._take(key.data, data)
                if self.exit_status is not None:
                    stop()

    def _take(self, name: str, data: bytes) -> None:
        if name in self._outputs:
            while data:
                data = data[os.write(self._outputs[name], data) :]
        elif name == "status":
            self.status += data
        else:
            self.console = (self.console + data)[-_BLOCK:]
