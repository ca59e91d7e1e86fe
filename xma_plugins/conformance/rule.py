"""The rules that plugins are held to."""

import enum
from dataclasses import dataclass

__all__ = ["Broken", "Rule", "RuleBrokenError"]


class Rule(enum.Enum):
    """What a plugin has to do, or leave; the value is how people read it."""

    STATUS = "an answer is one that has a meaning where it is given"
    BOTH_SIDES = "TRY_AGAIN never comes from both sides"
    FILLED = "what is received with SUCCESS has samples or data"
    COUNT = "every picture that goes in comes out once"
    TIME = "times are kept, all 64 bits of them, and pictures come in their order"
    SIDE_DATA = "side data stays with its picture"
    BYTES_TAKEN = "a decoder says how many bytes it took"
    END = "a stream ends"
    HANG = "every call returns"
    REFERENCE = "what is used after the call is held by a reference"
    RELEASE = "nothing is let go of twice"
    PLANES = "every plane and all side data that was held is let go of at the end"
    BUFFERS = "every buffer is freed at the end"
    SAME_RESULT = "the same pictures give the same result, however they are sent"
    ERRORS = "what goes wrong raises an error of xma_plugins that says what"
    LEGAL_CALLS = "what is asked in the right order is done"
    ILLEGAL_CALLS = "what is asked out of order never reaches the plugin"


class RuleBrokenError(Exception):
    """A plugin broke a rule; it ends a scenario.

    Parameters
    ----------
    rule : Rule
        Which.
    detail : str
        What was found.
    """

    def __init__(self, rule: Rule, detail: str) -> None:
        super().__init__(f"rule broken: {rule.value}: {detail}")
        self.rule, self.detail = rule, detail


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that was broken, and where.

    Attributes
    ----------
    rule : Rule
        Which.
    detail : str
        What was found.
    scenario : str
        Where.
    step : int
        The call of the scenario, from 1, as the trace counts them.
    """

    rule: Rule
    detail: str
    scenario: str
    step: int

    def __str__(self) -> str:
        return (
            f"rule broken: {self.rule.value}: {self.detail}, at step {self.step} of scenario "
            f"{self.scenario}"
        )
