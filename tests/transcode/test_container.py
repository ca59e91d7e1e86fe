"""Opening inputs, and the words for what goes wrong."""

import errno
import os
import signal
import threading
import time

import av
import pytest

from transcode.container import error_text, interruptibly, open_input
from transcode.errors import SourceError


def test_a_name_with_a_colon_is_a_file_if_there_is_one(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink(clips.path("h264"), "http:a.mp4")
    with open_input("http:a.mp4") as container:
        assert container.format.name.startswith("mov")
    with pytest.raises(SourceError, match="concat:b"):
        open_input("concat:b.mp4")


@pytest.mark.parametrize(
    "name", ["%03d.mp4", "-dash.mp4", "two\nlines.mp4", "\udcff\udcfe.mp4", "ü.mp4"]
)
def test_any_name_can_be_opened(clips, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.symlink(clips.path("h264"), name)
    open_input(name).close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nosuch.mp4", "nosuch.mp4: no such file"),
        ("folder", "folder: is a folder"),
        ("empty.mp4", "empty.mp4: empty file"),
        ("text.mp4", "text.mp4: a text file, not media"),
        ("text.mp4/a", "text.mp4/a: a part of its path is a file, not a folder"),
        ("noise.mp4", "noise.mp4: not a media file, or too damaged to be read"),
        ("dangling.mp4", "dangling.mp4: no such file"),
        ("loop.mp4", "loop.mp4: too many levels of symbolic links"),
        ("/dev/null", "/dev/null: not a media file, or too damaged to be read"),
        ("nosuch://a", "nosuch://a: this FFmpeg knows no such protocol"),
        ("http://localhost:1/a.mp4", "http://localhost:1/a.mp4: connection refused"),
        ("", "the input has no name"),
        ("a\0b", "'a\\x00b' is no file name"),
    ],
)
def test_what_cannot_be_opened_is_said_in_words(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("Grüße\n" * 100, encoding="utf-8")
    (tmp_path / "noise.mp4").write_bytes(bytes(range(128, 256)) * 20)
    os.symlink("nowhere", "dangling.mp4")
    os.symlink("loop.mp4", "loop.mp4")
    with pytest.raises(SourceError) as raised:
        open_input(name)
    assert str(raised.value) == words


def test_a_file_cut_before_its_index(clips):
    with pytest.raises(SourceError, match="without a readable index: cut short"):
        open_input(str(clips.path("truncated")))


def test_a_named_pipe_can_be_read(clips, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(clips.path("h264_ts").read_bytes()))
    writer.start()
    with open_input(str(pipe)) as container:
        assert sum(packet.size > 0 for packet in container.demux()) == 12
    writer.join()


def test_a_signal_ends_the_wait_for_a_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def interrupt():
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    # Who starts the tests in the background of a shell has them begin with it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            open_input(str(tmp_path / "pipe"))
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    # Lets the thread that still waits for a writer end.
    os.close(os.open(tmp_path / "pipe", os.O_WRONLY))


def test_interruptibly_gives_back_and_raises_what_the_work_does():
    assert interruptibly(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        interruptibly(lambda: 1 // 0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "a.mp4"), "permission denied"),
        (OSError(errno.EBADF, "Bad file descriptor"), "is closed"),
        (av.error.InvalidDataError(1, "Invalid data found when processing input"), "not a media"),
        (av.error.ExternalError(1, "Generic error in an external library"), "generic error in an"),
        (ValueError("a.mp4: MPEG is odd."), "MPEG is odd"),
        (ValueError(), "ValueError"),
    ],
)
def test_errors_in_words(error, words):
    assert error_text("a.mp4", error).startswith(words)
