"""Transcode video: demux, decode, process with kernels, encode, mux.

>>> import transcode
>>> report = transcode.run("talk.mp4", "gray.mp4", filters=["rgb_to_grayscale"])  # doctest: +SKIP
"""

from transcode.frames import Frames, frames
from transcode.job import AudioOptions, Job, Output, VideoOptions
from transcode.picture import Picture
from transcode.probe import probe
from transcode.progress import Finished, Notice, Progress, Started
from transcode.report import Report
from transcode.transcoder import run

__all__ = [
    "AudioOptions",
    "Finished",
    "Frames",
    "Job",
    "Notice",
    "Output",
    "Picture",
    "Progress",
    "Report",
    "Started",
    "VideoOptions",
    "frames",
    "probe",
    "run",
]
