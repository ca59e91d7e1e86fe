"""The JSON Schema of manifests: it is one, and agrees with the reader. See also `conftest.read`."""

import json
import string
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bridges.errors import XTranscodeError
from transcode.errors import JobError, SourceError
from transcode.manifest import read_manifest
from transcode.manifest_fields import AUDIO, JOB, MATRIX, TOP, VIDEO
from transcode.manifest_schema import schema
from transcode.manifest_value import Value

SCHEMA = Draft202012Validator(schema())
JOB_TEXT = "jobs:\n- source: a\n  output: b\n  "


def test_it_is_a_schema_and_json():
    Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


def test_it_has_the_tables_fields_with_descriptions():
    made = schema()
    job = made["properties"]["jobs"]["items"]
    assert set(made["properties"]) == set(TOP.fields)
    assert set(job["properties"]) == set(JOB.fields)
    assert set(job["properties"]["video"]["properties"]) == set(VIDEO.fields)
    assert set(job["properties"]["matrix"]["properties"]) == set(MATRIX.fields)
    assert "profile" not in made["properties"]["profiles"]["additionalProperties"]["properties"]
    assert job["properties"]["verify"]["enum"] == ["none", "fast", "full", None]
    for properties in (made["properties"], job["properties"]):
        assert [name for name, value in properties.items() if not value["description"]] == []
    assert not made["additionalProperties"]
    assert not job["additionalProperties"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "jobs:",
        "jobs: []",
        "jobs: [a]",
        "jobs: [{sorce: a}]",
        "job: []",
        "jobs: [{source: '', output: b}]",
        "jobs: [{source: '-', output: b}]",
        "jobs: [{source: a, output: '-'}]",
        "jobs: [{source: a, output: ''}]",
        "jobs: [{source: a, outputs: [b]}]",
        "jobs: [{source: a, outputs: [{}]}]",
        "jobs: [{source: a, outputs: [{path: b, crf: 1}]}]",
        JOB_TEXT + "outputs: [{path: b}]",
        JOB_TEXT + "profile: a\n  profiles: [b]",
        JOB_TEXT + "crf: 18",
        JOB_TEXT + "verify: ful",
        JOB_TEXT + "damaged: maybe",
        JOB_TEXT + "overwrite: perhaps",
        JOB_TEXT + "device: gpu",
        JOB_TEXT + "device: 'cuda:'",
        JOB_TEXT + "filters: invert",
        JOB_TEXT + "filters: ['']",
        JOB_TEXT + "start: soon",
        JOB_TEXT + "start: -1",
        JOB_TEXT + "duration: 0",
        JOB_TEXT + "load: 0",
        JOB_TEXT + "load: 2.5",
        JOB_TEXT + "time_limit: 0",
        JOB_TEXT + "time_limit: 1h",
        JOB_TEXT + "memory_limit: 4X",
        JOB_TEXT + "memory_limit: 0",
        JOB_TEXT + "measured_fps: fast",
        JOB_TEXT + "video: libx264",
        JOB_TEXT + "video: {bitrate: 800k}",
        JOB_TEXT + "video: {bit_rate: 800x}",
        JOB_TEXT + "video: {crf: low}",
        JOB_TEXT + "video: {size: 12}",
        JOB_TEXT + "video: {size: [1, 2]}",
        JOB_TEXT + "video: {gop_size: 2147483648}",
        JOB_TEXT + "video: {options: {a: {}}}",
        JOB_TEXT + "audio: {code: aac}",
        JOB_TEXT + "audio: []",
        JOB_TEXT + "profiles: []",
        JOB_TEXT + "matrix: {crf: [1]}",
        JOB_TEXT + "matrix: {video.crf: 1}",
        JOB_TEXT + "matrix: {video.crf: []}",
        JOB_TEXT + "matrix: {video.crf: [x]}",
        JOB_TEXT + "matrix: {video.options.a: [[1]]}",
        "profiles: {a/b: {}}\n" + JOB_TEXT,
        "profiles: {a: {profile: b}}\n" + JOB_TEXT,
        "defaults: {videos: {}}\n" + JOB_TEXT,
        "capacities: {cpu: 0}\n" + JOB_TEXT,
        "capacities: {gpu: 1}\n" + JOB_TEXT,
        "slots: {cpu: 1.5}\n" + JOB_TEXT,
        "slots: {cpu: 0}\n" + JOB_TEXT,
        "slots: [1]\n" + JOB_TEXT,
        "output_root: ''\n" + JOB_TEXT,
    ],
)
def test_what_the_reader_refuses_does_not_fit(read, text):
    with pytest.raises(JobError):
        read(text)
    assert not SCHEMA.is_valid(yaml.safe_load(text))


def values():
    """Return every shape of a text, by a name."""
    found = dict(JOB.fields) | dict(MATRIX.fields)
    found |= {"filter": JOB.fields["filters"].item, "profile": JOB.fields["profile"]}
    found |= {f"audio.{name}": shape for name, shape in AUDIO.record.fields.items()}
    found |= {
        name: shape for name, shape in TOP.fields.items() if name not in ("defaults", "profiles")
    }
    found |= {"cards": TOP.fields["capacities"].value, "slot": TOP.fields["slots"].value}
    found |= {"device name": TOP.fields["slots"].key, "audio": AUDIO.value}
    return {name: shape for name, shape in found.items() if isinstance(shape, Value)}


TEXTS = st.text(alphabet="0123456789.:/xX-+eEkKmMgG_ \t", max_size=12) | st.sampled_from(
    [
        *("1:30", "00:01:30.250", "90", "1.5", "800k", "2.5M", "4G", "512m", "1.5T", "30000/1001"),
        *("1280x-2", "-2X720", "640:360", "PAL", "Ntsc-Film", "29.97", "2.5e1", "1_0", ".5", "5."),
        *("yes", "ON", "False", "off", "none", "fast", "full", "keep", "fail", "aac:128k", "copy"),
        *("cpu", "CUDA:1", " opencl:0:1 ", "vaapi:/dev/dri/renderD128", "cuda:", "cpu:1", "-", ""),
        *("auto ", "sycl: x", "a\nb", "\0", "/", "ä", "{stem}", "5/2", "1/0", "010", "1e3", "+1"),
    ]
)


@pytest.mark.parametrize("name", values())
@given(st.data())
def test_a_text_that_a_field_takes_fits_its_schema(name, data):
    shape = values()[name]
    text = data.draw(TEXTS | st.text(alphabet=string.printable, max_size=8))
    with suppress(XTranscodeError):
        shape.parse(text)
        assert Draft202012Validator(shape.schema()).is_valid(text)
        try:
            typed = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            return
        # As a validator sees it that knows YAML's types; a date is none of JSON's. That YAML 1.1
        # takes 640:360 for minutes is no reason to let a size be a number.
        if isinstance(typed, (int, float, bool)) and str(typed) != "nan" and "size" not in name:
            assert Draft202012Validator(shape.schema()).is_valid(typed)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=5)
NAMES = st.sampled_from([*TOP.fields, *JOB.fields, *VIDEO.fields, *MATRIX.fields, "path", "cpu"])
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=4),
    max_leaves=12,
)
FIELDS = {
    "verify": ["none", "full", None],
    "device": ["cpu", "opencl:0", "auto"],
    "matrix": [{"video.crf": [1, "2"]}, {"video.preset": ["a"], "filters": [["b"], []]}, None],
    "video": [{"crf": 1.5, "size": "64x-2", "fps": 25, "options": {"a": True}}, {"bit_rate": "1M"}],
    "audio": ["copy", "aac:128k", {"codec": "aac", "bit_rate": 64000}, {"codec": "none"}],
    "filters": [["invert", "resize(width=2)"], [], None],
    "start": [5, 1.5, "1:30", "0"],
    "memory_limit": ["4G", 4096],
}
OUTPUTS = [
    *({"output": path} for path in ("{stem}{index}.mp4", "{profile}{index}.mkv", "b.mp4", "../b")),
    {"outputs": [{"path": "{index}.mp4", "video": {"crf": 5}}]},
    {"outputs": [{"path": "{index}", "audio": "none"}]},
]
SOURCES = ["a.mp4", "*.mp4", "**", "in/?.*", "[b-b].mkv", "http://[", "{a}", "[", ""]
PROFILES = [{}, {}, {"profile": "p"}, {"profiles": ["p", "q"]}, {"profile": None}]


def entries(*parts):
    """Return mappings of good fields, with these parts; one in some has something else."""
    fields = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in FIELDS.items()}
    )
    edits = st.integers(0, 5).flatmap(
        lambda n: st.just({}) if n else st.dictionaries(NAMES, TREES, max_size=1)
    )
    layers = st.tuples(fields, *map(st.sampled_from, parts), edits)
    return layers.map(lambda found: {k: v for layer in found for k, v in layer.items()})


ENTRIES = entries([{"source": source} for source in SOURCES], OUTPUTS, PROFILES)
MANIFESTS = st.fixed_dictionaries(
    {
        "jobs": st.lists(ENTRIES, min_size=1, max_size=3),
        "profiles": st.fixed_dictionaries({"p": entries(), "q": entries()}),
    },
    optional={
        "defaults": entries(PROFILES),
        "slots": st.just({"cpu": 2, "opencl": "3"}),
        "capacities": st.just({"cpu": 1.5, "cuda:1": "5/2"}),
        "output_root": st.sampled_from([".", "..", "out"]),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Go where there are few files, for the patterns that hypothesis finds."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("any")
        (folder / "in").mkdir()
        for name in ("a.mp4", "b.mkv", "in/c.mp4"):
            (folder / name).touch()
        patch.chdir(folder)
        yield folder


@given(MANIFESTS | TREES)
def test_any_tree_is_a_manifest_that_fits_or_an_error(folder, tree):
    text = json.dumps(tree)
    for name in ("any.json", "any.yaml"):
        (folder / name).write_text(text)
        with suppress(JobError, SourceError):
            read_manifest(folder / name)
            assert SCHEMA.is_valid(tree)


@given(st.text(alphabet="jobs:{}[]-,\n \"'*&!|>?~#%abx012.", max_size=60) | st.text(max_size=30))
def test_no_text_of_yaml_raises_anything_else(folder, text):
    (folder / "any.yaml").write_bytes(text.encode(errors="surrogatepass"))
    with suppress(JobError, SourceError):
        read_manifest(folder / "any.yaml")


@given(st.text(alphabet='{}[]:,"\\/\n\r\t abu0123.-+eE', max_size=60) | st.text(max_size=30))
def test_no_text_of_json_raises_anything_else(folder, text):
    for name in ("any.json", "any.jsonl"):
        (folder / name).write_bytes(text.encode(errors="surrogatepass"))
        with suppress(JobError, SourceError):
            read_manifest(folder / name)


COLUMNS = st.sampled_from([*JOB.fields, *(f"matrix.{name}" for name in MATRIX.fields)])
CELLS = SCALARS.map(str) | st.sampled_from(["a.mp4", "*.mp4", "{stem}", '"', "a;b", "\r\n", " "])


@given(
    st.lists(COLUMNS | CELLS, max_size=5),
    st.lists(st.lists(CELLS, max_size=6), max_size=3),
    st.booleans(),
)
def test_no_csv_raises_anything_else(folder, header, rows, quoted):
    def cell(text):
        return '"' + text.replace('"', '""') + '"' if quoted else text

    text = "\n".join(",".join(map(cell, row)) for row in [["source", "output", *header], *rows])
    (folder / "any.csv").write_bytes(text.encode(errors="surrogatepass"))
    with suppress(JobError, SourceError):
        read_manifest(folder / "any.csv")
