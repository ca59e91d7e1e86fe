"""Chains of FFmpeg's filters over frames on a device: DRM_PRIME's, which need none."""

from __future__ import annotations

import gc
from fractions import Fraction

import numpy as np
import pytest

from bridges.backends.ffmpeg import frame_info
from tests.bridges.drm_prime import alive, descriptor_of, filled, info_of, samples_of
from tests.helpers.process import open_files
from tests.xma_plugins.pictures import arrays
from xma_plugins.builtin.libav_frame import from_av, new_reference
from xma_plugins.builtin.libav_graph import FilterChain, changed, geometry
from xma_plugins.errors import FilterError

RATE = Fraction(25)


@pytest.fixture(autouse=True)
def nothing_held():
    gc.collect()
    before = alive(), open_files()
    yield
    gc.collect()
    assert (alive(), open_files()) == before


def chain(text, first):
    return FilterChain(text, first, rate=RATE)


def same(picture, samples):
    with from_av(picture) as frame:
        return all(map(np.array_equal, arrays(frame), samples))


@pytest.mark.parametrize("name", ["nv12", "p010le", "yuv420p", "gray", "bgra"])
def test_samples_are_fetched_as_they_are(name):
    info = info_of(name, 36, 20)
    frame = filled(info, padding=6)
    (fetched,) = chain(f"hwdownload,format={name}", frame).run(frame)
    assert frame_info(fetched) == info
    assert same(fetched, samples_of(info))


def test_filters_of_the_host_follow_the_download():
    info = info_of("nv12")
    frame = filled(info)
    (flipped,) = chain("hwdownload,format=nv12,hflip", frame).run(frame)
    luma, chroma = samples_of(info)
    assert same(flipped, [luma[:, ::-1], chroma[:, ::-1]])


def test_frames_go_on_where_they_are_through_filters_that_read_no_sample():
    frame = filled(info_of("nv12"))
    (same_one,) = chain("null", frame).run(frame)
    assert geometry(same_one) == geometry(frame)
    assert descriptor_of(same_one).objects[0].fd == descriptor_of(frame).objects[0].fd


def test_a_filter_of_the_host_is_refused_with_the_one_that_fetches():
    frame = filled(info_of("p010le"))
    for _ in range(2):
        with pytest.raises(FilterError) as caught:
            chain("hflip", frame)
        assert str(caught.value) == (
            "filter chain 'hflip' has a filter of the host, and frames are on a drm_prime device; "
            "take filters of the device, or put hwdownload,format=p010le before"
        )


def test_what_is_wrong_with_a_chain_is_said_of_frames_on_a_device_too():
    frame = filled(info_of("nv12"))
    with pytest.raises(FilterError, match="No such option: nosuch"):
        chain("hwdownload,format=nv12,scale=nosuch=1", frame)
    with pytest.raises(FilterError, match="refused: Invalid output format rgb24 for hwframe down"):
        chain("hwdownload,format=rgb24", frame)


def test_memory_that_is_gone_fails_as_the_frame_is_filtered():
    frame = filled(info_of("nv12"))
    made = chain("hwdownload,format=nv12", frame)
    descriptor = descriptor_of(frame)
    fd, descriptor.objects[0].fd = descriptor.objects[0].fd, -1
    with pytest.raises(FilterError, match=r"filter chain 'hwdownload.*' failed: .*Bad file"):
        list(made.run(frame))
    descriptor.objects[0].fd = fd


def test_the_form_of_a_frame_on_a_device_has_the_format_in_its_memory():
    first, deeper = filled(info_of("nv12")), filled(info_of("p010le"))
    assert geometry(first)[:3] == (36, 20, "drm_prime nv12")
    assert geometry(first) == geometry(filled(info_of("nv12")))
    assert changed(geometry(first), geometry(deeper)) == (
        "frames change from 36x20 drm_prime nv12 to 36x20 drm_prime p010le"
    )


def test_another_reference_of_a_frame_on_a_device_has_a_time_of_its_own():
    info = info_of("nv12")
    frame = filled(info)
    other = new_reference(frame, 7, Fraction(1, 25))
    assert (other.pts, other.time_base) == (7, Fraction(1, 25))
    assert (frame.pts, frame.time_base) == (info.pts, info.time_base)
    assert geometry(other) == geometry(frame)
    assert descriptor_of(other).objects[0].fd == descriptor_of(frame).objects[0].fd
    made = chain("hwdownload,format=nv12", frame)
    held = alive()
    del frame
    gc.collect()
    assert alive() == held
    (fetched,) = made.run(other)
    assert same(fetched, samples_of(info))
