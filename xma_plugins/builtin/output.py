"""What all scalers make of their outputs: which are due, and what their pictures say."""

from xma_plugins.frames import XmaFrame
from xma_plugins.properties import Port
from xma_plugins.side_data import SideDataType

__all__ = ["describe", "is_due"]


def is_due(output: Port, number: int) -> bool:
    """Whether an output has the picture of this number, from 0."""
    return not (output.is_half_rate and number % 2)


def describe(made: XmaFrame, source: XmaFrame, output: Port) -> None:
    """Give a result its picture's time and side data, but for what has the picture's size."""
    made.describe_as(source)
    made.remove_side_data(SideDataType.QP_MAP)
    if output.frame_rate is not None:
        made.frame_rate = output.frame_rate
    elif output.is_half_rate and source.frame_rate is not None:
        made.frame_rate = source.frame_rate / 2
