"""``xtranscode plugins``."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from tests.cli.conftest import call
from xma_plugins import registry
from xma_plugins.conformance import Trace
from xma_plugins.registry import plugin_names

BROKEN = Path(__file__).parents[1] / "xma_plugins" / "broken_plugins.py"
OWN = """
from xma_plugins.skeleton import PassThrough


class Mine(PassThrough):
    '''Hands pictures on, as mine do.'''

    vendor = "me"
    summary = "mine"
"""


@pytest.fixture
def file(tmp_path):
    """Write a source into the folder in which commands run."""

    def write(text=OWN, name="my.py"):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package that brings plugins, some of which cannot be imported."""
    info = tmp_path / "site" / "theirs-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[xtranscode.plugins]\ntheir_filter = theirs:Mine\ntheir_ruin = theirs:Nothing\n"
    )
    (tmp_path / "site" / "theirs.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "site")
    registry._installed.cache_clear()
    yield
    registry._installed.cache_clear()


def test_all_plugins_are_listed(invoke):
    result = invoke("plugins")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == plugin_names()
    line = next(line for line in lines if line.startswith("copy_filter "))
    assert line.split(None, 5)[1:] == [
        "filter",
        "xtranscode",
        "2020.1",
        "xtranscode",
        "copies each picture on the device",
    ]


@pytest.mark.usefixtures("installed")
def test_one_that_cannot_be_imported_is_listed_with_its_reason(invoke):
    assert [entry.name for entry in metadata.entry_points(group=registry.GROUP, name="their_ruin")]
    result = invoke("plugins")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert lines["their_filter"].split()[1:] == ["filter", "me", "2020.1", "theirs", "1.2", "mine"]
    assert "theirs 1.2   plugin 'their_ruin' cannot be imported: " in lines["their_ruin"]
    listed = [json.loads(line) for line in invoke("plugins", "--json").stdout.splitlines()]
    ruin = next(each for each in listed if each["name"] == "their_ruin")
    assert (ruin["kind"], ruin["from"]) == (None, "theirs 1.2")
    assert "has no attribute 'Nothing'" in ruin["error"]
    result = invoke("plugins", "their_ruin")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("xtranscode: plugin 'their_ruin' cannot be imported: ")


def test_a_plugin_shows_all_of_itself(invoke):
    output = invoke("plugins", "copy_encoder").stdout
    assert output.startswith("plugin    copy_encoder: gives the samples of each picture as its ")
    assert "\nkind      encoder\n" in output
    assert "\nclass     xma_plugins.builtin.copy_encoder.CopyEncoder\n" in output
    assert "``zerocopy``   whether data is given in buffers of the device" in output
    assert output == invoke("plugins", "show", "copy_encoder").stdout
    fields = json.loads(invoke("plugins", "copy_encoder", "--json").stdout)
    assert fields["about"].startswith("Gives each picture's samples as its data")
    assert fields["needs_device"] is True


def test_one_of_a_file(invoke, file):
    for name in (file(), "my.py:Mine"):
        output = invoke("plugins", name).stdout
        assert output.startswith(f"plugin    {name}: mine\n")
        assert "\nfrom      my.py\n" in output
    result = invoke("plugins", "check", "my.py")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "my.py keeps the rules: 14 passed, 0 broken"


@pytest.mark.parametrize("command", [("plugins",), ("plugins", "check")])
@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("nosuch", "", "no plugin 'nosuch', only copy_encoder, "),
        ("copy_filer", "", "no plugin 'copy_filer', only "),
        ("none.py", "", "none.py: no such file or directory\n"),
        ("my.py", "", "my.py holds no plugin: no class of it inherits one of xma_plugins\n"),
        ("my.py:Other", OWN, "my.py holds no 'Other'; it holds Mine\n"),
        ("my.py", OWN + "class Two(Mine): pass", "my.py holds Mine, Two; say which: my.py:Mine\n"),
        ("my.py", "a = (", "my.py:1: '(' was never closed\n"),
        ("my.py", "\n1 / 0", "my.py:2: ZeroDivisionError: division by zero\n"),
        ("my.py", "import sys\nsys.exit(3)", "my.py:2: SystemExit: 3\n"),
        ("my.py:A", "class A: pass", "<class 'xtranscode_plugin_"),
    ],
)
def test_errors_are_one_line(invoke, file, command, name, text, complaint):
    file(text)
    result = invoke(*command, name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"xtranscode: {complaint}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (("copy_filter", "--param", "foo=1"), 1, "has no parameter 'foo'; it has zerocopy, "),
        (("copy_filter", "--param", "zerocopy=2"), 1, "parameter 'zerocopy' takes true or false"),
        (("copy_filter", "--param", "zerocopy"), 2, "'zerocopy' has not the form key=value"),
        (("copy_filter", "--device", "toaster"), 2, "unknown device 'toaster'"),
        (("copy_filter", "--format", "yuv"), 1, "pixel format 'yuv' is not in the table"),
        (("copy_filter", "--size", "0x0"), 2, "0x0"),
        (("copy_filter", "--scenario", "calm"), 1, "no scenario 'calm', only stream, one, "),
        (("copy_filter", "--timeout", "0"), 2, "0.0 is not in the range"),
        (("copy_filter", "--trace", "no/such/folder"), 1, "no/such/folder: no such file or dir"),
        (("copy_filter", "--input", "my.mp4"), 2, "--input is for decoders"),
        (("libav_decoder",), 2, "a decoder needs something to decode: --input FILE"),
        (("libav_decoder", "--input", "my.mp4"), 1, "my.mp4: no such file"),
        (("libav_decoder", "--input", "."), 1, ".: is a folder"),
        (("libav_encoder", "--param", "codec=nosuch"), 1, "nosuch"),
    ],
)
def test_wrong_use_is_one_line(invoke, args, code, complaint):
    result = invoke("plugins", "check", *args)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert complaint in result.stderr
    assert result.stderr.startswith("xtranscode: ")
    assert result.stderr.count("\n") == 1


def test_help_names_both_commands(invoke):
    result = invoke("plugins", "--help")
    assert result.exit_code == 0
    assert "plugins check my.py" in result.stdout
    assert invoke("plugins", "check").exit_code == 2


def test_a_plugin_that_keeps_the_rules(invoke, tmp_path):
    options = ("--param", "zerocopy=true", "--format", "nv12", "--size", "33x17")
    result = invoke("plugins", "check", "copy_filter", *options, "--trace", "trace.jsonl")
    assert result.exit_code == 0, result.output
    *lines, last = result.stdout.splitlines()
    assert last == "copy_filter keeps the rules: 14 passed, 0 broken"
    assert lines[0].split() == ["stream", "passed", "40", "calls"]
    scenes = Trace.read(tmp_path / "trace.jsonl").scenes
    assert scenes[0].setup.params == {"zerocopy": True}
    assert (scenes[0].setup.format, scenes[0].setup.width) == ("nv12", 33)


def test_a_plugin_that_breaks_one(invoke):
    result = invoke("plugins", "check", f"{BROKEN}:LosesTheThird", "--scenario", "stream")
    assert result.exit_code == 1
    line, last = result.stdout.splitlines()
    assert line.startswith("stream         broken: every picture that goes in comes out once: ")
    assert line.endswith(", at step 36 of scenario stream")
    assert last == f"{BROKEN}:LosesTheThird breaks rules: 0 passed, 1 broken"
    result = invoke("plugins", "check", f"{BROKEN}:LosesTheThird", "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert (told[0]["scenario"], told[0]["rule"], told[0]["step"]) == ("stream", "COUNT", 36)
    assert next(each for each in told if each["scenario"] == "unused")["state"] == "passed"


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_a_decoder_gets_the_packets_of_a_file(invoke, clips, codec):
    path = clips.path(codec)
    result = invoke("plugins", "check", "libav_decoder", "--input", path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "libav_decoder keeps the rules: 11 passed, 0 broken"


def test_a_plugin_that_hangs_ends_the_command(tmp_path):
    name = f"{BROKEN}:Hangs"
    done = call("plugins", "check", name, "--timeout", "0.3", "--scenario", "stream", cwd=tmp_path)
    assert done.returncode == 1
    assert "receive dummy did not return within 0.3 s, at step 6" in done.stdout
    assert "Traceback" not in done.stderr
