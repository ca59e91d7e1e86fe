"""The command as a process: signals, pipes, terminals, standard input."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from tests.cli.conftest import COMMAND, FAKE, MEDIA, call, environment

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The command with a terminal as standard input and error, and as standard output if asked."""

    def __init__(self, *args, cwd, command=FAKE, columns=80, stdout=False, **changes):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [*command, *map(str, args)],
            stdin=slave,
            stdout=slave if stdout else subprocess.PIPE,
            stderr=slave,
            cwd=cwd,
            env=environment(**changes),
            start_new_session=True,
            # The terminal that a Ctrl-C typed into it should reach.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        os.close(self.master)

    def read(self, until=None, seconds=30):
        """Return all that was shown, once it holds `until` or the command has ended."""
        end = time.monotonic() + seconds
        while until is None or until not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{until!r} never came after {self.shown!r}"
            try:
                chunk = os.read(self.master, 4096).decode()
            except OSError:  # The other end was closed.
                break
            if not chunk:
                break
            self.shown += chunk
        return self.shown

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        self.read()
        return self.process.wait(timeout=30)


def start(*args, cwd, **changes):
    return subprocess.Popen(
        [*FAKE, *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(FAKE_STEP="0.05", **changes),
        text=True,
    )


# Signals


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGHUP, "the terminal was closed"),
    ],
)
def test_a_signal_ends_the_run_with_one_line(tmp_path, number, word):
    with start("run", "in.mp4", "out.mp4", "--progress", "json", cwd=tmp_path) as process:
        assert json.loads(process.stdout.readline())["type"] == "started"
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == f"xtranscode: {word}\n"
    last = json.loads(output.splitlines()[-1])
    assert last == {"type": "error", "message": word, "exit_code": 128 + number}


def test_an_ignored_signal_stays_ignored(tmp_path):
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *FAKE, "run", "in.mp4", "out.mp4"]
    with subprocess.Popen(
        [*command, "--progress", "json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(FAKE_STEP="0.05"),
        text=True,
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1])["type"] == "finished"


def test_a_signal_ends_the_wait_for_a_pipe(tmp_path):
    with subprocess.Popen(
        [*COMMAND, "probe", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        text=True,
    ) as process:
        threads = f"/proc/{process.pid}/task"
        while len(os.listdir(threads)) < 2 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert process.stderr.read() == "xtranscode: interrupted\n"


# Streams


def test_standard_input_is_not_read_unasked(tmp_path):
    # `call` keeps it open and empty: a read would never end.
    (tmp_path / "out.mp4").write_bytes(b"old")
    done = call("run", "in.mp4", "out.mp4", command=FAKE, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "xtranscode: out.mp4 exists already; say -y to replace it\n"


def test_off_a_terminal_there_is_neither_bar_nor_colour(tmp_path):
    done = call("run", "in.mp4", "out.mp4", command=FAKE, cwd=tmp_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert "█" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("done      20 frames")


def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path):
    command = [*COMMAND, "probe", "--json", *([str(MEDIA)] * 20)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (141, "")


def test_a_full_disk_behind_standard_output_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "probe", str(MEDIA)],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(),
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, "xtranscode: no space left on device\n")


def test_a_name_that_is_no_text_can_be_shown(tmp_path):
    done = call("probe", os.fsdecode(b"\xff\xfe.mp4"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "xtranscode: \\udcff\\udcfe.mp4: no such file\n"


def test_closed_streams_are_no_bug(tmp_path):
    command = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *COMMAND, "probe", "-"]
    done = subprocess.run(
        command,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "xtranscode: standard input: is closed\n")


# Terminals


@pytest.mark.parametrize("columns", [100, 40, 20])
def test_a_terminal_shows_a_bar_that_fits(tmp_path, columns):
    with Terminal(
        "run", "in.mp4", "out.mp4", cwd=tmp_path, columns=columns, FAKE_STEP="0.01"
    ) as terminal:
        assert terminal.end() == 0
    shown = ESCAPES.sub("", terminal.shown).replace("\r", "\n").splitlines()
    bars = [line.rstrip() for line in shown if line.startswith("frames")]
    assert len(bars) >= 20
    assert all(len(bar) <= columns for bar in bars)
    assert "20/20" in bars[-1]
    if columns == 100:
        assert re.fullmatch(
            r"frames █+ 20/20   kernel 0\.2 ms   encode 212 fps   eta 0:00", bars[-1]
        )
    assert terminal.shown.count("\x1b[?25l") == terminal.shown.count("\x1b[?25h") == 1


def test_no_color_leaves_the_bar_and_takes_the_colour(tmp_path):
    with Terminal("run", "in.mp4", "out.mp4", cwd=tmp_path, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
    assert "█" in terminal.shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.shown)


@pytest.mark.parametrize("args", [("--progress", "none"), ("-q",)])
def test_a_bar_can_be_left_out(tmp_path, args):
    with Terminal("run", "in.mp4", "out.mp4", *args, cwd=tmp_path) as terminal:
        assert terminal.end() == 0
    assert "█" not in terminal.shown
    assert ("done" in terminal.shown) == ("-q" not in args)


def test_a_dumb_terminal_gets_no_bar(tmp_path):
    with Terminal("run", "in.mp4", "out.mp4", cwd=tmp_path, TERM="dumb") as terminal:
        assert terminal.end() == 0
    assert "█" not in terminal.shown
    assert "\x1b" not in terminal.shown


@pytest.mark.parametrize(
    ("answer", "exit_code", "text"),
    [
        ("y\n", 0, "done"),
        ("n\n", 1, "xtranscode: out.mp4 was kept"),
        ("\n", 1, "xtranscode: out.mp4 was kept"),
        ("\x04", 1, "xtranscode: out.mp4 was kept"),
        ("\x03", 130, "\r\nxtranscode: interrupted"),
    ],
)
def test_a_terminal_is_asked_before_a_file_is_replaced(tmp_path, answer, exit_code, text):
    (tmp_path / "out.mp4").write_bytes(b"old")
    with Terminal("run", "in.mp4", "out.mp4", cwd=tmp_path) as terminal:
        terminal.read(until="out.mp4 exists. Replace it? [y/N] ")
        terminal.type(answer)
        assert terminal.end() == exit_code
        assert text in terminal.shown


def test_a_terminal_that_is_the_source_is_not_asked(tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"old")
    with Terminal("run", "-", "out.mp4", cwd=tmp_path) as terminal:
        assert terminal.end() == 1
    assert "say -y to replace it" in terminal.shown


def test_no_video_is_written_to_a_terminal(tmp_path):
    with Terminal("run", "in.mp4", "-", "--format", "nut", cwd=tmp_path, stdout=True) as terminal:
        assert terminal.end() == 1
    assert "standard output is a terminal" in terminal.shown


def test_ctrl_c_puts_the_cursor_back(tmp_path):
    with Terminal("run", "in.mp4", "out.mp4", cwd=tmp_path, FAKE_STEP="0.1") as terminal:
        terminal.read(until="█")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert terminal.shown.endswith("xtranscode: interrupted\r\n")
    assert terminal.shown.count("\x1b[?25l") == terminal.shown.count("\x1b[?25h") == 1


def test_a_second_ctrl_c_lets_the_cleaning_end_and_shows_no_traceback(tmp_path):
    with Terminal(
        "run", "in.mp4", "out.mp4", cwd=tmp_path, FAKE_STEP="0.1", FAKE_CLEANING="1"
    ) as terminal:
        terminal.read(until="█")
        terminal.type("\x03")
        time.sleep(0.3)
        with contextlib.suppress(OSError):
            terminal.type("\x03")
        assert terminal.end() == 130
    assert "cleaning up; once more to stop at once" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert "cleaned" in terminal.shown


def test_a_video_to_a_closed_stdout_is_not_lost_in_silence(tmp_path, sample):
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "run", str(sample), "-"]
    done = subprocess.run(
        [*command, "--format", "matroska", "--duration", "0.2"],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("xtranscode: standard output: ")
