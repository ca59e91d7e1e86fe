"""What the command imports before it has something to do."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from tests.cli.conftest import ROOT, environment

HEAVY = ("av", "numpy", "rich", "pyopencl", "transcode", "bridges", "xma_plugins")


def imported(*args):
    """Return the output of the command and the heavy packages that it imported."""
    program = (
        "import atexit, json, sys\n"
        "from cli.main import main\n"
        "sys.argv = ['xtranscode', *json.loads(sys.argv[1])]\n"
        f"show = lambda: print(sorted(set(sys.modules) & {set(HEAVY)!r}), file=sys.stderr)\n"
        "atexit.register(show)\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(args)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=True,
        timeout=60,
    )
    return done.stdout, done.stderr.strip()


@pytest.mark.parametrize(
    "args",
    [("--version",), ("--help",), ("-h",), ("run", "--help"), ("probe", "-h"), ("devices", "-h")],
)
def test_imports_nothing_heavy_to_explain_itself(args):
    output, heavy = imported(*args)
    assert output
    assert heavy == "[]"


def test_version_is_the_installed_one():
    try:
        expected = version("xtranscode")
    except PackageNotFoundError:
        expected = "(not installed)"
    assert imported("--version")[0] == f"xtranscode {expected}\n"


def test_help_lists_every_command_with_its_summary():
    output, _ = imported("--help")
    for command in ("run", "probe", "devices", "kernels"):
        assert f"\n  {command} " in output
    assert "Exit codes" in output
