"""Plans: loads of jobs from their sources and outputs, waves, and reservations of all of them."""

import os
from fractions import Fraction

import pytest

from bridges.errors import DeviceNotFoundError
from tests.helpers.require import require
from transcode import Job, Output, VideoOptions
from transcode import plan as planning
from transcode.errors import JobError, SourceError
from transcode.manifest import Manifest, ManifestJob
from transcode.plan import device_of, job_load, plan
from xma_plugins.admission import CARD_LOAD, holders, pixel_load, reserve
from xma_plugins.errors import ChannelCapacityError

HD = 1280 * 720 * 25
"""Pixels a second of the sample."""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def listed(sample):
    def listed(*, source=sample, load=None, measured_fps=None, device="auto", filters=(), **video):
        output = Output("out.mp4", video=VideoOptions(**video))
        job = Job(source=source, outputs=(output,), device=device, filters=filters)
        return ManifestJob(
            job=job, place="jobs.yaml:2:3", index=1, load=load, measured_fps=measured_fps
        )

    return listed


def plan_of(*jobs, capacities=None):
    return plan(Manifest(path="jobs.yaml", jobs=jobs, capacities=capacities or {}))


# Loads


@pytest.mark.parametrize(
    ("video", "pixels"),
    [
        ({}, HD),
        ({"size": (640, 360)}, HD),  # The decoder does the more of it.
        ({"size": (1920, 1080)}, 1920 * 1080 * 25),
        ({"size": (1920, -2)}, 1920 * 1080 * 25),
        ({"size": (-2, 1081)}, 1922 * 1081 * 25),  # 1921.8 wide, made even.
        ({"fps": 50}, 1280 * 720 * 50),
        ({"size": (640, 360), "fps": 120}, 640 * 360 * 120),
    ],
)
def test_load_is_the_larger_of_what_is_read_and_written(listed, video, pixels):
    assert job_load(listed(**video)) == pixel_load(Fraction(pixels))


def test_a_measured_rate_is_set_against_the_source_s(listed):
    assert job_load(listed(measured_fps=Fraction(100), size=(3840, 2160))) == CARD_LOAD // 4


def test_a_load_that_is_said_is_taken(listed):
    assert job_load(listed(load=5, measured_fps=Fraction(100))) == 5


def test_a_source_with_a_cover_is_its_video(listed, clips):
    truth = clips["everything_mkv"].main
    expected = pixel_load(Fraction(truth.width * truth.height) * Fraction(truth.rate))
    assert job_load(listed(source=clips.path("everything_mkv"))) == expected


def test_what_is_missing_is_named(listed, clips):
    with pytest.raises(SourceError, match=r"^jobs\.yaml:2:3: nosuch\.mp4: no such file"):
        plan_of(listed(source="nosuch.mp4", load=5))
    with pytest.raises(SourceError, match=r"^jobs\.yaml:2:3: .*: no video stream"):
        plan_of(listed(source=clips.path("audio_only")))


def test_a_source_without_a_rate_needs_a_load(listed, monkeypatch, sample):
    from dataclasses import replace

    info = planning.probe(sample)
    streams = tuple(replace(v, rate=None) for v in info.video)
    monkeypatch.setattr(planning, "probe", lambda path: replace(info, streams=streams))
    with pytest.raises(JobError, match=r"^jobs\.yaml:2:3: .* does not tell its frame rate"):
        job_load(listed())
    assert job_load(listed(load=7)) == 7


# Waves


def test_waves(listed):
    loads = [600_000, 500_000, 400_000, 300_000, 1_000_000, 1_000_001]
    made = plan_of(*(listed(load=load) for load in loads))
    assert [job.wave for job in made.jobs] == [1, 2, 1, 2, 3, None]
    (device,) = made.devices
    assert (device.name, device.capacity, device.total) == ("cpu", CARD_LOAD, 3_800_001)
    assert (device.at_once, device.waves, device.reserved) == (2, None, 0)
    assert not made.fits
    made = plan_of(*(listed(load=load) for load in loads[:4]))
    assert (made.devices[0].waves, made.fits) == (2, False)


def test_what_others_reserve_is_not_there(listed):
    with reserve("cpu", 500_000, "others"):
        made = plan_of(listed(load=500_000), listed(load=1), listed(load=500_001))
        assert [job.wave for job in made.jobs] == [1, 2, None]
        assert made.devices[0].reserved == 500_000
        assert made.devices[0].holders == holders("cpu")
    assert plan_of(listed(load=500_000), listed(load=500_000)).fits


def test_a_capacity_is_in_cards(listed):
    made = plan_of(listed(load=2_500_000), capacities={"cpu": Fraction(5, 2)})
    assert (made.fits, made.devices[0].capacity) == (True, 2_500_000)


# Reservations


def test_all_jobs_are_reserved(listed):
    made = plan_of(listed(load=300_000), listed(load=300_000))
    (reservation,) = made.reserve("both")
    with reservation:
        assert [(h.load, h.pid, h.label) for h in holders("cpu")] == [
            (600_000, os.getpid(), "both")
        ]
        with pytest.raises(ChannelCapacityError, match="both"):
            made.reserve("again")
    assert holders("cpu") == ()


def test_all_devices_or_none(listed, monkeypatch):
    monkeypatch.setattr(planning, "device_of", lambda name: (name, name))
    made = plan_of(listed(device="cpu", load=5), listed(device="opencl", load=CARD_LOAD))
    with reserve("opencl", 1, "others"), pytest.raises(ChannelCapacityError):
        made.reserve("both")
    assert holders("cpu") == ()
    reservations = made.reserve("both")
    assert [r.device for r in reservations] == ["cpu", "opencl"]
    for reservation in reservations:
        reservation.close()


# Devices


def test_a_plain_transcode_needs_the_processor(listed):
    assert [device.name for device in plan_of(listed(), listed(device="cpu")).devices] == ["cpu"]
    assert device_of("cpu") == ("cpu", "the processor")


@pytest.mark.usefixtures("needs_opencl")
def test_one_device_has_one_name(listed):
    name, description = device_of("auto")
    kind, platform, device = name.split(":")
    assert kind == "opencl"
    assert "auto" in description
    asked = ["auto", "opencl", f"opencl:{platform}:{device}"]
    assert {device_of(text)[0] for text in asked} == {name}
    filters = ("rgb_to_grayscale",)
    made = plan_of(
        *(listed(device=text, filters=filters) for text in asked),
        capacities={"opencl": Fraction(3)},
    )
    assert [(d.name, len(d.jobs), d.capacity) for d in made.devices] == [(name, 3, 3_000_000)]
    with pytest.raises(JobError, match=f"capacities: {name} is {name}, which is there already"):
        plan_of(listed(), capacities={"opencl": Fraction(3), name: Fraction(2)})


def test_a_sycl_device_has_one_name():
    from bridges.backends.probe import probe_all

    found = next(probe for probe in probe_all() if probe.name == "sycl")
    require("sycl", found.available, f"{found.reason}; try: {found.remedy}")
    name, _ = device_of("sycl")
    assert name.startswith("sycl:")
    assert device_of(name)[0] == name


def test_a_device_that_is_not_there(listed):
    with pytest.raises(DeviceNotFoundError, match=r"^jobs\.yaml:2:3: no OpenCL device '99'"):
        plan_of(listed(device="opencl:99"))
    with pytest.raises(DeviceNotFoundError, match=r"^jobs\.yaml: capacities: no OpenCL"):
        plan_of(listed(), capacities={"opencl:99": Fraction(1)})
