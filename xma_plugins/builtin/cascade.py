"""Which output of a scaler is made of which other one."""

from collections.abc import Sequence

__all__ = ["cascade_parents", "largest_first"]


def cascade_parents(
    sizes: Sequence[tuple[int, int]], half_rate: Sequence[bool]
) -> tuple[int | None, ...]:
    """Return of which other output each one is made; None for those of the picture itself.

    It is the smallest one that is no smaller along either side and is there whenever it is needed:
    one of full rate is not made of one of half rate.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Width and height of each output.
    half_rate : sequence of bool
        Whether it has every second picture alone.
    """
    parents: list[int | None] = [None] * len(sizes)
    before: list[int] = []
    for index in largest_first(sizes):
        fitting = [
            each
            for each in before
            if sizes[each][0] >= sizes[index][0]
            and sizes[each][1] >= sizes[index][1]
            and (half_rate[index] or not half_rate[each])
        ]
        parents[index] = fitting[-1] if fitting else None
        before.append(index)
    return tuple(parents)


def largest_first(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the numbers of outputs by their pixels, and those of one size as they are given."""
    return sorted(range(len(sizes)), key=lambda index: -sizes[index][0] * sizes[index][1])
