"""``xtranscode probe`` and ``devices``."""

import json

import pytest
from av.codec import hwaccel

from bridges.backends.probe import probe_all
from bridges.backends.vaapi_pyav import BUILD_COMMANDS


def test_shows_a_real_file(invoke, sample):
    result = invoke("probe", sample)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0] == str(sample)
    assert "0   video       h264 Main, 1280x720 (16:9), yuv420p 8 bit, 1.2 Mb/s, default" in lines
    assert "25 fps, 132 frames, 0:05.280, progressive" in lines
    assert "colour untagged" in lines
    assert "1   audio       aac LC, 48000 Hz, 5.1 (6 channels), fltp, 385 kb/s, default" in lines
    assert "tag         encoder: Lavf53.24.2" in lines


@pytest.mark.parametrize(
    ("clip", "texts"),
    [
        (
            "hdr10",
            ["transfer smpte2084, limited range, mastered at 0.0001 to 1000 cd/m²", "MaxCLL"],
        ),
        ("rotated_90", ["turned"]),
        ("mirrored", ["mirrored"]),
        ("anamorphic", ["128x96 (16:9, pixels 4:3)"]),
        ("vfr_mp4", ["12.5 fps on average, variable, 10 frames"]),
        ("interlaced_tff", ["top field first"]),
        (
            "everything_mkv",
            [
                "title: Kommentar",
                "subtitle     subrip, language deu",
                "attachment   Sans.ttf, font/ttf, 256 B",
                "chapter      0:00.400 to 0:01.000  Das Ende",
                "attached pic",
            ],
        ),
    ],
)
def test_shows_what_is_special(invoke, clips, clip, texts):
    output = invoke("probe", clips.path(clip)).stdout
    for text in texts:
        assert text in output


def test_lines_have_no_padding_off_a_terminal(invoke, sample):
    lines = invoke("probe", sample).stdout.splitlines()
    assert all(line == line.rstrip() for line in lines)


def test_a_file_that_fails_does_not_hide_the_others(invoke, sample):
    result = invoke("probe", "nosuch.mp4", sample)
    assert result.exit_code == 1
    assert result.stderr == "xtranscode: nosuch.mp4: no such file\n"
    assert "h264 Main" in result.stdout


def test_json_is_one_object_a_file(invoke, sample):
    result = invoke("probe", "--json", sample, "nosuch.mp4")
    good, bad = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == 1
    assert good["streams"][0]["rate"] == "25"
    assert good["streams"][0]["duration_seconds"] == 5.28
    assert bad == {"path": "nosuch.mp4", "error": "nosuch.mp4: no such file"}


def test_needs_a_file(invoke):
    assert invoke("probe").exit_code == 2


def test_devices_says_what_is_there_and_what_is_not(invoke):
    result = invoke("devices")
    assert result.exit_code == 0, result.output
    for probe in probe_all():
        line = next(line for line in result.stdout.splitlines() if line.startswith(probe.name))
        assert line.split()[1] == ("yes" if probe.available else "no")
        if not probe.available:
            assert f"to bring it: {probe.remedy}" in result.stdout
    assert "built into PyAV: " in result.stdout


def test_devices_tells_how_to_build_a_pyav_with_vaapi(invoke, monkeypatch):
    commands = [each for system in BUILD_COMMANDS.values() for each in system]
    for built in (["cuda"], ["cuda", "vaapi"]):
        monkeypatch.setattr(hwaccel, "hwdevices_available", lambda built=built: built)
        lines = [line.strip() for line in invoke("devices").stdout.splitlines()]
        assert f"decoders            built into PyAV: {', '.join(built)}" in lines
        assert [line for line in lines if line in commands] == commands * ("vaapi" not in built)
        last = json.loads(invoke("devices", "--json").stdout.splitlines()[-1])
        assert last == {"type": "decoders", "built": built}


def test_devices_as_json(invoke):
    lines = [json.loads(line) for line in invoke("devices", "--json").stdout.splitlines()]
    assert [line["type"] for line in lines] == ["backend"] * (len(lines) - 1) + ["decoders"]
    assert {line["name"] for line in lines[:-1]} >= {"cpu", "ffmpeg", "opencl"}
    assert all(line["available"] or line["remedy"] for line in lines[:-1])
