"""A run that moves no pixel: what the command makes of its events and errors is under test.

As a program it is the command with that run in it. ``FAKE_STEP`` is the pause between two events
in seconds, ``FAKE_ERROR`` what it ends with, ``FAKE_CLEANING`` how long it cleans up.
"""

import os
import sys
import time
from dataclasses import replace
from fractions import Fraction

import transcode
from transcode import Finished, Notice, Progress, Report, Started
from transcode.errors import JobError, SourceError
from transcode.report import StreamSummary

FRAMES = 20
ERRORS = {
    "SourceError": lambda: SourceError("talk.mp4: no such file"),
    "JobError": lambda: JobError("a job of another kind"),
    "OSError": lambda: OSError(28, "No space left on device", "out.mp4"),
    "EOFError": lambda: EOFError("end"),
    "ZeroDivisionError": lambda: ZeroDivisionError("division\nby zero"),
}


def summary(path, nbytes):
    return StreamSummary(
        path=path,
        container="mp4",
        codec="h264",
        pix_fmt="yuv420p",
        width=1280,
        height=720,
        rate=Fraction(30000, 1001),
        matrix="bt709",
        nbytes=nbytes,
    )


def events(job):
    output = summary(str(job.outputs[0].path), None)
    source = summary(str(job.source), 1_055_736)
    route = "FFmpeg > CPU > OpenCL   zero-copy"
    yield Started(source, output, "cpu: a CPU", route, FRAMES)
    yield Notice("the matrix was [assumed]")
    for n in range(1, FRAMES + 1):
        yield Progress(n, n, FRAMES, 212.3, 0.21, (FRAMES - n) / 10, 1000 * n)
    report = Report(
        source=source,
        output=replace(output, nbytes=412_000),
        frames=FRAMES,
        frames_decoded=FRAMES,
        duration_seconds=5.28,
        elapsed_seconds=0.62,
        fps=212.4,
        device="cpu: a CPU",
        route=route,
        bytes_copied=0,
        bytes_between=0,
        loads=(),
        kernel_ms=0.21,
        stage_seconds={"decode": 0.2, "encode": 0.5},
        verified="fast",
        notices=("the matrix was [assumed]",),
    )
    yield Finished(report)


def run(job, *, on_progress):
    report = None
    try:
        for event in events(job):
            on_progress(event)
            if isinstance(event, Progress):
                if error := os.environ.get("FAKE_ERROR"):
                    raise ERRORS[error]()
                time.sleep(float(os.environ.get("FAKE_STEP", "0")))
            if isinstance(event, Finished):
                report = event.report
    finally:
        if seconds := os.environ.get("FAKE_CLEANING"):
            time.sleep(float(seconds))
            print("cleaned", file=sys.stderr)
    return report


if __name__ == "__main__":
    from cli.main import main

    transcode.run = run
    sys.exit(main())
