"""Admission of jobs by load: how much of a device a job takes, and whether so much is left.

A load is in millionths of a *card*, a device that does four streams of 1080p at 60 frames a second
at once: Xilinx's Video SDK counts so. Reservations hold between all processes of a user, and the
kernel frees them when their process ends.
"""

import math
import os
from fractions import Fraction

from bridges.closable import Closable
from xma_plugins.errors import ChannelCapacityError, InvalidError
from xma_plugins.ledger import Holder, Ledger

__all__ = [
    "CARD_LOAD",
    "Holder",
    "Reservation",
    "holders",
    "measured_load",
    "pixel_load",
    "reserve",
]

CARD_LOAD = 1_000_000
"""The capacity of a card, and of any device of which nobody said another."""

_CARD_PIXELS_PER_SECOND = 1920 * 1080 * 60 * 4


def pixel_load(pixels_per_second: Fraction) -> int:
    """Return the load of so many pixels a second, rounded up.

    10^6 x width x height x fps / (1920 x 1080 x 60 x 4): Xilinx Video SDK, job slot reservation.
    """
    return math.ceil(CARD_LOAD * pixels_per_second / _CARD_PIXELS_PER_SECOND)


def measured_load(rate: Fraction, measured_rate: Fraction) -> int:
    """Return the load of a job that has to keep a rate, rounded up.

    Parameters
    ----------
    rate : Fraction
        Frames per second that the job must reach: in real time, its source's.
    measured_rate : Fraction
        Frames per second that it reached with the device to itself, which is then all of a card.
    """
    return math.ceil(CARD_LOAD * rate / measured_rate)


class Reservation(Closable):
    """A load that is held on a device until it is closed, or its process ends.

    A forked child has no part in it; `survive_exec` hands it to another program.

    Attributes
    ----------
    device : str
        The device's name.
    holder : Holder
        What others are told of it.
    """

    def __init__(self, ledger: Ledger, holder: Holder) -> None:
        self.device = ledger.device
        self.holder = holder
        self._ledger = ledger

    @property
    def load(self) -> int:
        """In millionths of a card."""
        return self.holder.load

    @property
    def is_held(self) -> bool:
        """Whether this process holds it."""
        return self._ledger.is_open

    def survive_exec(self) -> None:
        """Let the program that replaces this process (``os.exec*``) hold it until it ends.

        So do the programs that it starts, unless they close the files that they inherit.
        """
        self._ledger.survive_exec()

    def close(self) -> None:
        """Free the load; may be repeated."""
        self._ledger.close()


def reserve(device_name: str, load: int, label: str, *, capacity: int = CARD_LOAD) -> Reservation:
    """Reserve a load on a device, at once or not at all.

    Parameters
    ----------
    device_name : str
        As all who share the device call it: the name is taken as it is, and ``opencl`` is another
        one than ``opencl:0:0``. ``xtranscode plan --json`` tells the one that it uses.
    load : int
        In millionths of a card.
    label : str
        What others are told of the holder; its first 240 bytes are kept.
    capacity : int
        How much the device takes, in millionths of a card.

    Raises
    ------
    ChannelCapacityError
        Too little is left; the message names the holders.
    InvalidError
        The load is no whole number above 0, or there is no name.
    XmaError
        The reservation cannot be written down.
    """
    if type(load) is not int or load <= 0:
        raise InvalidError(f"a load is a whole number above 0, got {load!r}")
    if not device_name:
        raise InvalidError("a reservation names a device, such as opencl:0:0")
    holder = Holder(load, os.getpid(), label)
    ledger = Ledger(device_name)
    try:
        with ledger.exclusive():
            held = ledger.holders()
            _check(device_name, holder, capacity, tuple(held.values()))
            number = next(n for n in range(1, len(held) + 2) if n not in held)
            ledger.write(number, holder)
    except BaseException:
        ledger.close()
        raise
    return Reservation(ledger, holder)


def _check(device: str, wanted: Holder, capacity: int, held: tuple[Holder, ...]) -> None:
    used = sum(holder.load for holder in held)
    if used + wanted.load <= capacity:
        return
    what = f"{wanted.label} needs a load of {wanted.load} on {device}"
    if wanted.load > capacity:
        raise ChannelCapacityError(f"{what}, whose capacity is {capacity}")
    names = ", ".join(str(holder) for holder in held)
    raise ChannelCapacityError(f"{what}, and {capacity - used} of {capacity} is free: {names}")


def holders(device_name: str) -> tuple[Holder, ...]:
    """Return who holds load on a device now.

    Raises
    ------
    XmaError
        What is written down cannot be read.
    """
    with Ledger(device_name) as ledger, ledger.exclusive():
        return tuple(ledger.holders().values())
