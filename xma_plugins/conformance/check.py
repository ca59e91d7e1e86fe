"""The check: it plays scenarios, watches that none hangs, and says which rules were broken."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xma_plugins.conformance.rule import Broken, Rule, RuleBrokenError
from xma_plugins.conformance.scenario import SCENARIOS, Scenario, scenarios
from xma_plugins.conformance.setup import Setup
from xma_plugins.conformance.stage import RefusedError, Stage, UnusableError
from xma_plugins.conformance.trace import Trace
from xma_plugins.device import Device, DeviceDescription, open_device
from xma_plugins.errors import InvalidError
from xma_plugins.kinds import SessionType
from xma_plugins.plugin import Plugin
from xma_plugins.registry import find_plugin, handshake

if TYPE_CHECKING:
    from xma_plugins.conformance.trace import Scene

__all__ = ["Report", "Result", "check", "check_plugin", "check_scenario", "class_of", "on_device"]

_TICK_SECONDS = 0.02


@dataclass(frozen=True)
class Result:
    """What became of one scenario.

    Attributes
    ----------
    scenario : str
        Its name.
    state : str
        ``"passed"``; ``"refused"``, where the plugin says that it does not do that, and need not;
        ``"broken"``; or ``"not played"``.
    detail : str
        What was refused or broken, or what else is to be told.
    steps : int
        Calls that were made.
    seconds : float
        How long it took.
    broken : Broken or None
        The rule.
    """

    scenario: str
    state: str
    detail: str = ""
    steps: int = 0
    seconds: float = 0.0
    broken: Broken | None = None


@dataclass
class Report:
    """What a check found.

    Attributes
    ----------
    plugin : str
        Its name.
    results : list of Result
        Of each scenario, in order.
    trace : Trace
        All calls and answers.
    """

    plugin: str
    trace: Trace
    results: list[Result] = field(default_factory=list)

    @property
    def broken(self) -> list[Broken]:
        """The rules that were broken, by scenario."""
        return [result.broken for result in self.results if result.broken is not None]

    @property
    def is_ok(self) -> bool:
        """Whether no rule was broken."""
        return not self.broken

    def __str__(self) -> str:
        if self.is_ok:
            passed = sum(result.state == "passed" for result in self.results)
            return f"plugin {self.plugin} breaks no rule in {passed} scenarios"
        lines = [f"plugin {self.plugin} breaks rules"]
        for rule in dict.fromkeys(each.rule for each in self.broken):
            first, *others = [each for each in self.broken if each.rule is rule]
            lines.append(f"  {first}")
            if others:
                lines.append(f"    and in {', '.join(each.scenario for each in others)}")
        return "\n".join(lines)


def check(
    plugin: str | type[Plugin],
    setup: Setup | None = None,
    *,
    device: Device | str = "cpu",
    only: Sequence[str] = (),
    timeout: float = 30.0,
    on_result: Callable[[Result], None] | None = None,
) -> Report:
    """Use a plugin in every way that is allowed, and try every way that is not.

    Parameters
    ----------
    plugin : str or type
        Its name or its class.
    setup : Setup, optional
        What it is tried with; a decoder needs one, with packets.
    device : Device or str
        Where it works; one that is named is opened and closed again.
    only : sequence of str
        Names of scenarios; by default all that there are for its kind.
    timeout : float
        Seconds that a call may take, or a stream may stand still.
    on_result : callable, optional
        Called after each scenario.

    Returns
    -------
    Report
        Its ``trace`` can be written, and played again by `replay`.

    Raises
    ------
    InvalidError
        A decoder without packets; there is no such scenario; or a wrong setup.
    PluginError
        There is no such plugin, or it cannot be made with this setup.
    NoDeviceError, DeviceError
        The device is not there, or fails.
    """
    made, chosen = class_of(plugin), setup or Setup()
    wanted = _chosen(made, chosen, only)
    report = Report(plugin if isinstance(plugin, str) else plugin.__name__, Trace())
    with ExitStack() as opened:
        stage = Stage(
            made,
            chosen,
            device=on_device(device, opened),
            timeout=timeout,
            trace=report.trace,
        )
        for scenario in wanted:
            result = _result(stage, scenario)
            report.results.append(result)
            if on_result is not None:
                on_result(result)
            if result.broken is not None and result.broken.rule is Rule.HANG:
                opened.pop_all()  # The device would wait for what never ends.
                rest = wanted[len(report.results) :]
                report.results += [Result(each.name, "not played") for each in rest]
                break
    return report


def check_plugin(plugin: str | type[Plugin], setup: Setup | None = None, **given: Any) -> None:
    """Check a plugin in a test of its author's; parameters are those of `check`.

    Raises
    ------
    AssertionError
        It breaks rules; the message lists them.
    """
    report = check(plugin, setup, **given)
    if not report.is_ok:
        raise AssertionError(str(report))


def check_scenario(
    plugin: str | type[Plugin], scenario: str, setup: Setup | None = None, **given: Any
) -> None:
    """Check one scenario in a test that is parametrized by `scenarios`; see `check_plugin`.

    The stream as it comes is played first, so that there is something to compare with; what is
    found there is for the test of that scenario.
    """
    first = scenarios(class_of(plugin))[0]
    report = check(plugin, setup, only=(first, scenario), **given)
    report.results = [each for each in report.results if each.scenario == scenario]
    if not report.is_ok:
        raise AssertionError(str(report))


def class_of(plugin: str | type[Plugin]) -> type[Plugin]:
    """Return a plugin's class; see `xma_plugins.registry.find_plugin`."""
    if isinstance(plugin, str):
        return find_plugin(plugin)
    handshake(plugin)
    return plugin


def on_device(device: Device | str, opened: ExitStack) -> Device:
    """Return a device; what had to be opened is closed with ``opened``."""
    if isinstance(device, Device):
        return device
    return opened.enter_context(open_device(DeviceDescription(device)))


def _chosen(plugin: type[Plugin], setup: Setup, only: Sequence[str]) -> list[Scenario]:
    if plugin.kind is SessionType.DECODER and len(setup.packets) < 2:
        raise InvalidError(
            f"decoder {plugin.__name__} needs two packets or more to decode: give them by "
            "Setup(packets=...), or a file by --input"
        )
    there = scenarios(plugin)
    for name in only:
        if name not in there:
            raise InvalidError(f"no scenario {name!r}, only {', '.join(there)}")
    return [each for each in SCENARIOS if each.name in (only or there)]


def _result(stage: Stage, scenario: Scenario) -> Result:
    """Play one scenario in a thread of its own, which may never come back."""
    stage.begin(scenario.name)
    if scenario.name == "own" and not stage.knows_forms:
        return Result("own", "not played", "nothing was received that could tell the form")
    outcome: list[Result | BaseException] = []
    started = time.monotonic()
    scenes_before = len(stage.trace.scenes)
    thread = threading.Thread(
        target=lambda: outcome.append(_outcome(stage, scenario)),
        name="xtranscode-check",
        daemon=True,
    )
    thread.start()
    while thread.is_alive():
        thread.join(_TICK_SECONDS)
        broken = _hung(stage, scenario, stage.trace.scenes[scenes_before:], started)
        if broken is not None and thread.is_alive():
            outcome = [Result(scenario.name, "broken", str(broken), broken=broken)]
            break
    (made,) = outcome
    if isinstance(made, BaseException):
        raise made
    steps = sum(len(scene.steps) for scene in stage.trace.scenes[scenes_before:])
    seconds = round(time.monotonic() - started, 3)
    return Result(made.scenario, made.state, made.detail, steps, seconds, made.broken)


def _hung(
    stage: Stage, scenario: Scenario, scenes: "Sequence[Scene]", started: float
) -> Broken | None:
    """Return what to tell of a scenario in which nothing has happened for too long."""
    latest = max((scene.changed_at for scene in scenes), default=started)
    if time.monotonic() - latest <= stage.timeout:
        return None
    waiting = [scene for scene in scenes if scene.steps and not scene.steps[-1].answer]
    # Sessions that are given up are closed without a step.
    call = str(waiting[0].steps[-1]) if waiting else "the plugin's close"
    number = waiting[0].steps[-1].number if waiting else 0
    detail = f"{call} did not return within {stage.timeout:g} s"
    return Broken(Rule.HANG, detail, scenario.name, number)


def _outcome(stage: Stage, scenario: Scenario) -> Result | BaseException:
    """Return what is to be told, or raised, in the thread of the check."""
    try:
        return _play(stage, scenario)
    except UnusableError as error:
        stage.drop()
        return error.__cause__ or error
    except Exception as error:  # noqa: BLE001 - Raised by the caller.
        return error
    except BaseException as error:  # noqa: BLE001 - It would end the thread alone, unheard.
        detail = f"{error!r} came out of it; a plugin raises an Exception"
        broken = Broken(Rule.ERRORS, detail, scenario.name, 0)
        return Result(scenario.name, "broken", str(broken), broken=broken)


def _play(stage: Stage, scenario: Scenario) -> Result:
    try:
        scenario.play(stage)
        stage.check_left()
    except RefusedError as refusal:
        stage.drop()
        return _left(stage, Result(scenario.name, "refused", str(refusal)))
    except RuleBrokenError as error:
        step = 0 if stage.current is None else len(stage.current.scene.steps)
        broken = Broken(error.rule, error.detail, scenario.name, step)
        stage.drop()
        return Result(scenario.name, "broken", str(broken), broken=broken)
    return Result(scenario.name, "passed", ", ".join(stage.notes))


def _left(stage: Stage, result: Result) -> Result:
    """Return a result, or the rule that was broken by what a refusal left behind."""
    try:
        stage.check_left()
    except RuleBrokenError as error:
        broken = Broken(error.rule, error.detail, result.scenario, 0)
        return Result(result.scenario, "broken", str(broken), broken=broken)
    return result
