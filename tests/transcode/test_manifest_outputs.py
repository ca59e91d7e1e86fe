"""What all outputs of a manifest may not do: meet each other or an input, or leave their root."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transcode.errors import JobError, SourceError


@pytest.fixture
def links(tmp_path):
    """Make folders that have a second name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "away").symlink_to("/")
    (tmp_path / "later").symlink_to("not/there/yet")
    (tmp_path / "real" / "file.mp4").symlink_to("../b.mp4")


def jobs(*pairs):
    return "jobs:\n" + "".join(f"- {{source: '{a}', output: '{b}'}}\n" for a, b in pairs)


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("b.mp4", "b.mp4"),
        ("b.mp4", "./b.mp4"),
        ("b.mp4", "real/../b.mp4"),
        ("b.mp4", "real//../b.mp4"),
        ("b.mp4", "real/file.mp4"),
        ("real/b.mp4", "link/b.mp4"),
        ("real/new/b.mp4", "link/new/b.mp4"),
        ("not/there/yet/b.mp4", "later/b.mp4"),
        ("no/folder/b.mp4", "no/../no/folder/b.mp4"),
    ],
)
def test_two_jobs_with_one_output(read, tmp_path, first, second):
    for a, b in [(first, second), (second, first), (f"{tmp_path}/{first}", second)]:
        message = (
            f"jobs.yaml:3:3: two jobs with one output: {b!r} of 'y' here, and of 'x' at "
            "jobs.yaml:2:3; tell them apart"
        )
        with pytest.raises(JobError, match=f"^{re.escape(message)}"):
            read(jobs(("x", a), ("y", b)))


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("b.mp4", "b.mp4"),
        ("link/c.mp4", "real/c.mp4"),
        ("real/file.mp4", "b.mp4"),
        ("file:b.mp4", "./b.mp4"),
    ],
)
def test_an_output_in_the_place_of_an_input(read, source, output):
    with pytest.raises(JobError, match=f"^jobs.yaml:2:3: '{output}' is the input itself; name an"):
        read(jobs((source, output)))
    with pytest.raises(JobError, match=f"^jobs.yaml:2:3: '{output}' is the source of the job at "):
        read(jobs(("x", output), (source, "y")))


def test_outputs_that_only_look_alike(read):
    pairs = [("a", "b"), ("a", "B"), ("a", "x/b"), ("a", "b.mp4"), ("http://h/z", "http:/h/z")]
    assert len(read(jobs(*pairs)).jobs) == 5


def test_the_manifest_itself_is_no_output(read):
    with pytest.raises(JobError, match=r"^jobs.yaml:2:3: './jobs.yaml' is this manifest"):
        read(jobs(("a", "./jobs.yaml")))


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    "output", ["../b.mp4", "/nosuch/b.mp4", "real/../../b.mp4", "away/b.mp4", "{dir}/b.mp4"]
)
def test_outputs_stay_in_the_working_directory(read, tmp_path, output):
    with pytest.raises(JobError) as caught:
        read(jobs(("../in/a.mp4", output)))
    text = str(caught.value)
    assert text.startswith("jobs.yaml:2:3: ")
    assert f"lies outside of the folder for outputs, {tmp_path}; name another, or say " in text
    assert "output_root: /" in text


def test_what_the_error_says_helps(read, tmp_path):
    with pytest.raises(JobError) as caught:
        read(jobs(("a", "../b.mp4")))
    root = str(caught.value).rpartition("say ")[2]
    assert root == f"output_root: {tmp_path.parent}"
    found = read(root + "\n" + jobs(("a", f"{tmp_path}/b.mp4")))
    assert found.jobs[0].job.outputs[0].path == f"{tmp_path}/b.mp4"


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("root", ["out", "link", "later", "../elsewhere", "/nosuch/root", "/", "."])
def test_the_output_root(read, tmp_path, root):
    text = f"output_root: {root}\n"
    found = read(text + jobs(("../x/a.mp4", "{stem}.mkv"), ("b", "sub/c")))
    assert found.output_root == root
    paths = [job.job.outputs[0].path for job in found.jobs]
    assert [Path(path) for path in paths] == [Path(root, "a.mkv"), Path(root, "sub/c")]
    if root != "/":
        with pytest.raises(JobError, match=r"jobs.yaml:3:3: '.*' lies outside of the folder"):
            read(text + jobs(("a", "../b")))
    with pytest.raises(JobError, match="not to standard output"):
        read(text + jobs(("a", "-")))


@pytest.mark.usefixtures("links")
def test_several_sources_need_a_template(read, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.mov").touch()
    place = "jobs.yaml:2:3"
    message = (
        f"{place}: two jobs with one output: 'c.mp4' of 'b.mov' here, and of 'a.mov' at {place}"
    )
    with pytest.raises(JobError, match=f"^{re.escape(message)}; tell them apart, with {{stem}},"):
        read(jobs(("*.mov", "c.mp4")))


PIECES = ["..", ".", "/", "//", "a", "link", "away", "later", "{dir}", "{stem}", "{name}", "{ext}"]


@pytest.mark.usefixtures("links")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([*PIECES, "{crf}", "{profile}", "{index}"]), max_size=8),
    st.lists(st.sampled_from(PIECES[:8]), min_size=1, max_size=6),
    st.sampled_from([".", "link", "later", "a/b"]),
    st.sampled_from(["..", "a", "...", "/"]),
)
def test_nothing_leaves_the_root(read, tmp_path, template, source, root, word):
    text = f"""
output_root: {root}
profiles: {{"{word}": {{}}}}
jobs:
- source: "{"".join(source)}"
  output: "{"".join(template)}"
  profile: "{word}"
  matrix: {{video.preset: ["{word}"], video.crf: [1]}}
"""
    with suppress(JobError, SourceError):
        (job,) = read(text).jobs
        real = Path(job.job.outputs[0].path).resolve()
        assert (tmp_path / root).resolve() in real.parents
