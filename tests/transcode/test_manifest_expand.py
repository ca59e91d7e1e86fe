"""What an entry of a manifest becomes: profiles, matrices, patterns, and names of outputs."""

import pickle
import re

import pytest

from transcode import manifest
from transcode.errors import JobError
from transcode.manifest_template import TEMPLATE_NAMES, render, source_names


def paths(manifest):
    return [(str(job.job.source), str(job.job.outputs[0].path)) for job in manifest.jobs]


@pytest.fixture
def files(tmp_path):
    """Make files, some of which look like patterns."""
    names = ["b.mp4", "a.mp4", "c.mkv", "[x].mp4", "x.mp4", ".hidden.mp4", "in/d.mp4", "in/e/f.mp4"]
    for name in [*names, "folder.mp4/deep.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()


# Profiles

PROFILES = """
defaults: {verify: none, device: cpu, video: {crf: 30, preset: fast}}
profiles:
  web: {verify: full, video: {crf: 26}, time_limit: 60}
  archive: {video: {crf: 12, codec: libx265}}
jobs:
"""


def test_a_job_lies_over_its_profile_which_lies_over_the_defaults(read):
    (job,) = read(PROFILES + "- {source: a, output: b.mp4, profile: web, device: auto}").jobs
    video = job.job.outputs[0].video
    assert (video.crf, video.preset, job.job.verify, job.job.device) == (26, "fast", "full", "auto")
    assert (job.profile, job.time_limit) == ("web", 60)
    (job,) = read(PROFILES + "- {source: a, output: b.mp4, profile: web, verify: fast}").jobs
    assert job.job.verify == "fast"
    (job,) = read(PROFILES + "- {source: a, output: b.mp4, profile: ~}").jobs
    assert (job.profile, job.job.outputs[0].video.crf) == ("", 30)


def test_profiles_make_a_job_each(read):
    found = read(
        PROFILES + "- {source: a.mov, output: '{stem}-{profile}.mp4', profiles: [web, archive]}"
    )
    assert paths(found) == [("a.mov", "a-web.mp4"), ("a.mov", "a-archive.mp4")]
    assert [job.job.outputs[0].video.codec for job in found.jobs] == ["libx264", "libx265"]
    assert [job.index for job in found.jobs] == [1, 2]


def test_one_of_a_pair_takes_the_place_of_the_other(read):
    defaults = "defaults: {profiles: [x, y], output: '{profile}.mp4'}\nprofiles: {x: {}, y:\n {}}\n"
    found = read(defaults + "jobs:\n- {source: a}\n- {source: a, profile: x, outputs: [{path: b}]}")
    assert [path for _, path in paths(found)] == ["x.mp4", "y.mp4", "b"]


# Matrices


def test_a_matrix_makes_each_combination(read):
    found = read("""
defaults: {matrix: {video.crf: [1]}}
jobs:
  - source: a.mov
    output: "{index:03d}-{preset}-{crf}-{size}-{filters}-{tune}.mp4"
    video: {crf: 30, gop_size: 5}
    matrix:
      video.preset: [fast, slow]
      video.crf: [18, 23.5]
      video.size: [~, 640x-2]
      filters: [[invert, sobel]]
      video.options.tune: [no]
""")
    assert [path for _, path in paths(found)] == [
        "001-fast-18-default-invert+sobel-no.mp4",
        "002-fast-18-640x-2-invert+sobel-no.mp4",
        "003-slow-18-default-invert+sobel-no.mp4",
        "004-slow-18-640x-2-invert+sobel-no.mp4",
        "005-fast-23.5-default-invert+sobel-no.mp4",
        "006-fast-23.5-640x-2-invert+sobel-no.mp4",
        "007-slow-23.5-default-invert+sobel-no.mp4",
        "008-slow-23.5-640x-2-invert+sobel-no.mp4",
    ]
    last = found.jobs[-1]
    video = last.job.outputs[0].video
    assert (video.crf, video.preset, video.size, video.gop_size) == (23.5, "slow", (640, -2), 5)
    assert video.options == {"tune": "no"}
    assert last.job.filters == ("invert", "sobel")
    assert last.matrix == {
        "preset": "slow",
        "crf": "23.5",
        "size": "640x-2",
        "filters": "invert+sobel",
        "tune": "no",
    }
    assert found.jobs[0].job.outputs[0].video.size is None
    assert {job.place for job in found.jobs} == {"jobs.yaml:4:5"}


def test_names_that_are_taken_stay_long(read):
    (job,) = read("""
jobs:
  - source: a.mov
    output: "{video.codec}-{audio.codec}-{video.profile}{profile}.mp4"
    matrix: {video.codec: [x], audio.codec: [aac], video.profile: [high]}
""").jobs
    assert job.job.outputs[0].path == "x-aac-high.mp4"


def test_a_matrix_reaches_each_of_several_outputs(read):
    outputs = "[{path: '{crf}.mp4', video: {preset: fast}}]"
    found = read(f"jobs: [{{source: a, outputs: {outputs}, matrix: {{video.crf: [1]}}}}]")
    (output,) = found.jobs[0].job.outputs
    assert (output.path, output.video.crf, output.video.preset) == ("1.mp4", 1, "fast")


def test_jobs_can_be_sent_to_other_processes(read):
    text = "{source: a, output: '{crf}', matrix: {video.crf: [1]}, video: {options: {a: b}}}"
    found = read(f"jobs: [{text}]")
    assert pickle.loads(pickle.dumps(found)) == found


# Patterns


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.mp4", ["[x].mp4", "a.mp4", "b.mp4", "x.mp4"]),
        ("?.m*", ["a.mp4", "b.mp4", "c.mkv", "x.mp4"]),
        ("[ab].mp4", ["a.mp4", "b.mp4"]),
        ("[x].mp4", ["[x].mp4"]),  # There is a file of that very name.
        ("in/**/*.mp4", ["in/d.mp4", "in/e/f.mp4"]),
        ("**/**/[d-f].mp4", ["in/d.mp4", "in/e/f.mp4"]),
        ("i?/**", ["in/d.mp4", "in/e/f.mp4"]),
        ("**/e/*", ["in/e/f.mp4"]),
        ("**/a.mp4", ["a.mp4"]),
        ("./**/d.mp4", ["./in/d.mp4"]),
        ("i**/d.mp4", ["in/d.mp4"]),
        ("./in/*", ["./in/d.mp4"]),
        ("http://host/*.mp4?x=[1]", ["http://host/*.mp4?x=[1]"]),
        ("nosuch.mp4", ["nosuch.mp4"]),
    ],
)
def test_patterns(read, pattern, expected):
    found = read(f"jobs: [{{source: '{pattern}', output: 'out/{{index}}.mp4'}}]")
    assert paths(found) == [(name, f"out/{n}.mp4") for n, name in enumerate(expected, 1)]


@pytest.mark.usefixtures("files")
def test_links_that_lead_round_in_circles(read, tmp_path):
    for name in ("x", "y"):
        (tmp_path / "in" / name).symlink_to(".")
    found = read("jobs: [{source: 'in/**/*.mp4', output: 'out/{name}'}]")
    assert [source for source, _ in paths(found)] == ["in/d.mp4", "in/e/f.mp4"]
    (tmp_path / "other").symlink_to("in")
    assert read("jobs: [{source: 'other/**/d.mp4', output: 'out'}]").jobs


def test_an_absolute_pattern(read, tmp_path, files):
    found = read(f"jobs: [{{source: '{tmp_path}/**/?.mp4', output: 'out/{{name}}'}}]")
    names = ["a.mp4", "b.mp4", "in/d.mp4", "in/e/f.mp4", "x.mp4"]
    assert [source for source, _ in paths(found)] == [f"{tmp_path}/{name}" for name in names]


def test_outputs_of_an_earlier_run_are_no_sources(read, tmp_path):
    text = """
    jobs:
      - {source: "*.mp4", output: "{stem}-{crf}.mp4", matrix: {video.crf: [20, 30]}}
      - {source: "*.mp4", output: "{stem}-flip.mp4", vf: hflip}
    """
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    first = read(text)
    assert [job.job.source for job in first.jobs] == ["a.mp4", "b.mp4"] * 3
    assert first.left_out == ()
    for job in first.jobs:
        (tmp_path / job.job.outputs[0].path).touch()
    again = read(text)
    assert [job.job for job in again.jobs] == [job.job for job in first.jobs]
    assert again.left_out == tuple(
        sorted(str(tmp_path / job.job.outputs[0].path) for job in first.jobs)
    )


def test_an_output_that_may_be_replaced_may_be_a_source_in_earnest(read, tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a-small.mp4").touch()
    with pytest.raises(JobError, match="is the source of the job"):
        read("jobs: [{source: '*.mp4', output: '{stem}-small.mp4', overwrite: true}]")


def test_an_output_in_the_place_of_its_own_source_is_still_refused(read, tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(JobError, match="is the input itself"):
        read("jobs: [{source: '*.mp4', output: '{name}'}]")


@pytest.mark.usefixtures("files")
def test_profiles_and_matrices_come_before_files(read):
    found = read("""
profiles: {p: {}, q: {}}
jobs:
- source: "[ab].mp4"
  output: "{dir}/out/{profile}{crf}{name}"
  profiles: [p, q]
  matrix: {video.crf: [1, 2]}
""")
    names = [f"{p}{crf}{name}.mp4" for p in "pq" for crf in "12" for name in "ab"]
    assert [path for _, path in paths(found)] == [f"./out/{name}" for name in names]
    assert [job.index for job in found.jobs] == [1, 2, 3, 4, 5, 6, 7, 8]


# Names


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("in/deep/a.b.mp4", ("in/deep", "mp4", "a.b.mp4", "a.b")),
        ("/a", ("/", "", "a", "a")),
        (".hidden", (".", "", ".hidden", ".hidden")),
        ("https://host/p/a.mp4?x=/y.z#f/", (".", "mp4", "a.mp4", "a")),
        ("a:b.mp4", (".", "mp4", "a:b.mp4", "a:b")),
    ],
)
def test_names_of_a_source(source, expected):
    assert tuple(source_names(source)[name] for name in ("dir", "ext", "name", "stem")) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{}}{{{a}}}", "{}{A}"),
        ("{a}{b}", "A{a}"),  # What is put in is not looked at again.
        ("{index}-{index:d}-{index:5}-{index:05d}-{index:04}", "7-7-    7-00007-0007"),
        ("{dir}/x", "in/deep/x"),
    ],
)
def test_templates(template, expected):
    assert render(template, {"a": "A", "b": "{a}", "index": 7, "dir": "in/deep"}) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stam}", "'{stam}': there is no {stam}; did you mean 'stem'?"),
        ("{xyz}", "'{xyz}': there is no {xyz}; there is bad, crf, index, stem"),
        ("{}", "'{}': there is no {}; there is bad"),
        ("{0}", "there is no {0}"),
        ("{stem.upper}", "there is no {stem.upper}"),
        ("{stem[0]}", "there is no {stem[0]}"),
        ("{stem!r}", "there is no {stem!r}"),
        ("{stem", "has a single '{'; a brace itself is '{{'"),
        ("stem}", "has a single '}'"),
        ("{{stem}", "has a single '}'"),
        ("{stem:>9999999}", "only {index} takes a format"),
        ("{index:>9}", "{index:>9} has another form than {index:04d}"),
        ("{index:0999999d}", "has another form"),
        ("{index:{crf}}", "has a single '{'"),
        ("{bad}", "{bad} is 'a/b', whose '/' would be a folder"),
    ],
)
def test_templates_that_are_wrong(template, message):
    values = {"crf": "18", "stem": "a", "index": 1, "bad": "a/b"}
    with pytest.raises(JobError, match=re.escape(message)):
        render(template, values)


def test_the_names_are_those_that_are_known():
    assert sorted({*source_names("a"), "index", "profile"}) == sorted(TEMPLATE_NAMES)


# Errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobs: [{source: '*.nosuch', output: b}]", "1:17: source: no file fits the pattern"),
        ("jobs: [{source: '', output: b}]", "1:17: source: it has no name"),
        ('jobs: [{source: "a\\0", output: b}]', "1:17: source: 'a\\x00' is no file name"),
        ("jobs: [{source: a, output: '{b}'}]", "1:28: '{b}': there is no {b}; there is dir, ext"),
        ("jobs: [{source: a, output: '{ext}'}]", "1:28: the output has no name"),
        ("jobs: [{source: a, output: 'x/{ext}'}]", "1:28: 'x/' is a folder; name a file in it"),
        ("jobs: [{source: a, output: '{dir}'}]", "1:28: '.' is a folder"),
        ("jobs: [{source: '-.x', output: '{stem}'}]", "1:32: a manifest writes files, not to"),
        (
            "jobs: [{source: a, output: b, profile: web}]",
            "1:40: there is no profile 'web'; there is",
        ),
        ("profiles: {wed: {}}\njobs: [{source: a, output: b, profile: web}]", "2:40: there is no"),
        ("jobs: [{source: a, output: b, profiles: web}]", "1:41: profiles takes a list"),
        ("jobs: [{source: a, output: b, profiles: []}]", "1:41: profiles is an empty list"),
        ("profiles: [1]\njobs: [{source: a, output: b}]", "1:11: profiles takes keys and values"),
        ("profiles: {a/b: {}}\njobs: [{}]", "1:12: profiles: 'a/b': the name of a profile becomes"),
        ("profiles: {a: 1}\njobs: [{}]", "1:15: a profile takes keys and values, found '1'"),
        ("profiles: {a: {profile: b}}\njobs: [{}]", "1:16: a profile has no 'profile'"),
        ("jobs: [{source: a, output: b, matrix: [1]}]", "1:39: matrix takes keys and values"),
        (
            "jobs: [{source: a, output: b, matrix: {crf: [1]}}]",
            "1:40: matrix has no 'crf'; say video.",
        ),
        ("jobs: [{source: a, output: b, matrix: {video.crf: 1}}]", "1:51: video.crf takes a list"),
        ("jobs: [{source: a, output: b, matrix: {video.crf: []}}]", "1:51: video.crf is an empty"),
        ("jobs: [{source: a, output: b, matrix: {video.crf: [x]}}]", "1:52: video.crf: 'x' is no"),
        (
            "jobs: [{source: a, output: '{fps}', matrix: {video.fps: [24/1]}}]",
            "1:28: '{fps}': {fps}",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(read, text, message):
    with pytest.raises(JobError, match=f"^{re.escape('jobs.yaml:' + message)}"):
        read(text)


@pytest.mark.usefixtures("files")
def test_patterns_without_end(read):
    found = read(f"jobs: [{{source: '{'**/' * 1000}d.mp4', output: 'out'}}]")
    assert paths(found) == [("in/d.mp4", "out")]
    with pytest.raises(JobError, match=r"^jobs.yaml:1:17: source: the pattern has too many parts"):
        read(f"jobs: [{{source: '{'*/' * 3000}d.mp4', output: 'out'}}]")


def test_a_matrix_that_multiplies_too_far(read):
    values = ", ".join(f"video.options.{n}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for n in "abcdefgh")
    text = f"jobs: [{{source: a, output: '{{index}}', matrix: {{{values}}}}}]"
    with pytest.raises(
        JobError, match=r"^jobs.yaml:1:47: the matrix makes 100,000,000 jobs; a man"
    ):
        read(text)


def test_too_many_jobs(read, monkeypatch):
    monkeypatch.setattr(manifest, "MOST_JOBS", 2)
    job = "{source: a, output: '{crf}', matrix: {video.crf: [1, 2]}}"
    assert len(read(f"jobs: [{job}]").jobs) == 2
    with pytest.raises(JobError, match=r"^jobs.yaml:1:67: a manifest has 2 jobs at most"):
        read(f"jobs: [{job}, {job}]")
