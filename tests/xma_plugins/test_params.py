"""What plugins refuse of the pictures that they are sent, whichever plugin it is."""

import pytest
from av.video.frame import VideoFrame

from bridges.formats import PIXEL_FORMATS
from tests.xma_plugins.pictures import picture
from xma_plugins.builtin.libav_frame import from_av
from xma_plugins.errors import InvalidError
from xma_plugins.properties import (
    EncoderProperties,
    FilterProperties,
    Port,
    Properties,
    ScalerProperties,
)
from xma_plugins.sessions import EncoderSession, FilterSession, ScalerSession

INPUT, OUTPUT = Port(format="nv12"), Port(width=16, height=16)
SESSIONS = {
    "copy_encoder": (
        EncoderSession,
        EncoderProperties(plugin="copy_encoder", format="nv12", width=32, height=32),
    ),
    "copy_filter": (FilterSession, FilterProperties(plugin="copy_filter", input=INPUT)),
    "kernel_filter": (
        FilterSession,
        FilterProperties(plugin="kernel_filter", input=INPUT, params={"kernel": "invert"}),
    ),
    "kernel_scaler": (
        ScalerSession,
        ScalerProperties(plugin="kernel_scaler", input=INPUT, outputs=(OUTPUT,)),
    ),
    "lookahead": (FilterSession, FilterProperties(plugin="lookahead", input=INPUT)),
}


@pytest.mark.parametrize(("kind", "properties"), SESSIONS.values(), ids=SESSIONS)
def test_pixel_formats_that_are_not_known(host, kind, properties: Properties):
    assert "pal8" not in PIXEL_FORMATS
    with (
        kind(properties, host) as session,
        from_av(VideoFrame(32, 32, "pal8")) as unknown,
        picture("nv12", 32, 32) as known,
    ):
        words = r"not in bridges\.formats, where its properties say nv12; convert before it"
        with pytest.raises(InvalidError, match=words):
            session.send_frame(unknown)
        # Only this picture was wrong.
        made = list(session.through([known]))
        assert len(made) == 1
        for each in made:
            for frame in each if isinstance(each, list) else [each]:
                frame.close()
