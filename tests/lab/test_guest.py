"""``tests/lab/guest``: a command goes in as it is, its output and its end come out as they are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.require import require
from tests.lab.virtual_machine import machine, missing

GUEST = Path(__file__).with_name("guest")
WORDS = ["a b", "it's", '"x"', "$HOME", "", "new\nline", "*", "ä", "-e"]


@pytest.fixture(scope="module", autouse=True)
def needed():
    reason = missing()
    require("guest", not reason, reason)


def guest(*arguments, **options):
    """Run a command in the guest, as a shell would."""
    options = {"capture_output": True, "timeout": 100} | options
    # Not by its first line: what stands in for python3 on PATH may change PATH.
    return subprocess.run([sys.executable, GUEST, *map(str, arguments)], **options)


ASK = """
import json, os, sys, time
from pathlib import Path
sys.path.append(str(Path(sys.argv.pop(1))))
from dma_buf_report import report
Path("kept").write_text("after")
shared = os.statvfs("/dev/shm")
print(json.dumps({
    "words": sys.argv[1:], "folder": os.getcwd(), "variables": dict(os.environ),
    "kept": Path("kept").read_text(), "time": time.time(), "cpus": os.cpu_count(),
    "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    "shared memory": shared.f_bavail * shared.f_bsize, "dma-buf": report(),
}), flush=True)
sys.stderr.write("told\\r\\n")
os.fork() or time.sleep(1000)  # The guest does not wait for it.
os._exit(41)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return where one guest was asked most questions, and what it said."""
    folder = tmp_path_factory.mktemp("it's a folder")
    (folder / "kept").write_text("before")
    (folder / "ask.py").write_text(ASK)
    command = (sys.executable, "-SEB", "ask.py", GUEST.parent, *WORDS)
    return folder, guest("-e", "A=b=c d", *command, cwd=folder)


@pytest.fixture(scope="module")
def said(answers):
    return json.loads(answers[1].stdout)


class TestCommand:
    def test_status_and_complaints(self, answers):
        assert (answers[1].returncode, answers[1].stderr) == (41, b"told\r\n")

    def test_arguments_folder_and_variables(self, answers, said):
        assert said["words"] == WORDS
        assert said["folder"] == str(answers[0])
        assert said["variables"]["A"] == "b=c d"
        assert said["variables"]["PATH"] == os.environ["PATH"]
        assert "PYTEST_CURRENT_TEST" not in said["variables"]

    def test_what_it_has(self, said):
        assert said["cpus"] == 2
        assert 2.7 < said["memory"] / 2**30 <= 3
        assert said["shared memory"] > 2**30
        assert -60 < said["time"] - time.time() < 10

    def test_a_real_dma_buf(self, said):
        assert said["dma-buf"] == {
            "driver": "vgem",
            "kind": "/dmabuf:",
            "sync": "",
            "sync of a memfd": "ENOTTY",
            "imported": True,
            "seen again": "abcd",
        }

    def test_the_machine_keeps_its_files(self, answers, said):
        assert said["kept"] == "after"
        assert (answers[0] / "kept").read_text() == "before"


def test_much_output_in_order(tmp_path):
    """Both streams into one pipe; bytes of all values."""
    block = bytes(range(256)) * 30_000
    (tmp_path / "block").write_bytes(block)
    script = "echo first; echo second >&2; cat block; echo third; echo fourth >&2"
    command = [GUEST, "sh", "-c", script]
    found = subprocess.check_output(command, cwd=tmp_path, stderr=subprocess.STDOUT, timeout=100)
    assert found == b"first\nsecond\n" + block + b"third\nfourth\n"


def test_another_root_and_a_shared_folder(tmp_path):
    root, share = tmp_path / "root", tmp_path / "share, too"
    (root / "bin").mkdir(parents=True)
    share.mkdir()
    shutil.copy("/bin/busybox", root / "bin")
    for name in ("cat", "env", "ls", "sh"):
        (root / "bin" / name).symlink_to("busybox")
    script = 'ls / /dev/dri /dev/shm /proc/1 /sys/class/drm && cat tests/lab/guest >"$0/copy"'
    command = ("sh", "-c", f"{script} && echo x >/y", share)
    done = guest("--root", root, "--share", share, *command, cwd=GUEST.parents[2])
    assert (done.returncode, done.stderr) == (0, b"")
    assert {b"card0", b"renderD128", b"bin", b"dev"} <= {*done.stdout.split()}
    assert b"usr" not in done.stdout.split()
    assert (share / "copy").read_bytes() == GUEST.read_bytes()
    assert [path.name for path in root.iterdir()] == ["bin"]


def test_a_boot_that_hangs_is_tried_again(monkeypatch):
    boots = []

    def qemu(self, initrd):
        boots.append(initrd)
        return ["sh", "-c", "exec yes Hm >&2", "sh"]

    monkeypatch.setattr(machine.Guest, "_qemu", qemu)
    monkeypatch.setattr(machine, "_BOOT_SECONDS", 0.2)
    with pytest.raises(machine.GuestTimeoutError, match=r"command did not start.*said:\n"):
        machine.Guest().run(["true"])
    assert len(boots) == 3


class TestEnd:
    def test_timeout(self):
        start = time.monotonic()
        done = guest("--timeout", 1, "sleep", 1000)
        assert done.returncode == 124
        assert done.stderr.startswith(b"guest: ended after 1 s")
        assert time.monotonic() - start < 10

    def test_panic(self):
        done = guest("sh", "-c", "echo on >&2; echo c >/proc/sysrq-trigger")
        assert done.returncode == 125
        assert done.stderr.startswith(b"on\nguest: it crashed; the last that it said:\n")
        assert b"Kernel panic" in done.stderr

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
    def test_nothing_is_left(self, number, status):
        # Not ignored, as it is where tests run in a shell's background.
        command = ["env", "--default-signal=INT", GUEST, "sleep", "1000"]
        with subprocess.Popen(command) as process:
            child = wait_for(lambda: children(process.pid))[0]
            process.send_signal(number)
            assert process.wait(10) == status
        wait_for(lambda: not is_running(child))

    def test_without_qemu(self, tmp_path):
        (tmp_path / "python3").symlink_to(sys.executable)
        done = guest("true", env={"PATH": str(tmp_path)})
        assert (done.returncode, done.stderr) == (
            123,
            b"guest: no qemu-system-x86_64; try: apt install qemu-system-x86\n",
        )

    @pytest.mark.parametrize("arguments", [[], ["-e", "A", "true"], ["--root", "/none", "true"]])
    def test_what_is_asked_wrongly(self, arguments):
        assert guest(*arguments).returncode == 2

    def test_what_qemu_complains_about(self):
        done = guest("--memory", 1 << 40, "true")
        assert done.returncode == 125
        assert b"qemu-system-x86_64: " in done.stderr


def children(pid):
    """Return QEMU, once it has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in found if "qemu" in Path(f"/proc/{child}/comm").read_text()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found
