"""Enumerations that people read and write: one table for both directions."""

import enum
from typing import Self

from bridges.errors import FormatError

__all__ = ["Named"]


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


class Named(enum.Enum):
    """Members whose value is the name that people read."""

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the member called ``text``; case, spaces, hyphens and underscores do not matter.

        Raises
        ------
        FormatError
            There is none; the message lists those there are.
        """
        wanted = _plain(text)
        for member in cls:
            if wanted in (_plain(str(member.value)), _plain(member.name)):
                return member
        there = ", ".join(str(member.value) for member in cls)
        raise FormatError(f"no {cls.__name__} {text!r}; there is {there}")
