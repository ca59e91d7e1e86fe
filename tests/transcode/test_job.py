"""Jobs, and the texts that their values are parsed from."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridges.device import DEVICE_KINDS, DeviceName
from bridges.errors import DeviceNotFoundError
from transcode import AudioOptions, Job, Output, VideoOptions
from transcode.errors import JobError
from transcode.job import parse_audio, parse_bit_rate, parse_rate, parse_size, parse_time

PARSERS = (parse_size, parse_rate, parse_time, parse_bit_rate, parse_audio)
# Texts that are nearly right, besides any text at all.
NEARLY = st.text(alphabet="0123456789.:/x-+eEkKmMnapl _copy٣²", max_size=20)
SIDES = st.integers(1, 16384)


@given(st.text() | NEARLY)
@example("1/0")
@example("1e400")
@example("nan")
@example("inf")
@example("9" * 400)
@example("-2x-2")
@example("1_0")
def test_parsers_raise_nothing_but_job_errors(text):
    for parse in PARSERS:
        with suppress(JobError):
            parse(text)


# Sizes


@given(SIDES, SIDES, st.sampled_from("xX:"))
def test_a_size_comes_back(width, height, sign):
    assert parse_size(f"{width}{sign}{height}") == (width, height)


@given(SIDES)
def test_one_side_may_be_left_open(side):
    assert parse_size(f"{side}x-2") == (side, -2)
    assert parse_size(f" -2x{side} ") == (-2, side)


@pytest.mark.parametrize(
    ("size", "source", "wanted"),
    [
        (None, (33, 17), (33, 17)),
        ((640, 360), (33, 17), (640, 360)),
        ((-2, 1081), (1920, 1080), (1922, 1081)),  # 1921.8 wide, made even.
        ((96, -2), (128, 96), (96, 72)),
        ((-2, 100), (1, 1000), (2, 100)),
    ],
)
def test_the_size_of_an_output(size, source, wanted):
    assert VideoOptions(size=size).size_of(*source) == wanted


@pytest.mark.parametrize(
    "text", ["", "720", "0x720", "1280x0", "-2x-2", "-1x720", "16385x2", "1x2x3", "1.5x2"]
)
def test_wrong_sizes(text):
    with pytest.raises(JobError, match="size"):
        parse_size(text)


# Frame rates


@given(st.fractions(Fraction(1, 1000), 100_000, max_denominator=100_000))
def test_a_rate_comes_back_exactly(rate):
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("29.97", Fraction(30000, 1001)),
        ("29.970", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("NTSC", Fraction(30000, 1001)),
        ("pal", Fraction(25)),
        ("12.5", Fraction(25, 2)),
        ("60", Fraction(60)),
    ],
)
def test_rates_that_have_a_name(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "-25", "1/0", "fast", "inf", "nan", "100001", "1e9"])
def test_wrong_rates(text):
    with pytest.raises(JobError, match="frame rate"):
        parse_rate(text)


# Times


@given(st.integers(0, 10**6 - 1), st.integers(0, 59), st.integers(0, 59_999))
def test_a_time_comes_back_exactly(hours, minutes, milliseconds):
    seconds = f"{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    exact = hours * 3600 + minutes * 60 + Fraction(milliseconds, 1000)
    assert parse_time(f"{hours}:{minutes:02}:{seconds}") == exact


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", Fraction(3, 2)), ("1:30", 90), ("0.1", Fraction(1, 10))],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:", ":1", "1:2:3:4", "1e3", "1h", "nan", "."])
def test_wrong_times(text):
    with pytest.raises(JobError, match="time"):
        parse_time(text)


# Bit rates and audio


@given(st.integers(1, 10**12 - 1))
def test_a_bit_rate_comes_back(rate):
    assert parse_bit_rate(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "rate"), [("800k", 800_000), ("2.5M", 2_500_000), ("2.5m", 2_500_000), ("64K", 64_000)]
)
def test_bit_rates_with_a_unit(text, rate):
    assert parse_bit_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "0k", "0.0001k", "-5", "k", "5G", "1e6", "nan"])
def test_wrong_bit_rates(text):
    with pytest.raises(JobError, match="bit rate"):
        parse_bit_rate(text)


def test_audio():
    assert parse_audio("copy") == AudioOptions()
    assert parse_audio("none") == AudioOptions(codec="none")
    assert parse_audio("aac") == AudioOptions(codec="aac")
    assert parse_audio(" aac:128k ") == AudioOptions(codec="aac", bit_rate=128_000)


@pytest.mark.parametrize("text", ["", ":128k", "aac:", "copy:128k", "none:1k", "aac:x"])
def test_wrong_audio(text):
    with pytest.raises(JobError):
        parse_audio(text)


# Devices


@given(st.text() | st.builds("{}:{}".format, st.sampled_from(sorted(DEVICE_KINDS)), st.text()))
def test_device_names_raise_nothing_but_their_error(text):
    with suppress(DeviceNotFoundError):
        DeviceName.parse(text)


@given(
    st.sampled_from(["opencl", "sycl", "vaapi", "cuda", "xrt"]),
    st.integers(0, 99),
)
def test_a_device_name_comes_back(kind, number):
    for text in (kind, f"{kind}:{number}"):
        assert str(DeviceName.parse(text)) == text
        assert str(DeviceName.parse(f" {text.upper()} ")) == text


@given(st.text().map(lambda text: f"opencl:{text}"))
def test_a_parsed_device_name_means_itself(text):
    with suppress(DeviceNotFoundError):
        name = DeviceName.parse(text)
        assert DeviceName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", "gpu", "cpu:0", "auto:", "opencl:", "cuda:x", "xrt:-1", ":"])
def test_wrong_device_names(text):
    with pytest.raises(DeviceNotFoundError):
        DeviceName.parse(text)


# Jobs


def test_a_job_is_refused_before_anything_is_opened():
    output = Output("out.mp4")
    for fields in (
        {"start": Fraction(-1)},
        {"duration": Fraction(0)},
        {"verify": "maybe"},
        {"damaged": "maybe"},
        {"outputs": ()},
        {"outputs": (output, output)},
    ):
        with pytest.raises(JobError):
            Job(**{"source": "in.mp4", "outputs": (output,), **fields})
    with pytest.raises(DeviceNotFoundError):
        Job(source="in.mp4", outputs=(output,), device="gpu")


@pytest.mark.parametrize(
    "fields",
    [
        {"size": (0, 10)},
        {"size": (-2, -2)},
        {"fps": Fraction(0)},
        {"bit_rate": 0},
        {"gop_size": -1},
    ],
)
def test_video_options_are_checked(fields):
    with pytest.raises(JobError):
        VideoOptions(**fields)


def test_outputs_are_checked(tmp_path):
    with pytest.raises(JobError, match="no name"):
        Output("")
    with pytest.raises(JobError, match="--format"):
        Output("-")
    assert Output("-", format="nut").is_stdout
    assert Output(tmp_path / "a.mp4").path == str(tmp_path / "a.mp4")


def test_a_path_becomes_text(tmp_path):
    job = Job(source=tmp_path / "in.mp4", outputs=[Output("out.mp4")], filters=["invert"])
    assert job.source == str(tmp_path / "in.mp4")
    assert job.filters == ("invert",)


def test_numbers_and_texts_become_exact():
    video = VideoOptions(fps=29.97, bit_rate="2.5M", options={"crf": 23})
    assert (video.fps, video.bit_rate) == (Fraction(30000, 1001), 2_500_000)
    assert video.options == {"crf": "23"}
    output = Output("out.mp4", video=video, audio="aac:96k")
    assert output.audio == AudioOptions(codec="aac", bit_rate=96_000)
    job = Job(source="in.mp4", outputs=(output,), start=1.1, duration="1:30")
    assert (job.start, job.duration) == (Fraction(11, 10), 90)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (VideoOptions, {"fps": [25]}),
        (VideoOptions, {"gop_size": 1 << 31}),
        (Output, {"path": "out.mp4", "video": {}}),
        (Output, {"path": "out.mp4", "audio": None}),
        (Job, {"source": "in.mp4", "outputs": (Output("out.mp4"),), "filters": "invert"}),
        (Job, {"source": "in.mp4", "outputs": (Output("out.mp4"),), "device": None}),
        (Job, {"source": "in.mp4", "outputs": (Output("out.mp4"),), "start": object()}),
    ],
)
def test_anything_else_is_a_job_error(kind, fields):
    with pytest.raises(JobError):
        kind(**fields)


def test_software_fallback_is_for_devices_that_decode():
    job = {"source": "in.mp4", "outputs": (Output("out.mp4"),), "software_fallback": True}
    assert Job(device="vaapi", **job).software_fallback
    for device in ("auto", "cpu", "opencl:0"):
        with pytest.raises(JobError, match=f"decodes anyway with device '{device}'"):
            Job(device=device, **job)
