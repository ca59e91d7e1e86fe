"""Manifests in YAML: what is read, and what is said of what is wrong."""

import dataclasses
import re
import sys
from fractions import Fraction

import pytest

from transcode import AudioOptions, Job, Output, VideoOptions
from transcode.errors import JobError, SourceError
from transcode.manifest import ManifestJob, read_manifest
from transcode.manifest_fields import AUDIO, LIMITS, OUTPUT, SETTINGS, VIDEO
from transcode.manifest_fields import JOB as JOB_FIELDS
from transcode.manifest_yaml import read_yaml

EVERYTHING = r"""
capacities: {opencl: 2.5, "cuda:1": 4}
slots: {OpenCL: 2, "cuda:1": 16, auto: ~}
output_root: .
jobs:
  - source: talk.mp4
    output: gray.mkv
    format: matroska
    video:
      codec: libx265
      preset: slow
      profile: main
      crf: 23.5
      bit_rate: 2.5M
      gop_size: 250
      pix_fmt: yuv420p10le
      size: 1280x-2
      fps: 29.97
      options: {tune: no, x: 010}
    audio: aac:128k
    vf: "hqdn3d"
    filters: [rgb_to_grayscale, "resize(width=1280, height=720)"]
    start: 1:30
    duration: 0:01:30.250
    device: VAAPI:/dev/dri/renderD129
    software_fallback: on
    verify: full
    damaged: keep
    overwrite: yes
    load: 250000
    measured_fps: 212
    time_limit: 1:30:00
    memory_limit: 1.5G
"""
JOB = Job(
    source="talk.mp4",
    outputs=(
        Output(
            "gray.mkv",
            format="matroska",
            video=VideoOptions(
                codec="libx265",
                preset="slow",
                profile="main",
                crf=23.5,
                bit_rate=2_500_000,
                gop_size=250,
                pix_fmt="yuv420p10le",
                size=(1280, -2),
                fps=Fraction(30000, 1001),
                options={"tune": "no", "x": "010"},
            ),
            audio=AudioOptions(codec="aac", bit_rate=128_000),
        ),
    ),
    vf="hqdn3d",
    filters=("rgb_to_grayscale", "resize(width=1280, height=720)"),
    start=Fraction(90),
    duration=Fraction(361, 4),
    device="vaapi:/dev/dri/renderD129",
    software_fallback=True,
    verify="full",
    damaged="keep",
    overwrite=True,
)


def test_a_job_with_every_field(read):
    found = read(EVERYTHING)
    assert found.path == "jobs.yaml"
    assert found.capacities == {"opencl": Fraction(5, 2), "cuda:1": 4}
    assert found.slots == {"opencl": 2, "cuda:1": 16}
    assert found.output_root == "."
    assert found.jobs == (
        ManifestJob(
            job=JOB,
            place="jobs.yaml:6:5",
            index=1,
            time_limit=5400.0,
            memory_limit=1536 << 20,
            load=250_000,
            measured_fps=Fraction(212),
        ),
    )


def test_no_field_of_a_job_is_forgotten():
    def fields(kind):
        return {field.name for field in dataclasses.fields(kind)}

    assert set(VIDEO.fields) == fields(VideoOptions)
    assert set(AUDIO.record.fields) == fields(AudioOptions)
    assert set(OUTPUT.fields) == fields(Output)
    assert {*SETTINGS, "source", "outputs"} == fields(Job)
    found = {"job", "place", "index", "profile", "matrix", "is_found"}
    assert {*LIMITS, *found} == fields(ManifestJob)
    beside = {"output", "format", "video", "audio", "profile", "profiles", "matrix"}
    assert set(JOB_FIELDS.fields) == {*fields(Job), *LIMITS, *beside}


# Defaults


def test_defaults_hold_for_what_a_job_does_not_say(read):
    found = read("""
defaults:
  device: cpu
  filters: [invert]
  audio: none
  video: {crf: 30, preset: fast, options: {a: 1, b: 2}}
jobs:
  - {source: a.mp4, output: b.mp4}
  - source: c.mp4
    output: d.mp4
    filters: [sobel]
    audio: aac
    video: {crf: 18, options: {b: 3}}
  - {source: e.mp4, output: f.mp4, device: null, audio: ~, video:, filters: []}
""")
    first, second, third = (listed.job for listed in found.jobs)
    assert (first.device, first.filters) == ("cpu", ("invert",))
    assert first.outputs[0].audio.codec == "none"
    assert first.outputs[0].video.options == {"a": "1", "b": "2"}
    assert second.filters == ("sobel",)
    assert second.outputs[0].audio.codec == "aac"
    video = VideoOptions(crf=18, preset="fast", options={"a": "1", "b": "3"})
    assert second.outputs[0].video == video
    assert third == Job(source="e.mp4", outputs=(Output("f.mp4"),))


def test_what_stands_beside_outputs_holds_for_each(read):
    (listed,) = read("""
jobs:
  - source: a.mp4
    video: {crf: 30, preset: fast}
    format: matroska
    audio: {codec: aac, bit_rate: 96k}
    outputs: [{path: b, video: {crf: 18}}]
""").jobs
    assert listed.job.outputs == (
        Output(
            "b",
            format="matroska",
            video=VideoOptions(crf=18, preset="fast"),
            audio=AudioOptions(codec="aac", bit_rate=96_000),
        ),
    )


def test_an_alias_stands_for_its_value(read):
    found = read("""
jobs:
  - {source: a.mp4, output: b.mp4, video: &v {crf: 18}}
  - {source: a.mp4, output: c.mp4, video: *v}
""")
    assert [listed.job.outputs[0].video.crf for listed in found.jobs] == [18, 18]


def test_aliases_of_aliases_cost_nothing():
    # 2^64 leaves, if each alias were written out.
    lines = ["a0: &a0 x", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 65))]
    assert len(read_yaml("\n".join(lines), "this").mapping("this")) == 65


def test_mappings_of_aliases_are_not_merged_without_end(read):
    def deep(name):
        lines = [f"{n}: &{name}{n} {{a: *{name}{n - 1}, b: *{name}{n - 1}}}" for n in range(1, 65)]
        return "\n    ".join([f"0: &{name}0 x", *lines])

    text = f"defaults:\n  video:\n    {deep('x')}\njobs:\n- video:\n    {deep('y')}"
    with pytest.raises(JobError, match="video has no '0'"):
        read(text + "\n  source: a\n  output: b")


# Errors

ONE = "jobs:\n  - source: a.mp4\n    output: b.mp4\n    "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # YAML itself.
        ("jobs: [1, 2\nmore: 3", "2:5: while parsing a flow sequence, expected ',' or ']'"),
        ("jobs:\n\t- x", "2:1: while scanning for the next token, found character '\\t'"),
        ("jobs: *x", "1:7: found undefined alias"),
        ("a: 1\n---\nb: 2", "2:1: expected a single document"),
        ("a: 1\nb: \x07", "2:4: the character U+0007 is not allowed"),
        ("a: &a [1, *a]", "1:4: an alias stands inside of what it stands for"),
        ("a: !!python/object/apply:os.system [ls]", "1:4: tags such as tag:yaml.org,2002:python"),
        ("a: !mine 1", "1:4: tags such as !mine"),
        ("jobs: []\njobs: []", "2:1: 'jobs' is here twice, first at jobs.yaml:1:1"),
        ("? [a]\n: b", "1:3: a key takes one value, found a list"),
        (b"jobs: \xff", ": no text in UTF-8 (byte 6)"),
        ("[" * 3000, ": nested too deep"),
        # Its form.
        ("", "1:1: a manifest takes keys and values, found nothing"),
        ("just words", "1:1: a manifest takes keys and values, found 'just words'"),
        ("{}", "1:1: there is no list of jobs; it starts with the key 'jobs'"),
        ("jobs:", "1:6: jobs takes a list, found nothing"),
        ("jobs: []", "1:7: jobs is an empty list"),
        ("job: []", "1:1: a manifest has no 'job'; did you mean 'jobs'?"),
        ("jobs: [a.mp4]", "1:8: a job takes keys and values, found 'a.mp4'"),
        ("defaults: [1]\njobs: [{}]", "1:11: defaults takes keys and values, found a list"),
        ("defaults: {sourec: a}\njobs: [{}]", "1:12: a job has no 'sourec'; did you mean 'source'"),
        ("jobs: [{output: b.mp4}]", "1:8: a job of a manifest needs a source"),
        ("jobs: [{source: '-', output: b}]", "1:17: source: a manifest reads files and URLs, not"),
        ("jobs: [{source: a.mp4}]", "1:8: a job needs an output, or outputs"),
        (ONE + "outputs: []", "2:5: a job has either output or outputs, not both"),
        (ONE + "profile: a\n    profiles: []", "2:5: a job has either profile or profiles, not"),
        ("jobs: [{source: a, outputs: []}]", "1:8: a job has exactly one output, got 0"),
        ("jobs: [{source: a, outputs: [{}]}]", "1:30: an output needs a path"),
        ("jobs: [{source: a, outputs: [b]}]", "1:30: an output takes keys and values, found 'b'"),
        ("jobs: [{source: a, outputs: [{pth: b}]}]", "1:31: an output has no 'pth'; did you mean"),
        ("jobs: [{source: a, output: ''}]", "1:28: output: the output has no name"),
        (
            "jobs: [{source: a, output: '-'}]",
            "1:28: output: a manifest writes files, not to standard",
        ),
        # Fields.
        (ONE + "bitrate: 800k", "4:5: a job has no 'bitrate'; there is audio, damaged, device"),
        (ONE + "crf: 18", "4:5: a job has no 'crf'; say video: {crf: ...}"),
        (ONE + "video: {bitrate: 800k}", "4:13: video has no 'bitrate'; did you mean 'bit_rate'?"),
        (ONE + "video: libx264", "4:12: video takes keys and values, found 'libx264'"),
        (ONE + "video: {size: 12}", "4:19: size: size '12' has the form"),
        (ONE + "video: {size: [1, 2]}", "4:19: size takes one value, found a list"),
        (ONE + "video: {crf: low}", "4:18: crf: 'low' is no number"),
        (ONE + "video: {gop_size: 2.5}", "4:23: gop_size: '2.5' is no whole number"),
        (ONE + f"video: {{gop_size: {'9' * 5000}}}", "4:23: gop_size: '999"),
        (ONE + f"video: {{gop_size: {1 << 31}}}", "4:12: video: GOP size is at most"),
        (ONE + "video: {options: {a: {}}}", "4:26: a takes one value, found keys and values"),
        (ONE + "audio: copy:128k", "4:12: audio: audio copy takes no bit rate"),
        (ONE + "audio: {codec: copy, bit_rate: 1k}", "4:12: audio: audio copy takes no bit rate"),
        (ONE + "filters: invert", "4:14: filters takes a list, found 'invert'"),
        (ONE + "filters: [{}]", "4:15: a filter takes one value, found keys and values"),
        (ONE + "overwrite: perhaps", "4:16: overwrite: 'perhaps' is neither true nor false"),
        (ONE + "verify: twice", "4:13: verify: found 'twice'; one of none, fast, full"),
        (ONE + "device: gpu", "4:13: device: unknown device 'gpu'"),
        (ONE + "load: 0", "4:11: load: '0' is no whole number above 0"),
        (ONE + "load: 1e6", "4:11: load: '1e6' is no whole number above 0"),
        (ONE + "time_limit: 0", "4:17: time_limit: '0' is no time above 0"),
        (ONE + "time_limit: soon", "4:17: time_limit: time 'soon' has the form"),
        (ONE + "memory_limit: 4X", "4:19: memory_limit: memory '4X' has the form 4G, 512M"),
        (ONE + "memory_limit: 0", "4:19: memory_limit: memory '0' has the form"),
        (ONE + "verify: ful", "4:13: verify: found 'ful'; one of none, fast, full; did you mean"),
        (ONE + "video: {crf: .nan}", "4:18: crf: '.nan' is no number"),
        (ONE + "filters: ['']", "4:15: a filter: it has no name"),
        (ONE + "measured_fps: fast", "4:19: measured_fps: frame rate 'fast' has the form"),
        ("capacities: {gpu: 1}\n" + ONE, "1:14: capacities: unknown device 'gpu'"),
        ("capacities: {cpu: 0}\n" + ONE, "1:19: cpu: '0' is no number of cards"),
        ("capacities: {cpu: 1/0}\n" + ONE, "1:19: cpu: '1/0' is no number of cards"),
        ("slots: {cpu: 1.5}\n" + ONE, "1:14: cpu: '1.5' is no whole number above 0"),
        ("slots: {gpu: 1}\n" + ONE, "1:9: slots: unknown device 'gpu'"),
        ("slots: {cpu: 1, CPU: 2}\n" + ONE, "1:17: slots: cpu is here already"),
        ("output_root: ''\n" + ONE, "1:14: output_root: it has no name"),
        ("capacities: [1]\n" + ONE, "1:13: capacities takes keys and values, found a list"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(read, text, message):
    with pytest.raises(JobError) as caught:
        read(text)
    found = str(caught.value)
    expected = f"jobs.yaml{message}" if message.startswith(":") else f"jobs.yaml:{message}"
    assert found.startswith(expected)
    # Once, not once for each layer that it went through.
    assert len(re.findall(r"jobs\.yaml:\d", found.partition(", first at ")[0])) <= 1


def test_an_error_of_a_default_is_placed_there(read):
    with pytest.raises(JobError, match=r"^jobs\.yaml:1:25: crf: 'x' is no number"):
        read("defaults: {video: {crf: x}}\njobs: [{source: a, output: b}]")


@pytest.mark.parametrize(
    ("name", "words"), [("nosuch.yaml", "no such file"), (".", "is a directory"), ("a\0b", "null")]
)
def test_a_file_that_cannot_be_read(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=words):
        read_manifest(name)


def test_without_pyyaml_the_error_says_what_to_install(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(JobError, match=r"pip install 'xtranscode\[batch\]'"):
        read("jobs: []")
