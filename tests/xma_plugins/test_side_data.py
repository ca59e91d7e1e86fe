"""Side data: who holds it, and what frames do with it."""

import threading

import numpy as np
import pytest

from tests.xma_plugins.pictures import picture
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.side_data import SideData, SideDataType


def test_kinds_have_the_numbers_of_the_original():
    names = ["QP_MAP", "RC_FSFA", "HDR", "HDR_PLUS", "DYNAMIC_PARAMS", "CUSTOM_DATA"]
    assert [SideDataType[name] for name in names] == list(range(6))


@pytest.mark.parametrize("copy", [True, False])
def test_content_is_copied_or_used_as_it_is(copy):
    content = np.arange(12, dtype=np.int16)
    side_data = SideData(SideDataType.HDR, content, copy=copy)
    content[0] = 77
    assert (np.frombuffer(side_data.buffer, np.int16)[0] == 77) == (not copy)
    assert (side_data.buffer is content) == (not copy)
    assert side_data.nbytes == 24


def test_objects_go_along_as_they_are():
    content = {"bins": [1, 2]}
    side_data = SideData(SideDataType.CUSTOM_DATA, content)
    assert side_data.buffer is content
    assert side_data.nbytes == 0


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "HDR side data is empty"), ("text", "HDR side data is bytes, got")]
)
def test_what_is_no_content(content, words):
    with pytest.raises(InvalidError, match=words):
        SideData(SideDataType.HDR, content)


def test_it_lives_as_long_as_somebody_holds_it():
    side_data = SideData(SideDataType.HDR, b"hdr")
    assert side_data.refcount == 1
    side_data.retain()
    side_data.release()
    assert side_data.buffer == b"hdr"
    side_data.release()
    assert side_data.refcount == 0
    for use in (side_data.retain, side_data.release, lambda: side_data.buffer):
        with pytest.raises(BufferUseError, match="this HDR side data was let go of by all"):
            use()


def test_threads_may_share_it():
    side_data = SideData(SideDataType.HDR, b"hdr")

    def work():
        for _ in range(2000):
            side_data.retain()
            side_data.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert side_data.refcount == 1


def test_frames_hold_one_of_each_kind():
    first, second = (SideData(SideDataType.HDR, text) for text in (b"1", b"2"))
    other = SideData(SideDataType.QP_MAP, b"map")
    with picture() as frame:
        for each in (first, other, first, second):
            frame.add_side_data(each)
        assert frame.side_data(SideDataType.HDR) is second
        assert [each.refcount for each in (first, second, other)] == [1, 2, 2]
        frame.remove_side_data(SideDataType.HDR)
        frame.remove_side_data(SideDataType.HDR)
        assert frame.side_data(SideDataType.HDR) is None
        assert second.refcount == 1
        frame.clear_side_data()
        assert other.refcount == 1
        frame.add_side_data(first)
    assert first.refcount == 1


def test_references_share_it():
    with picture() as frame:
        side_data = frame.put_side_data(SideDataType.HDR, b"hdr")
        assert (side_data.buffer, side_data.refcount) == (b"hdr", 1)
        with frame.reference() as other:
            assert other.side_data(SideDataType.HDR) is side_data
            assert side_data.refcount == 2
            other.remove_side_data(SideDataType.HDR)
            assert frame.side_data(SideDataType.HDR) is side_data
        dummy = XmaFrame()
        dummy.take(frame.reference())
        assert dummy.side_data(SideDataType.HDR) is side_data
        dummy.close()
        assert side_data.refcount == 1
    assert side_data.refcount == 0
