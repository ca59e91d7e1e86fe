"""Names are read and written from one table."""

import pytest

from bridges import MemoryType
from bridges.errors import FormatError


@pytest.mark.parametrize("member", MemoryType)
def test_every_name_is_read_back(member):
    for text in (str(member), member.name, member.value.upper(), member.name.lower()):
        assert MemoryType.parse(text) is member


def test_punctuation_does_not_matter():
    assert MemoryType.parse("opencv-umat") is MemoryType.OPENCV_UMAT
    assert MemoryType.parse(" OpenCV UMat ") is MemoryType.OPENCV_UMAT


@pytest.mark.parametrize("text", ["", "gpu", "CPU2"])
def test_an_unknown_name_says_which_there_are(text):
    with pytest.raises(FormatError, match="there is CPU, FFmpeg, GStreamer"):
        MemoryType.parse(text)
