"""``xtranscode batch``: what it shows, what it says of wrong input, and what survives a kill."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time

import jsonschema
import pytest

from tests.cli.conftest import COMMAND, call, environment
from tests.cli.test_process import ESCAPES, Terminal
from tests.cli.test_startup import imported
from tests.transcode.output import frames_of
from transcode.batch.journal import Journal

ROUNDS = int(os.environ.get("XT_KILL_ROUNDS", "3"))
"""How often a batch is killed; the benchmark of batches asks for 30."""

QUICK = {"video": {"preset": "ultrafast"}}
MANIFEST = """\
defaults:
  video: {preset: ultrafast}
jobs:
  - source: talk.mp4
    matrix: {video.crf: [20, 30]}
    output: "out/{stem}-{crf}.mp4"
  - source: bad.mp4
    output: out/bad.mp4
"""


@pytest.fixture
def folder(tmp_path, clips):
    shutil.copy(clips.path("h264"), tmp_path / "talk.mp4")
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "jobs.yaml").write_text(MANIFEST)
    return tmp_path


@pytest.fixture
def batch(folder):
    def run(*words, **changes):
        return call("batch", *words, cwd=folder, **changes)

    return run


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_batch_to_its_end(batch, folder):
    done = batch("jobs.yaml", "--workers", "2", "--summary", "sum.json")
    assert done.returncode == 3
    assert done.stdout == ""
    first, *shown, last = done.stderr.splitlines()
    assert first == "3 jobs, on 2 local processes; journal jobs.yaml.journal"
    assert len(shown) == 3
    assert sum(" done    talk.mp4 > out/talk-" in line for line in shown) == 2
    (failed,) = (line for line in shown if "failed" in line)
    assert failed.endswith("failed  bad.mp4 > out/bad.mp4  bad.mp4: a text file, not media")
    assert last.startswith("2 of 3 done, 1 failed, 24 frames, ")
    assert sorted(os.listdir(folder / "out")) == ["talk-20.mp4", "talk-30.mp4"]
    summary = json.loads((folder / "sum.json").read_text())
    assert (summary["done"], summary["failed"]) == (2, 1)
    assert summary["failures"][0]["place"] == "jobs.yaml:7:5"

    status = batch("status", "jobs.yaml", "--json")
    assert status.returncode == 3
    assert json.loads(status.stdout) == summary
    assert not summary["is_running"]
    shown = batch("status", "jobs.yaml")
    assert "batch      has ended\n" in shown.stdout
    assert "done       2\n" in shown.stdout
    assert "jobs.yaml:7:5   bad.mp4   failed   bad.mp4: a text file, not media" in shown.stdout

    again = batch("jobs.yaml")
    assert again.returncode == 1
    assert "2 of 3 jobs are done already; say --resume to go on" in again.stderr
    again = batch("jobs.yaml", "--resume")
    assert again.returncode == 3
    assert "3 jobs, 2 of them done before" in again.stderr
    shutil.copy(folder / "talk.mp4", folder / "bad.mp4")
    again = batch("retry", "jobs.yaml", "-q")
    assert (again.returncode, again.stderr) == (0, "")
    assert batch("status", "jobs.yaml").returncode == 0


def test_events_for_programs(batch, folder):
    done = batch("jobs.yaml", "--progress", "json")
    events = lines(done.stdout)
    assert (done.returncode, done.stderr) == (3, "")
    kinds = [event["type"] for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert kinds.count("job_started") == kinds.count("job_ended") == 3
    ended = {event["output"]: event for event in events if event["type"] == "job_ended"}
    assert ended["out/bad.mp4"]["state"] == "failed"
    assert ended["out/talk-20.mp4"]["outcome"]["report"]["frames"] == 12
    report = lines(batch("report", "jobs.yaml").stdout)
    assert [job["state"] for job in report] == ["done", "done", "failed"]
    assert report[0]["spec"]["outputs"][0]["video"]["crf"] == 20


def test_a_dry_run_shows_the_jobs_and_does_nothing(batch, folder):
    before = sorted(os.listdir(folder))
    done = batch("jobs.yaml", "--dry-run")
    assert done.returncode == 0
    assert "jobs.yaml:4:5   -         auto     talk.mp4 > out/talk-20.mp4" in done.stdout
    assert done.stdout.endswith("\n3 jobs; nothing was run\n")
    jobs = lines(batch("jobs.yaml", "--dry-run", "--progress", "json").stdout)
    assert [job["output"] for job in jobs] == ["out/talk-20.mp4", "out/talk-30.mp4", "out/bad.mp4"]
    assert sorted(os.listdir(folder)) == before


def test_the_schema_is_one_and_takes_the_manifest(batch):
    import yaml

    schema = json.loads(batch("--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(MANIFEST), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"jobs": [{"source": "a.mp4", "outptu": "b.mp4"}]}, schema)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("jobs: []", "jobs.yaml:1:7: jobs is an empty list"),
        ("jobs: [{source: talk.mp4, outptu: a.mp4}]", "did you mean 'output'?"),
        ("jobs: [{source: talk.mp4, output: talk.mp4}]", "jobs.yaml:1:8: "),
        ("jobs: [{source: talk.mp4, output: ../a.mp4}]", "output_root"),
        ("jobs: [{source: talk.mp4, output: a.mp4, verify: ful}]", "full"),
        ("jobs: [{source: talk.mp4, output: a.mp4, video: {codec: x26}}]", "jobs.yaml:1:8: "),
        ("jobs: [{source: talk.mp4, output: a.mp4, filters: [gary]}]", "no kernel 'gary'"),
        ("jobs: [{source: talk.mp4, output: a.nothing}]", "jobs.yaml:1:8: "),
        ("jobs:\n  - [", "jobs.yaml:2:6: "),
        ("jobs: [{source: '*.avi', output: a.mp4}]", "jobs.yaml:1:17: "),
    ],
)
def test_a_wrong_manifest_is_one_line_with_its_place(batch, folder, manifest, said):
    (folder / "jobs.yaml").write_text(manifest)
    done = batch("jobs.yaml")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("xtranscode: jobs.yaml:")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "jobs.yaml.journal").exists()


def test_wrong_words(batch, folder):
    assert "missing argument 'MANIFEST'" in batch().stderr
    done = batch("nowhere.yaml")
    assert (done.returncode, done.stderr) == (1, "xtranscode: nowhere.yaml: no such file\n")
    said = batch("jobs.yaml", "--workers", "0").stderr
    assert said.endswith("0 is not in the range x>=1 (see xtranscode batch --help)\n")
    assert "has the form 4G" in batch("jobs.yaml", "--memory-limit", "lots").stderr
    assert "there is no journal" in batch("status", "jobs.yaml").stderr
    assert "there is no journal" in batch("retry", "jobs.yaml").stderr
    (folder / "text.journal").write_text("no journal" * 1000)
    said = batch("status", "jobs.yaml", "--journal", "text.journal").stderr
    assert "cannot be read as a journal" in said
    said = batch("jobs.yaml", "--cluster", "tcp://127.0.0.1:9").stderr
    assert said.count("\n") == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in said
    assert sorted(os.listdir(folder)) == [
        "bad.mp4", "jobs.yaml", "jobs.yaml.journal", "jobs.yaml.journal.lock", "talk.mp4",
        "text.journal",
    ]  # fmt: skip


def test_a_manifest_from_standard_input(folder):
    command = [*COMMAND, "batch", "-", "--journal", "j", "--output-root", "out"]
    text = '{"source": "talk.mp4", "output": "a.mp4"}\n{"source": "talk.mp4", "output": "b.mp4"}\n'
    done = subprocess.run(
        [*command, "--format", "jsonl"],
        input=text, cwd=folder, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(folder / "out")) == ["a.mp4", "b.mp4"]
    said = subprocess.run(
        [*COMMAND, "batch", "-"],
        input=text, cwd=folder, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 2
    assert "a manifest from standard input needs --journal FILE" in said.stderr


@pytest.mark.parametrize("option", ["--summary", "--report"])
def test_what_is_written_beside_replaces_no_job_s_file(batch, folder, option):
    for name in ("talk.mp4", "jobs.yaml", "out/talk-20.mp4"):
        said = batch("jobs.yaml", option, name)
        assert (said.returncode, said.stderr.count("\n")) == (1, 1)
        assert "is the manifest's or a job's file; name another" in said.stderr
    assert (folder / "jobs.yaml").read_text() == MANIFEST
    assert not (folder / "jobs.yaml.journal").exists()


def test_a_second_batch_on_one_journal_is_refused(batch, folder):
    with Journal(str(folder / "jobs.yaml.journal"), write=True):
        done = batch("jobs.yaml")
    assert done.returncode == 1
    assert "another batch is running on it (process " in done.stderr


@pytest.mark.parametrize("columns", [40, 100])
def test_a_terminal_is_shown_what_runs(folder, sample, columns):
    jobs = [{"source": str(sample), "output": f"out/{n}.mp4"} for n in range(3)]
    (folder / "jobs.json").write_text(json.dumps({"defaults": QUICK, "jobs": jobs}))
    with Terminal(
        "batch", "jobs.json", "--workers", "2", cwd=folder, command=COMMAND, columns=columns
    ) as terminal:
        terminal.read(until="2 running")
        assert terminal.end() == 0
    text = ESCAPES.sub("", terminal.shown)
    assert "1.mp4" in text
    assert "0/3 jobs" in text
    if columns > 80:
        assert "starting" in text
        assert "encoding" in text
    assert "3 of 3 done" in text.replace("\r\n", " ")
    # The cursor is shown again, and nothing of the live view is left at the end.
    assert terminal.shown.rstrip().rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_batch_cleanly(folder, sample, batch, number):
    jobs = [{"source": str(sample), "output": f"out/{n}.mp4"} for n in range(3)]
    (folder / "jobs.json").write_text(json.dumps({"defaults": QUICK, "jobs": jobs}))
    process = subprocess.Popen(
        [*COMMAND, "batch", "jobs.json", "--workers", "2", "--progress", "json"],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    with process:
        for line in process.stdout:
            if json.loads(line)["type"] == "job_progress":
                break
        # To all of the group, as a terminal does it.
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert said.count("\n") == 1
    assert not [name for name in os.listdir(folder / "out") if name.startswith(".")]
    status = json.loads(batch("status", "jobs.json", "--json").stdout)
    assert status["stopped"] == "interrupted"
    assert status["running"] == 0
    done = batch("jobs.json", "--resume", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert len(os.listdir(folder / "out")) == 3


def test_killed_batches_are_resumed_until_all_is_done_once(folder):
    """Kill the parent, or a worker and then the parent, at random moments."""
    count = 30 * ROUNDS
    jobs = [{"source": "talk.mp4", "output": f"out/{n}.mp4"} for n in range(count)]
    (folder / "jobs.json").write_text(json.dumps({"defaults": QUICK, "jobs": jobs}))
    chance = random.Random(8)
    command = [*COMMAND, "batch", "jobs.json", "--workers", "2", "--resume", "--progress", "none"]
    done: dict[str, int] = {}
    for _ in range(ROUNDS):
        parent = subprocess.Popen(command, cwd=folder, env=environment())
        time.sleep(chance.uniform(0.4, 1.6))
        if chance.random() < 0.5 and (children := _children(parent.pid)):
            os.kill(chance.choice(children), signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.3))
        children = _children(parent.pid)
        parent.kill()
        parent.wait()
        assert _soon_gone(children)
        found = _done(folder)
        # What was done once stays as it is: not run again, not touched.
        assert {name: found[name] for name in done} == done
        done = found
    last = subprocess.run(command, cwd=folder, env=environment())
    assert last.returncode == 0
    names = [f"{n}.mp4" for n in range(count)]
    assert sorted(os.listdir(folder / "out")) == sorted(names)
    assert {len(frames_of(folder / "out" / name)) for name in names} == {12}
    with Journal(str(folder / "jobs.json.journal"), write=False) as journal:
        counts = dict.fromkeys(names, 0)
        for attempt in journal.attempts():
            counts[os.path.basename(attempt.output)] += attempt.kind == "done"
    assert set(counts.values()) == {1}


def _done(folder):
    path = str(folder / "jobs.json.journal")
    if not os.path.exists(path):
        return {}
    with Journal(path, write=False) as journal:
        return {record.output: os.stat(record.output).st_ino for record in journal.records("done")}


def _children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry))
    return found


def _soon_gone(pids):
    end = time.monotonic() + 5
    while any(os.path.exists(f"/proc/{pid}") and not _is_zombie(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_help_loads_no_codec():
    said, loaded = imported("batch", "--help")
    assert said.startswith("Usage: xtranscode batch [OPTIONS] MANIFEST\n")
    assert loaded == "[]"
