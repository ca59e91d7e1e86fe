"""Enumerations of numbers that the original defines, and that people read by name."""

import enum
from typing import Self

from xma_plugins.errors import InvalidError

__all__ = ["Code"]


class Code(enum.IntEnum):
    """Members that are the original's numbers, and are shown by their names."""

    def __str__(self) -> str:
        return self.name

    @classmethod
    def read(cls, given: "Code | int | str") -> Self:
        """Return a member by itself, by its number, or by its name in any case.

        Raises
        ------
        InvalidError
            There is none; the message lists those there are.
        """
        try:
            return cls[given.upper()] if isinstance(given, str) else cls(given)
        except (KeyError, ValueError) as error:
            there = ", ".join(f"{member.name} {member.value}" for member in cls)
            raise InvalidError(f"no {cls.__name__} {given!r}; there is {there}") from error
