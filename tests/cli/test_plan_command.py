"""``xtranscode plan``."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.cli.conftest import COMMAND, environment
from tests.cli.test_startup import imported
from xma_plugins.admission import CARD_LOAD, holders, reserve


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


@pytest.fixture
def jobs(folder, sample):
    """Write a list of jobs with these loads; returns its name."""

    def write(*loads):
        entries = [
            {"source": str(sample), "output": f"out{n}.mp4", "load": load}
            for n, load in enumerate(loads)
        ]
        (folder / "jobs.yaml").write_text(json.dumps({"jobs": entries}))
        return "jobs.yaml"

    return write


@pytest.fixture
def start(folder):
    """Start the command as a process, which is killed at the end."""
    started = []

    def start(*args):
        process = subprocess.Popen(
            [*COMMAND, *args],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_all_fit(invoke, jobs, sample):
    result = invoke("plan", jobs(400_000, 600_000))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines == [
        ["job", "device", "load", "now"],
        [str(sample), ">", "out0.mp4", "cpu", "400,000", "fits"],
        [str(sample), ">", "out1.mp4", "cpu", "600,000", "fits"],
        [],
        ["cpu", "the", "processor"],
        ["total", "1,000,000", "of", "1,000,000"],
        ["at", "once", "2", "of", "2", "jobs"],
        ["waves", "1"],
    ]
    assert holders("cpu") == ()


def test_not_all_fit(invoke, jobs):
    with reserve("cpu", 300_000, "somebody"):
        result = invoke("plan", jobs(500_000, 300_000, 800_000, 1_000_001))
    assert (result.exit_code, result.stderr) == (3, "")
    states = [line.rpartition("   ")[2] for line in result.stdout.splitlines()[1:5]]
    assert states == ["fits", "wave 2", "no room", "never fits"]
    assert f"reserved   300,000 by somebody, process {os.getpid()}" in result.stdout
    assert "at once    1 of 4 jobs" in result.stdout
    assert "waves      cannot tell: not every job has room" in result.stdout


def test_json(invoke, jobs, sample):
    with reserve("cpu", 1, "somebody"):
        result = invoke("plan", "--json", jobs(CARD_LOAD - 1, 5))
    assert result.exit_code == 3
    first, second, device = (json.loads(line) for line in result.stdout.splitlines())
    assert first == {
        "type": "job",
        "source": str(sample),
        "outputs": ["out0.mp4"],
        "place": "jobs.yaml:1:11",
        "device": "cpu",
        "load": CARD_LOAD - 1,
        "fits": True,
        "wave": 1,
    }
    assert (second["fits"], second["wave"]) == (False, 2)
    assert device == {
        "type": "device",
        "name": "cpu",
        "description": "the processor",
        "total": CARD_LOAD + 4,
        "capacity": CARD_LOAD,
        "reserved": 1,
        "holders": [{"load": 1, "pid": os.getpid(), "label": "somebody"}],
        "jobs": 2,
        "at_once": 1,
        "waves": 2,
    }


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("jobs: [{sorce: a, output: b}]", 2, "1:9: a job has no 'sorce'; did you mean 'source'?"),
        ("jobs: [", 2, "1:8: while parsing a flow node, expected the node content, but found "),
        ("jobs: [{source: no.mp4, output: b}]", 1, "1:8: no.mp4: no such file\n"),
    ],
)
def test_errors_are_one_line(invoke, folder, text, code, message):
    (folder / "jobs.yaml").write_text(text)
    result = invoke("plan", "jobs.yaml")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"xtranscode: jobs.yaml:{message}")
    assert result.stderr.count("\n") == 1


def test_no_list_at_all(invoke, folder):
    result = invoke("plan", "nosuch.yaml")
    assert (result.exit_code, result.stderr) == (1, "xtranscode: nosuch.yaml: no such file\n")


def test_hold_lasts_until_ctrl_c(start, jobs):
    process = start("plan", "--hold", jobs(700_000))
    assert process.stderr.readline() == "xtranscode: reserved until Ctrl-C\n"
    (holder,) = holders("cpu")
    expected = (700_000, process.pid, "xtranscode plan jobs.yaml")
    assert (holder.load, holder.pid, holder.label) == expected
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "xtranscode: interrupted\n")
    assert "700,000" in output
    assert holders("cpu") == ()


def test_a_command_holds_the_load_until_it_ends(start, jobs):
    process = start("plan", jobs(700_000), "--", "sh", "-c", "echo ready; read line; exit 7")
    assert process.stdout.readline() == "ready\n"
    (holder,) = holders("cpu")
    assert (holder.load, holder.pid) == (700_000, process.pid)
    assert holder.label == "sh -c echo ready; read line; exit 7"
    output, errors = process.communicate("\n", timeout=30)
    assert (process.returncode, output) == (7, "")
    assert "700,000" in errors
    end = time.monotonic() + 1
    while holders("cpu"):
        assert time.monotonic() < end


def test_a_command_dies_of_a_broken_pipe_as_ever(start, jobs):
    process = start("plan", jobs(1), "--", "sh", "-c", "while echo line; do :; done")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == -signal.SIGPIPE


@pytest.mark.parametrize("words", [("--hold",), ("--", "touch", "made")])
def test_nothing_is_held_or_run_where_not_all_fit(invoke, jobs, folder, words):
    with reserve("cpu", 500_001, "somebody"):
        result = invoke("plan", jobs(200_000, 300_000), *words)
        assert len(holders("cpu")) == 1
    assert result.exit_code == 3
    line = f"is free: 500001 by process {os.getpid()} (somebody)\n"
    assert result.stderr.endswith(line)
    assert not (folder / "made").exists()


def test_a_command_that_is_not_there(invoke, jobs):
    result = invoke("plan", jobs(5), "--", "nosuch-command")
    assert result.exit_code == 1
    assert result.stderr.endswith("xtranscode: nosuch-command: no such file or directory\n")
    assert holders("cpu") == ()


def test_a_plan_can_be_asked_for_on_standard_input(invoke, jobs, folder):
    jobs(5)
    result = invoke("plan", "-", input=(folder / "jobs.yaml").read_text())
    assert result.exit_code == 0, result.output


def test_imports_nothing_heavy_to_explain_itself():
    output, heavy = imported("plan", "--help")
    assert "3 they do not" in output
    assert heavy == "[]"
