"""Admission: loads, and reservations between threads and processes that come to any end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest

from tests.helpers.process import open_files
from xma_plugins import ledger
from xma_plugins.admission import (
    CARD_LOAD,
    Holder,
    holders,
    measured_load,
    pixel_load,
    reserve,
)
from xma_plugins.errors import ChannelCapacityError, InvalidError, XmaError

ROOT = Path(__file__).parents[2]
HEAD = "import os, sys, time\nfrom xma_plugins.admission import *\n"
SECONDS = 1.0
"""In which what a killed process held must be free."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "xtranscode"


@pytest.fixture
def start():
    """Run a text as a process, which is killed at the end with those that it forked."""
    started = []

    def start(text):
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD + text],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def used(device="cpu"):
    return sum(holder.load for holder in holders(device))


def wait_until_free(device="cpu"):
    end = time.monotonic() + SECONDS
    while used(device):
        assert time.monotonic() < end, holders(device)
        time.sleep(0.01)


# Loads


@pytest.mark.parametrize(
    ("width", "height", "rate", "load"),
    [
        (1920, 1080, 60, 250_000),
        (3840, 2160, 60, 1_000_000),
        (1280, 720, 30, 55_556),  # 55,555.5...
        (1920, 1080, Fraction(30000, 1001), 124_876),  # 124,875.1...
        (1, 1, 1, 1),
    ],
)
def test_load_of_a_stream(width, height, rate, load):
    assert pixel_load(Fraction(width * height * rate)) == load


def test_load_of_a_measured_job():
    assert measured_load(Fraction(25), Fraction(212)) == 117_925  # 117,924.5...
    assert measured_load(Fraction(60), Fraction(60)) == CARD_LOAD


# Reservations


def test_four_streams_fill_a_card_and_no_fifth_fits():
    streams = [reserve("cpu", 250_000, f"stream {n}") for n in range(4)]
    with pytest.raises(ChannelCapacityError) as caught:
        reserve("cpu", 1, "the fifth")
    assert caught.value.code == -7
    message = str(caught.value)
    assert message.startswith("the fifth needs a load of 1 on cpu, and 0 of 1000000 is free: ")
    for n in range(4):
        assert f"250000 by process {os.getpid()} (stream {n})" in message
    streams[1].close()
    with reserve("cpu", 250_000, "the fifth"):
        assert used() == CARD_LOAD
    assert used() == 750_000
    for stream in streams:
        stream.close()
        stream.close()
        assert not stream.is_held
    assert holders("cpu") == ()


def test_a_capacity_of_its_own():
    with reserve("cpu", 2_400_000, "large", capacity=2_500_000):
        with pytest.raises(ChannelCapacityError, match="100000 of 2500000 is free"):
            reserve("cpu", 100_001, "small", capacity=2_500_000)
        # Everybody goes by his own figure.
        with pytest.raises(ChannelCapacityError, match="-1400000 of 1000000 is free"):
            reserve("cpu", 1, "small")


def test_more_than_a_whole_device_is_said_so():
    with pytest.raises(ChannelCapacityError, match=r"large needs .* on cpu, whose capacity is 10"):
        reserve("cpu", CARD_LOAD + 1, "large")


@pytest.mark.parametrize("load", [0, -1])
def test_no_load_at_all(load):
    with pytest.raises(InvalidError, match="above 0"):
        reserve("cpu", load, "nothing")


def test_devices_are_apart():
    names = ["cpu", "opencl:0:0", "opencl:0:1", "vaapi:/dev/dri/renderD128", "..", "ä" * 20]
    held = [reserve(name, CARD_LOAD, name) for name in names]
    assert [holders(name) for name in names] == [
        (Holder(CARD_LOAD, os.getpid(), name),) for name in names
    ]
    for reservation in held:
        reservation.close()


def test_a_label_is_cut_between_characters():
    with reserve("cpu", 1, "é" * 300), reserve("cpu", 1, "a" + "é" * 300):
        assert [holder.label for holder in holders("cpu")] == ["é" * 120, "a" + "é" * 119]


def test_a_label_that_is_no_text():
    with reserve("cpu", 1, os.fsdecode(b"\xff.mp4")):
        assert holders("cpu")[0].label == "\\udcff.mp4"


def test_a_forgotten_reservation_is_collected():
    with pytest.warns(ResourceWarning):
        reserve("cpu", 1, "forgotten")
    assert holders("cpu") == ()


def test_no_file_stays_open():
    reserve("cpu", CARD_LOAD, "first").close()
    before = open_files()
    with reserve("cpu", CARD_LOAD, "all"), pytest.raises(ChannelCapacityError):
        reserve("cpu", 1, "more")
    holders("cpu")
    assert open_files() == before


# Threads and processes


def test_threads_share_a_card():
    made, refused = [], []
    ready = threading.Barrier(16)

    def take(n):
        ready.wait()
        try:
            made.append(reserve("cpu", 250_000, f"thread {n}"))
        except ChannelCapacityError as error:
            refused.append(error)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused), used()) == (4, 12, CARD_LOAD)
    for reservation in made:
        reservation.close()


RACE = """
import json, random
from xma_plugins.errors import ChannelCapacityError
spans, refused, end = [], 0, None
sys.stdin.readline()
end = time.monotonic() + 1
while time.monotonic() < end:
    load = random.choice((90_000, 250_000, 410_000))
    try:
        with reserve("cpu", load, "racer"):
            begin = time.monotonic_ns()
            time.sleep(random.random() / 500)
            spans.append((begin, time.monotonic_ns(), load))
    except ChannelCapacityError:
        refused += 1
print(json.dumps([spans, refused]))
"""


def test_processes_that_race_never_hold_more_than_there_is(start):
    racers = [start(RACE) for _ in range(8)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    results = [json.loads(racer.communicate(timeout=30)[0]) for racer in racers]
    # Each span lies within the time that its load was held, by a clock that all processes share.
    changes = []
    for spans, _ in results:
        for begin, end, load in spans:
            changes += [(begin, load), (end, -load)]
    level = highest = 0
    for _, change in sorted(changes):
        level += change
        highest = max(highest, level)
    assert 500_000 < highest <= CARD_LOAD
    assert len(changes) > 200
    assert sum(refused for _, refused in results) > 0
    assert holders("cpu") == ()


def test_a_killed_process_leaves_neither_load_nor_label(start, folder):
    process = start(
        "r = reserve('cpu', 900_000, 'doomed')\nprint('held', flush=True)\ntime.sleep(60)"
    )
    assert process.stdout.readline() == "held\n"
    assert holders("cpu") == (Holder(900_000, process.pid, "doomed"),)
    with pytest.raises(ChannelCapacityError, match=rf"900000 by process {process.pid} \(doomed\)"):
        reserve("cpu", 100_001, "next")
    nbytes = (folder / "load-cpu").stat().st_size
    process.kill()
    wait_until_free()
    with reserve("cpu", CARD_LOAD, "next"):
        assert [holder.label for holder in holders("cpu")] == ["next"]
    assert (folder / "load-cpu").stat().st_size == nbytes


def test_a_program_that_takes_over_holds_the_load_to_its_end(start):
    process = start(
        "r = reserve('cpu', 5, 'sh')\nr.survive_exec()\n"
        "os.execvp('sh', ['sh', '-c', 'echo; read x'])"
    )
    process.stdout.readline()
    assert holders("cpu") == (Holder(5, process.pid, "sh"),)
    process.communicate("\n", timeout=10)
    wait_until_free()


FORKED = """
r = reserve("cpu", 5, "parent")
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    assert not r.is_held
    r.close()
    del r
    print("child has", sum(h.load for h in holders("cpu")), flush=True)
    reserve("cpu", 7, "child").close()
    os.write(writing, b"done")
    time.sleep(60)
os.close(writing)
os.read(reading, 4)
print("parent has", sum(h.load for h in holders("cpu")), r.is_held, child, flush=True)
sys.stdin.readline()
{end}
print("let go", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["r.close()", "os.kill(os.getpid(), 9)"])
def test_a_forked_child_neither_frees_nor_keeps_the_parent_s_load(start, end):
    process = start(FORKED.format(end=end))
    assert process.stdout.readline() == "child has 5\n"
    *words, child = process.stdout.readline().split()
    assert words == ["parent", "has", "5", "True"]
    process.stdin.write("\n")
    process.stdin.flush()
    if end == "r.close()":
        assert process.stdout.readline() == "let go\n"
    else:
        assert process.wait(timeout=10) == -signal.SIGKILL
    # The child lives on.
    wait_until_free()
    os.kill(int(child), signal.SIGKILL)


def test_a_fork_that_python_knows_nothing_of_does_not_keep_what_was_closed(start):
    process = start(
        "import ctypes\nr = reserve('cpu', 5, 'parent')\nc = ctypes.PyDLL(None)\n"
        "if c.fork() == 0:\n    c.pause()\n"
        "r.close()\nprint('closed', flush=True)\ntime.sleep(60)"
    )
    assert process.stdout.readline() == "closed\n"
    assert holders("cpu") == ()


FORKING = r"""
import threading
from xma_plugins import ledger
opened, kept = ledger._open, []
def open_slowly(path):
    number = opened(path)
    time.sleep(0.002)
    return number
ledger._open = open_slowly
def keep():
    for _ in range(25):
        kept.append(reserve("cpu", 1, "kept"))
threads = [threading.Thread(target=keep) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        try:
            with reserve("cpu", 1, "child"):
                pass
            os.write(1, b"child\n")
            time.sleep(60)
        finally:
            os._exit(1)
for thread in threads:
    thread.join()
os.write(1, b"parent\n")
time.sleep(60)
"""


def test_forks_amid_reservations_of_other_threads(start):
    process = start(FORKING)
    lines = [process.stdout.readline() for _ in range(21)]
    assert sorted(lines) == ["child\n"] * 20 + ["parent\n"]
    assert used() == 100
    process.kill()
    # The children live on.
    wait_until_free()


def test_a_program_that_was_started_does_not_keep_the_load(start):
    process = start(
        "import subprocess\nr = reserve('cpu', 5, 'parent')\n"
        "child = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\ntime.sleep(60)"
    )
    child = int(process.stdout.readline())
    try:
        process.kill()
        wait_until_free()
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


# The folder


def test_the_folder_is_this_user_s_alone(folder):
    old = os.umask(0)
    try:
        reserve("cpu", 1, "x").close()
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "load-cpu").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_can_write_to_is_refused(folder):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(XmaError, match=f"{folder} is not this user's alone"):
        reserve("cpu", 1, "x")


def test_links_are_not_followed(folder, tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    with pytest.raises(XmaError, match="not this user's alone"):
        reserve("cpu", 1, "x")
    folder.unlink()
    folder.mkdir(mode=0o700)
    (folder / "load-cpu").symlink_to(tmp_path / "victim")
    with pytest.raises(XmaError, match="cannot be kept in"):
        reserve("cpu", 1, "x")
    assert not (tmp_path / "victim").exists()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Look for folders of all users, and of users logged in, in a folder of this test."""
    monkeypatch.setattr(ledger, "_TEMPORARY", str(tmp_path))
    monkeypatch.setattr(ledger, "_LOGGED_IN", str(tmp_path / "none"))
    return tmp_path


@pytest.mark.parametrize("named", ["", "relative", "/nonexistent/folder"])
def test_without_a_runtime_folder_there_is_a_temporary_one(temporary, monkeypatch, named):
    monkeypatch.setenv("XDG_RUNTIME_DIR", named)
    with reserve("cpu", CARD_LOAD, "x"):
        assert (temporary / f"xtranscode-{os.geteuid()}" / "load-cpu").exists()


def test_the_folder_of_a_user_logged_in_is_found_without_the_variable(temporary, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(ledger, "_LOGGED_IN", str(temporary))
    (temporary / str(os.geteuid())).mkdir()
    with reserve("cpu", CARD_LOAD, "x"):
        assert (temporary / str(os.geteuid()) / "xtranscode" / "load-cpu").exists()


def test_two_users_do_not_clash(temporary, monkeypatch):
    first = reserve("cpu", CARD_LOAD, "first")
    user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: user)
    # The variable is left from the first user, as su leaves it; the folder is made by nobody else.
    own = temporary / f"xtranscode-{user}"
    with pytest.raises(XmaError, match=f"{own} is not this user's alone"):
        reserve("cpu", 1, "second")
    monkeypatch.undo()
    assert first.is_held
    first.close()
