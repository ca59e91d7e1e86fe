"""A source whose pictures change their size: all that is written has the size of the first."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

import transcode
from tests.transcode.output import frames_of
from transcode import VideoOptions


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return a stream of H.264 that begins anew, larger and brighter, after 30 pictures."""
    path = tmp_path_factory.mktemp("sizes") / "two.h264"
    with path.open("wb") as both:
        for (width, height), code in (((96, 64), 60), ((160, 128), 180)):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            encoder.options = {"bf": "0"}
            for number in range(30):
                picture = np.full((height * 3 // 2, width), 128, np.uint8)
                picture[:height] = code
                frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
                frame.pts = number
                both.writelines(map(bytes, encoder.encode(frame)))
            both.writelines(map(bytes, encoder.encode(None)))
    return path


@pytest.mark.parametrize("fps", [None, 5])
@pytest.mark.parametrize("size", [None, (48, 32)])
@pytest.mark.parametrize("filters", [[], ["invert"]])
def test_all_that_is_written_has_one_size(source, tmp_path, fps, size, filters):
    target = tmp_path / "out.mkv"
    video = VideoOptions(codec="ffv1", fps=fps, size=size)
    report = transcode.run(source, target, video=video, filters=filters, device="cpu")
    frames = list(frames_of(target))
    assert len(frames) == report.frames == (12 if fps else 60)
    assert {(frame.width, frame.height) for frame in frames} == {size or (96, 64)}
    codes = [int(np.asarray(frame.to_ndarray())[5, 5]) for frame in frames]
    first, last = (251 - 60, 251 - 180) if filters else (60, 180)
    half = len(codes) // 2
    assert np.abs(np.array(codes[: half - 1]) - first).max() <= 2
    assert np.abs(np.array(codes[half + 1 :]) - last).max() <= 2
    assert any("change" in notice for notice in report.notices)
