"""What was called and what was answered: a record that can be written down and played again."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from xma_plugins.conformance.setup import Setup
from xma_plugins.errors import InvalidError

__all__ = ["Scene", "Step", "Trace"]

_FORMAT = "xma-trace-1"


@dataclass(slots=True)
class Step:
    """One call of an application.

    Attributes
    ----------
    number : int
        In its scene, from 1.
    call : str
        A method of `Player`.
    argument : str
        What it was given, as the player reads it again.
    answer : str
        Status and result, or the error; empty while the call is under way.
    seconds : float
        How long it took.
    """

    number: int
    call: str
    argument: str
    answer: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return " ".join(filter(None, (self.call, self.argument)))


@dataclass(slots=True)
class Scene:
    """The calls on one session, from its creation on.

    Attributes
    ----------
    scenario : str
        What is played.
    session : int
        Which of the sessions that work at the same time, from 0.
    setup : Setup
        What the session is made with and what is sent.
    steps : list of Step
        In order.
    """

    scenario: str
    session: int
    setup: Setup
    steps: list[Step] = field(default_factory=list)
    changed_at: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, call: str, argument: str) -> Iterator[Step]:
        """Record a call while it is under way."""
        step = Step(len(self.steps) + 1, call, argument)
        self.steps.append(step)
        started = self.changed_at = time.monotonic()
        try:
            yield step
        finally:
            self.changed_at = time.monotonic()
            step.seconds = round(self.changed_at - started, 6)


class Trace:
    """The scenes of one check. Several threads may add to it."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self._lock = threading.Lock()

    def scene(self, scenario: str, session: int, setup: Setup) -> Scene:
        """Begin a scene."""
        made = Scene(scenario, session, setup)
        with self._lock:
            self.scenes.append(made)
        return made

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object a line: each scene, followed by its steps."""
        with open(path, "w", encoding="utf-8") as file:
            last: Setup | None = None
            for scene in self.scenes:
                head = {
                    "type": "scene",
                    "format": _FORMAT,
                    "scenario": scene.scenario,
                    "session": scene.session,
                    # None stands for that of the scene before: it may hold a film.
                    "setup": None if scene.setup == last else scene.setup.plain(),
                }
                last = scene.setup
                print(json.dumps(head), file=file)
                for step in scene.steps:
                    print(json.dumps({"type": "step", **asdict(step)}), file=file)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Trace":
        """Read what `write` wrote.

        Raises
        ------
        InvalidError
            The file is no trace; the message names the line.
        OSError
            It cannot be read.
        """
        trace = cls()
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                try:
                    trace._add(json.loads(line))
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    raise InvalidError(
                        f"{os.fspath(path)}:{number} is no line of a trace: {error}"
                    ) from error
        return trace

    def _add(self, item: dict[str, Any]) -> None:
        kind = item.pop("type")
        if kind == "step":
            self.scenes[-1].steps.append(Step(**item))
        elif kind == "scene" and item["format"] == _FORMAT:
            given = item["setup"]
            setup = self.scenes[-1].setup if given is None else Setup.of_plain(given)
            self.scenes.append(Scene(item["scenario"], item["session"], setup))
        else:
            raise InvalidError(f"of type {kind} and format {item.get('format')}")
