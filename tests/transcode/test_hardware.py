"""Jobs that name video hardware: what is refused, what is told, what encoders on a device take."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from av.video.frame import VideoFrame

import transcode
from bridges.errors import DeviceNotFoundError
from bridges.formats import pixel_format
from tests.lab.software_va import NODE, software_va
from transcode import hardware
from transcode.colour import choose_pix_fmt, gray_carrier, supported_formats
from transcode.encoder import find_encoder
from transcode.errors import EncodeError, JobError, SourceError
from transcode.hardware import Hardware, check_encoder, choose_hardware, nbytes_of
from transcode.notices import Notices
from transcode.source import Source

ENGINE = Hardware("vaapi", "/dev/null", "an engine")


def encoder(name="h264_vaapi", canonical_name="h264", formats=("vaapi",)):
    """What PyAV tells of an encoder; the wheel has none for VA-API."""
    listed = None if formats is None else [SimpleNamespace(name=each) for each in formats]
    return SimpleNamespace(name=name, canonical_name=canonical_name, video_formats=listed)


@pytest.fixture
def without_vaapi(monkeypatch):
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda", "drm"])


@pytest.fixture
def with_vaapi(monkeypatch):
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda", "vaapi"])


class TestDevice:
    def test_a_wheel_without_vaapi_is_told_with_what_to_do(self, without_vaapi, clips, tmp_path):
        target = tmp_path / "out.mp4"
        with pytest.raises(DeviceNotFoundError, match=r"without VA-API; .*xtranscode devices"):
            transcode.run(clips.path("h264"), target, device="vaapi")
        assert list(tmp_path.iterdir()) == []

    def test_a_node_that_is_not_there(self, with_vaapi, tmp_path):
        with pytest.raises(DeviceNotFoundError, match=f"{tmp_path}/renderD9|libva"):
            choose_hardware(f"vaapi:{tmp_path}/renderD9")

    @pytest.mark.parametrize("name", ["auto", "cpu", "opencl:0", "sycl"])
    def test_devices_that_run_kernels_decode_nothing(self, without_vaapi, name):
        assert choose_hardware(name) is None

    def test_a_node_with_a_driver(self, with_vaapi):
        driver = software_va()
        before = driver.counts().alive
        with driver.environment():
            found = choose_hardware(f"vaapi:{NODE}")
        assert (found.kind, found.node) == ("vaapi", NODE)
        assert found.description == f"vaapi: {driver.vendor} on {NODE}"
        assert driver.counts().alive == before


@pytest.mark.parametrize(
    ("name", "nbytes"),
    [
        ("nv12", 35 * 17 + 2 * 18 * 9),
        ("p010le", 2 * 35 * 17 + 4 * 18 * 9),
        ("y210le", 4 * 35 * 17),
    ],
)
def test_bytes_of_a_frame_are_those_of_its_samples(name, nbytes):
    # The last is what VA-API decodes 4:2:2 of 10 bits to, and no format of `bridges`.
    assert nbytes_of(VideoFrame(35, 17, name)) == nbytes


class TestEncoder:
    def test_one_on_a_device_needs_the_device(self):
        with pytest.raises(JobError, match="h264_vaapi encodes on a vaapi device; say --dev"):
            check_encoder(encoder(), None)
        check_encoder(encoder(), ENGINE)

    @pytest.mark.parametrize("formats", [None, (), ("yuv420p",), ("yuv420p", "vaapi")])
    def test_one_that_takes_host_memory_needs_none(self, formats):
        software = encoder("libx264", formats=formats)
        check_encoder(software, None)
        assert hardware.encodes_on(software) == ""

    @pytest.mark.parametrize("name", ["libx264", "ffv1", "rawvideo"])
    def test_so_do_those_of_the_wheel(self, name):
        check_encoder(find_encoder(name, "video"), None)

    def test_what_its_surfaces_hold_is_what_it_takes(self):
        assert supported_formats(encoder()) == ("nv12",)
        assert supported_formats(encoder("hevc_vaapi", "hevc")) == ("nv12", "p010le")
        assert supported_formats(encoder("libx264", formats=("yuv420p",))) == ("yuv420p",)

    @pytest.mark.parametrize(
        ("codec", "source", "chosen"),
        [
            ("h264", "nv12", "nv12"),
            ("h264", "yuv420p", "nv12"),
            ("h264", "p010le", "nv12"),
            ("h264", "gray", "nv12"),
            ("h264", "gray10le", "nv12"),
            ("hevc", "p010le", "p010le"),
            ("hevc", "yuv420p10le", "p010le"),
            ("hevc", "gray10le", "p010le"),
            ("hevc", "rgb24", "nv12"),
        ],
    )
    def test_the_nearest_of_them_is_chosen(self, codec, source, chosen):
        assert choose_pix_fmt(encoder(f"{codec}_vaapi", codec), source, None) == chosen

    def test_a_format_that_no_surface_holds_is_refused(self):
        assert choose_pix_fmt(encoder("hevc_vaapi", "hevc"), "yuv420p", "p010le") == "p010le"
        with pytest.raises(EncodeError, match=r"h264_vaapi does not .* yuv420p; it takes nv12"):
            choose_pix_fmt(encoder(), "yuv420p", "yuv420p")
        with pytest.raises(EncodeError, match="unknown pixel format 'nosuch'"):
            choose_pix_fmt(encoder(), "yuv420p", "nosuch")

    def test_gray_is_the_luma_of_a_surface(self):
        assert gray_carrier(encoder(), pixel_format("gray"), None) == "nv12"

    def test_one_that_the_wheel_has_not_is_told_with_what_to_do(self, monkeypatch):
        with pytest.raises(EncodeError, match=r"unknown .*'nosuch_vaapi'.*; .*xtranscode devices"):
            find_encoder("nosuch_vaapi", "video")
        with pytest.raises(EncodeError) as caught:
            find_encoder("nosuch", "video")
        assert "devices" not in str(caught.value)


class TestSource:
    """The wheel's FFmpeg decodes nothing by VA-API, as FFmpeg decodes FFV1 by none at all."""

    def opened(self, path, notices, **options):
        return Source(
            str(path),
            start=None,
            duration=None,
            keep_damaged=options.pop("keep_damaged", False),
            threads=1,
            hardware=ENGINE,
            notices=notices,
            **options,
        )

    @pytest.mark.parametrize("name", ["audio_only", "ffv1"])
    def test_what_no_device_decodes_is_refused(self, clips, name):
        with pytest.raises(SourceError) as caught:
            self.opened(clips.path(name), Notices())
        assert str(caught.value) == (
            f"{clips.path(name)}: holds no video that FFmpeg decodes on such a device; say "
            "--software-fallback to decode it in software"
        )

    def test_it_is_decoded_in_software_where_that_is_said(self, clips):
        notices = Notices()
        source = self.opened(clips.path("ffv1"), notices, software_fallback=True)
        frames = list(source.read())
        source.close()
        assert frames[0].format.name == "yuv420p"
        assert notices.messages == ("decoded in software: FFmpeg decodes ffv1 on no vaapi device",)

    def test_nobody_is_told_to_say_what_was_said(self, clips):
        source = self.opened(clips.path("noise"), Notices(), software_fallback=True)
        with pytest.raises(SourceError) as caught:
            list(source.read())
        source.close()
        assert "--software-fallback" not in str(caught.value)
