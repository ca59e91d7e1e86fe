"""A reader finds the old file or the whole new one under a name, never anything between."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading

import av
import pytest

import transcode
from transcode import Progress, Started, VideoOptions
from transcode.errors import JobError, OutputError, XTranscodeError
from transcode.publish import Publication

QUICK = VideoOptions(preset="ultrafast")
OLD = b"what stood here before"
NEW = b"the new content"


@pytest.fixture
def publication(tmp_path):
    """Open publications of ``out.mp4`` that are ended with the test."""
    opened = []

    def open_(name="out.mp4", *, overwrite=True, source="/dev/null"):
        opened.append(Publication(str(tmp_path / name), source=source, overwrite=overwrite))
        opened[-1].reserve()
        return opened[-1]

    yield open_
    for each in opened:
        each.abort()


def frames_in(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


class TestPublication:
    def test_new_name(self, publication, tmp_path):
        one = publication(overwrite=False)
        one.temporary.write_bytes(NEW)
        assert not one.target.exists()
        one.commit()
        assert one.target.read_bytes() == NEW
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_replaces(self, publication, tmp_path):
        (tmp_path / "out.mp4").write_bytes(OLD)
        one = publication()
        one.temporary.write_bytes(NEW)
        assert one.target.read_bytes() == OLD
        one.commit()
        assert one.target.read_bytes() == NEW
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_a_reader_keeps_the_old_file(self, publication, tmp_path):
        (tmp_path / "out.mp4").write_bytes(OLD)
        with open(tmp_path / "out.mp4", "rb") as reader:
            one = publication()
            one.temporary.write_bytes(NEW)
            one.commit()
            assert reader.read() == OLD

    def test_abort(self, publication, tmp_path):
        (tmp_path / "out.mp4").write_bytes(OLD)
        one = publication()
        one.temporary.write_bytes(NEW)
        one.abort()
        one.abort()
        assert (tmp_path / "out.mp4").read_bytes() == OLD
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_abort_after_commit_does_nothing(self, publication):
        one = publication()
        one.temporary.write_bytes(NEW)
        one.commit()
        one.abort()
        assert one.target.read_bytes() == NEW

    def test_abort_after_the_folder_is_gone(self, publication, tmp_path):
        (tmp_path / "folder").mkdir()
        one = publication("folder/out.mp4")
        shutil.rmtree(tmp_path / "folder")
        one.abort()
        (tmp_path / "folder").write_bytes(OLD)
        one.abort()
        assert (tmp_path / "folder").read_bytes() == OLD

    def test_temporary_is_hidden_beside_its_target(self, publication, tmp_path):
        one = publication("film.v2.mp4")
        assert one.temporary.parent == tmp_path
        assert one.temporary.name.startswith(".film.v2.")
        assert one.temporary.name.endswith(".part.mp4")

    def test_temporaries_differ(self, publication):
        assert publication().temporary != publication().temporary

    def test_appears_in_the_meantime(self, publication, tmp_path):
        one = publication(overwrite=False)
        one.temporary.write_bytes(NEW)
        one.target.write_bytes(OLD)
        with pytest.raises(OutputError, match="appeared in the meantime"):
            one.commit()
        one.abort()
        assert one.target.read_bytes() == OLD
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_without_hard_links(self, publication, tmp_path, monkeypatch):
        def refuse(*_):
            raise PermissionError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        one = publication(overwrite=False)
        one.temporary.write_bytes(NEW)
        one.commit()
        assert one.target.read_bytes() == NEW
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_without_hard_links_a_name_is_not_taken_twice(self, publication, monkeypatch):
        def refuse(*_):
            raise PermissionError(errno.EPERM, "no links here")

        one = publication(overwrite=False)
        one.temporary.write_bytes(NEW)
        one.target.write_bytes(OLD)
        monkeypatch.setattr(os, "link", refuse)
        with pytest.raises(OutputError, match="appeared in the meantime"):
            one.commit()
        assert one.target.read_bytes() == OLD

    def test_sync_that_fails(self, publication, tmp_path, monkeypatch):
        def refuse(_):
            raise OSError(errno.EIO, "Input/output error")

        (tmp_path / "out.mp4").write_bytes(OLD)
        one = publication()
        one.temporary.write_bytes(NEW)
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(OutputError, match=r"out\.mp4: input/output error"):
            one.commit()
        assert one.target.read_bytes() == OLD

    def test_folder_that_cannot_be_synced(self, publication, monkeypatch):
        sync = os.fsync

        def refuse(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "Invalid argument")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", refuse)
        one = publication()
        one.temporary.write_bytes(NEW)
        one.commit()
        assert one.target.read_bytes() == NEW

    def test_only_one_of_many_takes_a_name(self, publication, tmp_path):
        rivals = [publication(overwrite=False) for _ in range(8)]
        for number, rival in enumerate(rivals):
            rival.temporary.write_bytes(bytes([number]))
        won = []
        start = threading.Barrier(len(rivals))

        def commit(number):
            start.wait()
            try:
                rivals[number].commit()
            except OutputError:
                return
            won.append(number)

        threads = [threading.Thread(target=commit, args=(n,)) for n in range(len(rivals))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert (tmp_path / "out.mp4").read_bytes() == bytes(won)

    def test_permissions_follow_the_umask(self, publication):
        before = os.umask(0o027)
        try:
            one = publication()
            one.temporary.write_bytes(NEW)
            one.commit()
        finally:
            os.umask(before)
        assert stat.S_IMODE(one.target.stat().st_mode) == 0o640


class TestLinks:
    def test_link_stays_and_its_file_is_replaced(self, clips, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "film.mp4").write_bytes(OLD)
        link = tmp_path / "out.mp4"
        link.symlink_to("real/film.mp4")
        transcode.run(clips.path("h264"), link, overwrite=True, video=QUICK)
        assert os.readlink(link) == "real/film.mp4"
        assert frames_in(tmp_path / "real" / "film.mp4") == clips["h264"].main.frame_count
        assert os.listdir(tmp_path / "real") == ["film.mp4"]

    def test_link_needs_overwrite(self, clips, tmp_path):
        (tmp_path / "film.mp4").write_bytes(OLD)
        (tmp_path / "out.mp4").symlink_to("film.mp4")
        with pytest.raises(OutputError, match="exists already"):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", video=QUICK)
        assert (tmp_path / "film.mp4").read_bytes() == OLD

    def test_link_to_nothing(self, clips, tmp_path):
        (tmp_path / "out.mp4").symlink_to("film.mp4")
        transcode.run(clips.path("h264"), tmp_path / "out.mp4", video=QUICK)
        assert (tmp_path / "out.mp4").is_symlink()
        assert frames_in(tmp_path / "film.mp4") == clips["h264"].main.frame_count

    def test_link_to_a_missing_folder(self, clips, tmp_path):
        (tmp_path / "out.mp4").symlink_to("missing/film.mp4")
        with pytest.raises(OutputError, match="there is no folder"):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", video=QUICK)

    def test_other_hard_links_keep_the_old_file(self, clips, tmp_path):
        (tmp_path / "out.mp4").write_bytes(OLD)
        os.link(tmp_path / "out.mp4", tmp_path / "kept.mp4")
        transcode.run(clips.path("h264"), tmp_path / "out.mp4", overwrite=True, video=QUICK)
        assert (tmp_path / "kept.mp4").read_bytes() == OLD


class TestNames:
    @pytest.mark.parametrize(
        "stem",
        [
            "Grüße, 世界 😀",
            "two\nlines",
            "a:b",
            "file:a",
            "%d",
            "100% 'sure' \"q\" \\ |",
            "-",
            " ",
            ".hidden",
            "a" * 200,
            "a" * 251,
            "ü" * 120,
            "世" * 83,
            "😀" * 62,
        ],
        ids=lambda stem: f"{stem[:6]!a} x{len(stem)}",
    )
    def test_any_name(self, clips, tmp_path, stem):
        name = f"{stem}.mp4"
        report = transcode.run(clips.path("h264"), tmp_path / name, video=QUICK)
        assert os.listdir(tmp_path) == [name]
        assert report.output.path == str(tmp_path / name)
        assert report.verified == "fast"

    def test_name_in_the_source(self, clips, tmp_path):
        for name in ("a:b.mp4", "%03d.mp4", "two\nlines.mp4", "😀.mp4"):
            shutil.copy(clips.path("h264"), tmp_path / name)
            report = transcode.run(tmp_path / name, tmp_path / "out.mp4", overwrite=True)
            assert report.frames == clips["h264"].main.frame_count

    def test_relative_names(self, clips, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        shutil.copy(clips.path("h264"), "pipe:in.mp4")
        transcode.run("pipe:in.mp4", "file:out.mp4", video=QUICK)
        assert sorted(os.listdir(tmp_path)) == ["file:out.mp4", "pipe:in.mp4"]

    def test_name_that_is_not_utf8(self, clips, tmp_path):
        transcode.run(clips.path("h264"), os.fsdecode(bytes(tmp_path) + b"/\xe4.mp4"), video=QUICK)
        assert os.listdir(bytes(tmp_path)) == [b"\xe4.mp4"]

    def test_name_that_is_too_long(self, clips, tmp_path):
        with pytest.raises(OutputError, match="file name too long"):
            transcode.run(clips.path("h264"), tmp_path / ("a" * 252 + ".mp4"), video=QUICK)
        assert os.listdir(tmp_path) == []

    def test_name_without_an_ending(self, clips, tmp_path):
        transcode.run(clips.path("h264"), tmp_path / "out", format="mp4", video=QUICK)
        assert frames_in(tmp_path / "out") == clips["h264"].main.frame_count

    def test_long_ending(self, clips, tmp_path):
        name = "a." + "b" * 240
        transcode.run(clips.path("h264"), tmp_path / name, format="mp4", video=QUICK)
        assert os.listdir(tmp_path) == [name]


class TestRuns:
    def test_nothing_under_the_name_before_the_end(self, clips, tmp_path):
        target = tmp_path / "out.mp4"
        seen = []

        def look(event):
            if isinstance(event, (Started, Progress)):
                seen.append((target.exists(), [n for n in os.listdir(tmp_path) if ".part." in n]))

        transcode.run(clips.path("h264"), target, video=QUICK, on_progress=look)
        assert seen
        assert not any(there for there, _ in seen)
        assert all(len(parts) == 1 for _, parts in seen)
        assert os.listdir(tmp_path) == ["out.mp4"]

    @pytest.mark.parametrize("verify", ["none", "fast", "full"])
    def test_folder_removed_while_running(self, clips, tmp_path, verify):
        folder = tmp_path / "folder"
        folder.mkdir()

        def remove(event):
            if isinstance(event, Started):
                shutil.rmtree(folder)

        with pytest.raises(XTranscodeError) as caught:
            transcode.run(
                clips.path("h264"),
                folder / "out.mp4",
                verify=verify,
                video=QUICK,
                on_progress=remove,
            )
        assert str(folder / "out.mp4") in str(caught.value)
        assert "no such file" in str(caught.value)
        assert not folder.exists()

    def test_target_appears_while_running(self, clips, tmp_path):
        target = tmp_path / "out.mp4"

        def intrude(event):
            if isinstance(event, Started):
                target.write_bytes(OLD)

        with pytest.raises(OutputError, match="appeared in the meantime"):
            transcode.run(clips.path("h264"), target, video=QUICK, on_progress=intrude)
        assert target.read_bytes() == OLD
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_target_becomes_a_folder_while_running(self, clips, tmp_path):
        target = tmp_path / "out.mp4"

        def intrude(event):
            if isinstance(event, Started):
                target.mkdir()

        with pytest.raises(OutputError, match="is a directory"):
            transcode.run(
                clips.path("h264"), target, overwrite=True, video=QUICK, on_progress=intrude
            )
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_source_is_removed_while_running(self, clips, tmp_path):
        shutil.copy(clips.path("long_gop"), tmp_path / "in.mp4")

        def remove(event):
            if isinstance(event, Started):
                (tmp_path / "in.mp4").unlink()

        report = transcode.run(
            tmp_path / "in.mp4", tmp_path / "out.mp4", video=QUICK, on_progress=remove
        )
        assert report.frames == 100
        assert os.listdir(tmp_path) == ["out.mp4"]

    @pytest.mark.parametrize("kind", [Started, Progress])
    def test_callback_that_raises(self, clips, tmp_path, kind):
        target = tmp_path / "out.mp4"
        target.write_bytes(OLD)

        def fail(event):
            if isinstance(event, kind):
                raise ZeroDivisionError("of the caller")

        with pytest.raises(ZeroDivisionError, match="of the caller"):
            transcode.run(clips.path("h264"), target, overwrite=True, on_progress=fail)
        assert target.read_bytes() == OLD
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_reported_size_is_that_of_the_file(self, clips, tmp_path):
        report = transcode.run(clips.path("h264"), tmp_path / "out.mp4", video=QUICK)
        assert report.output.nbytes == (tmp_path / "out.mp4").stat().st_size


@pytest.mark.parametrize("target", ["x.m3u8", "x.mpd", "x.png"])
def test_containers_of_several_files_are_refused(clips, tmp_path, target):
    (tmp_path / "init-stream0.m4s").write_bytes(b"old")
    with pytest.raises(JobError, match="writes several files"):
        transcode.run(clips.path("h264"), tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["init-stream0.m4s"]
    assert (tmp_path / "init-stream0.m4s").read_bytes() == b"old"


def test_the_new_file_has_the_old_one_s_permissions(clips, tmp_path):
    target = tmp_path / "out.mkv"
    target.write_bytes(b"old")
    target.chmod(0o600)
    transcode.run(clips.path("h264"), target, overwrite=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.stat().st_size > 1000
