"""What holds plugins to the rules: each broken rule is found, and those that keep them pass."""

from __future__ import annotations

import json
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from bridges.backends.opencl import probe
from tests.helpers.require import require
from tests.xma_plugins import broken_plugins
from tests.xma_plugins.broken_plugins import BROKEN, RELEASED
from xma_plugins.conformance import (
    Rule,
    Setup,
    Trace,
    check,
    check_plugin,
    check_scenario,
    replay,
    scenarios,
)
from xma_plugins.device import DeviceDescription, open_device
from xma_plugins.errors import InvalidError, PluginError
from xma_plugins.kinds import DecoderType, SessionType
from xma_plugins.order import Order
from xma_plugins.plugin import AdminPlugin, FilterPlugin, KernelPlugin
from xma_plugins.properties import Port
from xma_plugins.registry import find_plugin
from xma_plugins.skeleton import PassThrough
from xma_plugins.status import Status

PACKETS = Setup(packets=tuple((bytes((number, 1)), 1 << 40 | number) for number in range(5)))
TIMEOUT = 0.25


@pytest.fixture(scope="module")
def device():
    with open_device(DeviceDescription("cpu", compute_units=["crop", "invert"])) as opened:
        yield opened


def _let_go():
    """Let the plugins that hang come back."""
    RELEASED.set()
    for thread in threading.enumerate():
        if thread.name.startswith("xtranscode-check"):
            thread.join()
    RELEASED.clear()


@pytest.mark.parametrize(
    ("plugin", "rule", "scenario"), BROKEN, ids=lambda each: getattr(each, "__name__", str(each))
)
def test_the_rule_that_is_broken_is_named(plugin, rule, scenario, device):
    setup = PACKETS if plugin.kind is SessionType.DECODER else Setup()
    # Each scenario of a stream without end takes all of the time that there is.
    only = ("stream",) if rule is Rule.END else ()
    report = check(plugin, setup, device=device, only=only, timeout=TIMEOUT)
    _let_go()
    assert {each.rule for each in report.broken} == {rule}, str(report)
    first = report.broken[0]
    assert first.scenario == scenario
    text = f"rule broken: {rule.value}: {first.detail}, at step {first.step} of scenario {scenario}"
    assert str(first) == text
    assert text in str(report)
    assert not report.is_ok
    for buffer in device.buffers:  # Of those who free nothing.
        buffer.free()


def test_each_rule_is_broken_by_some_plugin():
    assert {rule for _, rule, _ in BROKEN} == set(Rule) - {Rule.ILLEGAL_CALLS}


def test_an_illegal_call_that_gets_through_is_found(monkeypatch, device):
    monkeypatch.setattr(Order, "before_receive", lambda _: None)
    report = check(PassThrough, device=device, only=["stream", "order"], timeout=TIMEOUT)
    (broken,) = report.broken
    assert broken.rule is Rule.ILLEGAL_CALLS
    assert str(broken).endswith("receive was let through, at step 2 of scenario order")


@pytest.mark.parametrize(
    ("plugin", "params"),
    [
        (PassThrough, {}),
        (PassThrough, {"depth": 5}),
        ("copy_filter", {}),
        ("copy_filter", {"zerocopy": True}),
        ("copy_filter", {"depth": 1, "pool": 1}),
        ("copy_encoder", {}),
        ("copy_encoder", {"zerocopy": True, "depth": 3}),
        ("kernel_filter", {"kernel": "invert"}),
    ],
)
@pytest.mark.parametrize("pixels", ["yuv420p", "p010le"])
def test_those_that_keep_the_rules_pass(plugin, params, pixels, device):
    report = check(plugin, Setup(format=pixels, params=params), device=device, timeout=10)
    assert report.is_ok, str(report)
    assert [each.scenario for each in report.results] == list(scenarios(_class(plugin)))
    assert {each.state for each in report.results} == {"passed"}
    assert next(e.detail for e in report.results if e.scenario == "smallest") == "1x1"


def _class(plugin):
    return find_plugin(plugin) if isinstance(plugin, str) else plugin


def test_on_opencl():
    found = probe()
    require("opencl", found.available, found.reason)
    with open_device(DeviceDescription("opencl", compute_units=["crop"])) as opened:
        for plugin in ("copy_filter", "copy_encoder"):
            for zerocopy in (False, True):
                setup = Setup(params={"zerocopy": zerocopy})
                check_plugin(plugin, setup, device=opened, timeout=30)


def test_a_decoder_of_ffmpeg(device):
    setup = Setup(packets=_h264(), properties={"type": DecoderType.H264})
    check_plugin("libav_decoder", setup, device=device, timeout=10)


def _h264(count=9):
    """Return a small clip whose pictures are coded in another order than they are shown."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.framerate, encoder.time_base = 25, Fraction(1, 25)
    encoder.options = {"bf": "2"}
    random = np.random.default_rng(1)
    packets = []
    for number in range(count):
        samples = random.integers(0, 255, (72, 64), dtype=np.uint8)
        picture = av.VideoFrame.from_ndarray(samples, format="yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    return tuple((bytes(packet), packet.pts) for packet in packets)


def test_packets_that_are_taken_in_parts(device):
    check_plugin(broken_plugins.TakesPacketsApart, PACKETS, device=device, timeout=TIMEOUT)


def test_scenarios_are_for_a_kind():
    assert "own" not in scenarios(broken_plugins.NeverDrainsTheLast)
    assert "device" not in scenarios(broken_plugins.TakesNothing)
    assert scenarios(KernelPlugin) == ("written", "written order", "unused", "init", "two")
    assert scenarios(AdminPlugin) == scenarios(KernelPlugin)


@pytest.mark.parametrize("scenario", scenarios(PassThrough))
def test_of_a_plugins_author(scenario, device):
    check_scenario(PassThrough, scenario, Setup(format="nv12"), device=device, timeout=10)


def test_of_a_plugins_author_whose_plugin_is_broken(device):
    lost = broken_plugins.LosesTheThird
    with pytest.raises(AssertionError, match="LosesTheThird breaks rules\n  rule broken: every p"):
        check_plugin(lost, device=device, timeout=TIMEOUT)
    with pytest.raises(AssertionError, match=r"at step [0-9]+ of scenario storm"):
        check_scenario(lost, "storm", device=device, timeout=TIMEOUT)
    check_scenario(lost, "unused", Setup(is_one_to_one=False), device=device, timeout=TIMEOUT)


class Memory(KernelPlugin):
    xma_version = (2020, 1)

    def init(self, session):
        self.parameters = {}

    def write(self, session, parameters):
        self.parameters.update(parameters)

    def read(self, session):
        return self.parameters


class Units(Memory, AdminPlugin):
    kind = SessionType.ADMIN


@pytest.mark.parametrize("plugin", [Memory, Units])
def test_plugins_that_take_no_pictures(plugin, device):
    report = check(plugin, Setup(parameters={"level": 3}), device=device, timeout=TIMEOUT)
    assert report.is_ok, str(report)
    steps = [str(step) + step.answer for step in report.trace.scenes[0].steps]
    assert "read{'level': 3}" in steps


class AsksAgain(PassThrough):
    """Ends by FLUSH_AGAIN, and refuses every picture first, where it has something to give."""

    refusals = 0

    def send_frame(self, session, frame):
        if frame.is_last_frame and len(self.frames) > 1:
            return Status.FLUSH_AGAIN
        self.refusals = (self.refusals + 1) % 3
        if self.frames and self.refusals:
            return (Status.TRY_AGAIN, Status.RESEND_AND_RECV)[self.refusals - 1]
        return super().send_frame(session, frame)


def test_other_answers_that_are_allowed(device):
    report = check(AsksAgain, Setup(params={"depth": 4}), device=device, timeout=TIMEOUT)
    assert report.is_ok, str(report)
    answers = {step.answer for scene in report.trace.scenes for step in scene.steps}
    assert {"FLUSH_AGAIN", "RESEND_AND_RECV", "TRY_AGAIN", "EOS"} <= answers


class TakesDummiesAlone(PassThrough):
    def recv_frame(self, session, frame):
        if not frame.is_dummy:
            raise InvalidError("receive into dummies")
        return super().recv_frame(session, frame)


class EvenSizesAlone(PassThrough):
    def init(self, session):
        super().init(session)
        if session.properties.input.width % 2:
            raise InvalidError("widths are even")


def test_what_may_be_refused_is_no_broken_rule(device):
    states = _states(TakesDummiesAlone, device)
    assert states["own"] == ("refused", "receive into dummies")
    states = _states(EvenSizesAlone, device)
    assert states["odd"] == ("refused", "widths are even")
    assert states["smallest"] == ("passed", "2x2")


def _states(plugin, device):
    report = check(plugin, device=device, timeout=TIMEOUT)
    assert report.is_ok, str(report)
    return {each.scenario: (each.state, each.detail) for each in report.results}


class TwicePerPicture(FilterPlugin):
    """Makes two pictures of each, as a deinterlacer does."""

    xma_version = (2020, 1)

    def init(self, session):
        self.frames = []
        self.is_ending = False

    def send_frame(self, session, frame):
        if frame.is_last_frame:
            self.is_ending = True
            return Status.SUCCESS
        if self.frames:
            return Status.TRY_AGAIN
        self.frames += [frame.reference(), frame.reference()]
        return Status.SUCCESS

    def recv_frame(self, session, frame):
        if not self.frames:
            return Status.EOS if self.is_ending else Status.TRY_AGAIN
        with self.frames.pop() as made:
            if frame.is_dummy:
                frame.take(made)
            else:
                frame.copy_from(made)
        return Status.SUCCESS

    def close(self, session):
        while getattr(self, "frames", []):
            self.frames.pop().close()


class NeverStops(TwicePerPicture):
    def recv_frame(self, session, frame):
        if len(self.frames) == 1:
            self.frames.append(self.frames[0].reference())
        return super().recv_frame(session, frame)


def test_filters_that_make_more_pictures_may(device):
    setup = Setup(is_one_to_one=False)
    check_plugin(TwicePerPicture, setup, device=device, timeout=TIMEOUT)
    report = check(TwicePerPicture, device=device, timeout=TIMEOUT)
    assert {each.rule for each in report.broken} == {Rule.COUNT}
    report = check(NeverStops, setup, device=device, only=["stream"], timeout=TIMEOUT)
    assert [each.rule for each in report.broken] == [Rule.END]


class ForgetsTheLast(PassThrough):
    """Drops the last picture of all sessions but its first."""

    count = 0

    def init(self, session):
        super().init(session)
        ForgetsTheLast.count += 1

    def send_frame(self, session, frame):
        if frame.is_last_frame and ForgetsTheLast.count > 1 and self.frames:
            self.frames.pop().close()
        return super().send_frame(session, frame)


def test_fewer_results_are_not_the_same(device):
    setup = Setup(is_one_to_one=False, pictures=7)
    only = ["stream", "open"]
    report = check(ForgetsTheLast, setup, device=device, only=only, timeout=TIMEOUT)
    (broken,) = report.broken
    assert (broken.rule, broken.scenario) == (Rule.SAME_RESULT, "open")
    assert broken.detail == "6 results came, and otherwise 7"


def test_an_output_at_half_rate_may_stay_empty(device):
    outputs = (
        Port(format="yuv420p", width=32, height=24),
        Port(format="yuv420p", width=32, height=24, is_half_rate=True),
    )
    setup = Setup(properties={"outputs": outputs})
    report = check("kernel_scaler", setup, device=device, only=["stream"], timeout=10)
    assert report.is_ok, str(report)
    answers = [step.answer for step in report.trace.scenes[0].steps if step.call == "receive"]
    assert any(answer.endswith("not due") for answer in answers)


def test_after_a_hang_nothing_is_played():
    report = check(broken_plugins.Hangs, device="cpu", timeout=TIMEOUT)
    _let_go()
    assert [each.state for each in report.results][:2] == ["broken", "not played"]
    assert report.broken[0].detail == f"receive dummy did not return within {TIMEOUT} s"


def test_what_cannot_be_tried_is_an_error(device):
    with pytest.raises(InvalidError, match="needs two packets or more"):
        check("libav_decoder", device=device)
    with pytest.raises(InvalidError, match="no scenario 'storms', only stream, one, "):
        check(PassThrough, device=device, only=["storms"])
    with pytest.raises(InvalidError, match="widths are even"):
        check(EvenSizesAlone, Setup(width=3), device=device, timeout=TIMEOUT)
    with pytest.raises(PluginError, match="no plugin 'nosuch'"):
        check("nosuch", device=device)
    with pytest.raises(PluginError, match="is no plugin"):
        check(Rule, device=device)


def test_a_trace_can_be_played_again(tmp_path, device):
    path = tmp_path / "trace.jsonl"
    report = check(PassThrough, device=device, timeout=TIMEOUT)
    report.trace.write(path)
    assert len(Trace.read(path).scenes) == len(report.trace.scenes)
    assert replay(path, PassThrough, device=device, timeout=TIMEOUT) == []
    differences = replay(path, broken_plugins.LosesTheThird, device=device, timeout=TIMEOUT)
    first = differences[0]
    assert (first.scenario, first.call) == ("stream", "send 3")
    assert (first.before, first.now) == ("SUCCESS", "SEND_MORE_DATA")
    only = replay(
        report.trace, broken_plugins.LosesTheThird, device=device, scenario="storm", timeout=TIMEOUT
    )
    assert {each.scenario for each in only} == {"storm"}
    assert f"at step {only[0].step} of scenario storm" in str(only[0])


def test_a_trace_of_a_decoder_holds_its_packets(tmp_path, device):
    path = tmp_path / "trace.jsonl"
    plugin = broken_plugins.TakesPacketsApart
    check(plugin, PACKETS, device=device, timeout=TIMEOUT).trace.write(path)
    assert Trace.read(path).scenes[0].setup == PACKETS
    assert replay(path, plugin, device=device, timeout=TIMEOUT) == []


def test_a_trace_tells_calls_answers_and_times(tmp_path, device):
    path = tmp_path / "trace.jsonl"
    check(PassThrough, device=device, only=["one"], timeout=TIMEOUT).trace.write(path)
    head, *steps = map(json.loads, path.read_text().splitlines())
    assert (head["type"], head["scenario"], head["setup"]["format"]) == ("scene", "one", "yuv420p")
    calls = [(step["call"], step["argument"]) for step in steps]
    assert calls[:4] == [("create", ""), ("send", "0"), ("close", "0"), ("end", "")]
    assert [step["answer"] for step in steps][:4] == [
        "open",
        "SEND_MORE_DATA",
        "closed",
        "SUCCESS",
    ]
    assert steps[4]["answer"].startswith("SUCCESS pts=1099511627783 ")
    assert all(step["seconds"] >= 0 for step in steps)


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "step"}', '{"type": "scene"}', "3"])
def test_what_is_no_trace_is_refused(tmp_path, text):
    (path := tmp_path / "trace.jsonl").write_text(text + "\n")
    with pytest.raises(InvalidError, match=r"trace\.jsonl:1 is no line of a trace"):
        Trace.read(path)


def test_no_thread_is_left():
    assert not [t for t in threading.enumerate() if t.name.startswith("xtranscode-check")]
