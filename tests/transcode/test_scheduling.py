"""An encoder may not change how the system schedules this process."""

from __future__ import annotations

import os
import threading

import transcode
from bridges.backends.ffmpeg_scheduling import kept_scheduling
from transcode import Progress, VideoOptions


def policies():
    found = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            found.add(os.sched_getscheduler(int(thread)))
        except ProcessLookupError:
            continue
    return found


def test_what_is_changed_is_put_back():
    go = threading.Event()
    before = os.sched_getscheduler(0)
    with kept_scheduling():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        # A new thread inherits it.
        thread = threading.Thread(target=go.wait)
        thread.start()
        assert os.sched_getscheduler(thread.native_id) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == before
    assert os.sched_getscheduler(thread.native_id) == before
    go.set()
    thread.join()


def test_av1_is_encoded_as_anything_else(clips, tmp_path):
    """SVT-AV1 would make itself real-time as root."""
    before, seen = policies(), set()

    def look(event):
        if isinstance(event, Progress):
            seen.update(policies())

    video = VideoOptions(codec="libsvtav1", preset="12")
    transcode.run(clips.path("h264"), tmp_path / "out.mkv", video=video, on_progress=look)
    assert seen == before == policies()
