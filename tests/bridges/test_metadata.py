"""Metadata: checked when made, through JSON and back, and regions cut by it."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridges import Frame, FrameInfo, TensorInfo
from bridges.backends.cpu import CPUContext
from bridges.errors import FormatError, MetadataError
from bridges.formats import pixel_format
from bridges.media import DataType
from bridges.metadata import (
    AffineTransform,
    Classification,
    Detection,
    InferenceResult,
    ModelInfo,
    NamedTensor,
    ObjectId,
    SourceIdentifier,
    TensorDescription,
)
from bridges.metadata_dict import METADATA_TYPES, from_dict, to_dict
from bridges.region import regions_of

MODEL = ModelInfo(
    "finder",
    (TensorDescription("image", DataType.U8, (-1, 300, 300, 3)),),
    (TensorDescription("boxes", DataType.F32, (100, 4)),),
)
SAMPLES = [
    AffineTransform(((0.5, 0.25, -3.0), (1e-9, 2.0, 1e9))),
    Classification("red", 3, 0.25, "colour"),
    Classification("cat"),
    Detection(0.1, 0.2, 0.3, 1.0, 0.9, 7, "bär"),
    Detection(0, 0, 1, 1),
    InferenceResult((NamedTensor.of("boxes", np.arange(6, dtype="<f4").reshape(2, 3)),), MODEL),
    MODEL,
    ObjectId(12),
    SourceIdentifier(1, 90000, 2, 3, 4),
    SourceIdentifier(),
]


class TestDetection:
    @pytest.mark.parametrize(
        "edges",
        [
            (0.5, 0, 0.5, 1),
            (0.6, 0, 0.5, 1),
            (-0.1, 0, 1, 1),
            (0, 0, 1.1, 1),
            (0, 0.5, 1, 0.4),
            (math.nan, 0, 1, 1),
            (0, 0, 1, math.nan),
            (0, 0, math.inf, 1),
        ],
    )
    def test_edges(self, edges):
        with pytest.raises(MetadataError, match="edges from 0 to 1, of which the second"):
            Detection(*edges)

    @pytest.mark.parametrize("confidence", [-0.01, 1.01, math.nan])
    def test_confidence(self, confidence):
        with pytest.raises(MetadataError, match="confidence lies between 0 and 1"):
            Detection(0, 0, 1, 1, confidence)
        with pytest.raises(MetadataError, match="confidence lies between 0 and 1"):
            Classification("cat", confidence=confidence)

    def test_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Detection(0, 0, 1, 1).label = "cat"

    @pytest.mark.parametrize(
        ("edges", "size", "grid", "expected"),
        [
            ((0, 0, 1, 1), (7, 5), (1, 1), (0, 0, 7, 5)),
            ((0, 0, 1, 1), (7, 5), (2, 2), (0, 0, 7, 5)),
            ((0.25, 0.5, 0.5, 0.75), (100, 8), (1, 1), (25, 4, 25, 2)),
            ((0.25, 0.5, 0.5, 0.75), (100, 8), (2, 2), (24, 4, 26, 2)),
            ((0.999, 0.999, 1, 1), (10, 10), (1, 1), (9, 9, 1, 1)),
            ((0.5, 0.5, 0.5001, 0.5001), (10, 10), (1, 1), (5, 5, 1, 1)),
            ((0.9, 0, 1, 1), (7, 5), (4, 4), (4, 0, 3, 5)),
            ((1 - 1e-12, 0, 1, 1), (10, 1), (1, 1), (9, 0, 1, 1)),
        ],
    )
    def test_rectangle(self, edges, size, grid, expected):
        assert Detection(*edges).rectangle(*size, grid=grid) == expected

    @given(
        st.integers(1, 5000), st.integers(0, 4999), st.integers(1, 5000), st.sampled_from([1, 2, 4])
    )
    def test_whole_pixels_stay_what_they_are(self, width, left, length, step):
        left, right = left * step, left * step + length * step
        assume(right <= width)
        found = Detection(left / width, 0, right / width, 1)
        assert found.rectangle(width, 3, grid=(step, 1)) == (left, 0, right - left, 3)

    @given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 4000), st.sampled_from([1, 2, 4]))
    def test_covers(self, one, other, width, step):
        assume(one != other)
        low, high = sorted((one, other))
        x, _, length, _ = Detection(low, 0, high, 1).rectangle(width, 1, grid=(step, 1))
        assert 0 <= x < x + length <= width
        assert x <= low * width + 1e-5
        assert x + length >= high * width - 1e-5
        assert x % step == 0
        assert (x + length) % step == 0 or x + length == width


FINITE = st.floats(-100, 100)
TRANSFORMS = st.builds(AffineTransform, st.tuples(*[st.tuples(FINITE, FINITE, FINITE)] * 2))


class TestAffineTransform:
    @given(TRANSFORMS, TRANSFORMS, FINITE, FINITE)
    def test_is_a_matrix(self, second, first, x, y):
        def matrix(transform):
            return np.array([*transform.matrix, (0, 0, 1)])

        expected = matrix(second) @ matrix(first)
        # Sums of large terms may be small: what they may be off by goes with the terms.
        terms = np.abs(matrix(second)) @ np.abs(matrix(first))
        assert np.all(np.abs(matrix(second @ first) - expected) <= 1e-9 * (terms + 1))
        reach = (terms @ np.abs((x, y, 1)))[:2]
        found = np.array((second @ first).apply(x, y))
        assert np.all(np.abs(found - (expected @ (x, y, 1))[:2]) <= 1e-9 * (reach + 1))

    @given(TRANSFORMS, FINITE, FINITE)
    def test_inverse(self, transform, x, y):
        (a, b, _), (d, e, _) = transform.matrix
        assume(abs(a * e - b * d) > 1)
        assert np.allclose(transform.inverse().apply(*transform.apply(x, y)), (x, y), atol=1e-6)

    def test_by_hand(self):
        turn = AffineTransform(((0, -1, 0), (1, 0, 0)))
        assert turn.apply(1, 0) == (0, 1)
        assert (AffineTransform.translation(10, 20) @ turn).apply(1, 0) == (10, 21)
        assert (turn @ AffineTransform.translation(10, 20)).apply(1, 0) == (-20, 11)
        assert AffineTransform.scaling(2, 3).inverse().apply(2, 3) == (1, 1)
        assert AffineTransform().apply(4, 5) == (4, 5)

    def test_refused(self):
        with pytest.raises(MetadataError, match="a transform with an inverse is needed"):
            AffineTransform(((1, 2, 3), (2, 4, 5))).inverse()
        for matrix in (((1, 0), (0, 1)), ((1, 0, 0),), ((1, 0, math.nan), (0, 1, 0))):
            with pytest.raises(MetadataError, match="two rows of three finite numbers"):
                AffineTransform(matrix)


class TestOthers:
    def test_numbers(self):
        with pytest.raises(MetadataError, match="an object's number is at least 0, got -1"):
            ObjectId(-1)
        for wrong in ({"stream_id": -1}, {"region_id": -1}, {"object_id": -1}, {"batch_index": -1}):
            with pytest.raises(MetadataError, match="are at least 0"):
                SourceIdentifier(**wrong)
        assert SourceIdentifier(pts=-5).pts == -5

    def test_models(self):
        with pytest.raises(MetadataError, match="a model has a name"):
            ModelInfo("")
        with pytest.raises(MetadataError, match="lengths are at least -1"):
            TensorDescription("x", DataType.U8, (-2,))

    @pytest.mark.parametrize("dtype", [str(member) for member in DataType])
    def test_tensors(self, dtype):
        array = np.arange(24).reshape(4, 6).astype(DataType.parse(dtype).dtype)[:, ::2]
        tensor = NamedTensor.of("x", array)
        assert np.array_equal(tensor.array, array)
        assert tensor.array.dtype == array.dtype
        assert not tensor.array.flags.writeable

    def test_tensors_of_the_wrong_length(self):
        with pytest.raises(MetadataError, match=r"shape \(2, 2\) has 16 bytes, got 4"):
            NamedTensor("x", DataType.F32, (2, 2), bytes(4))
        with pytest.raises(MetadataError):
            NamedTensor("x", DataType.F32, (-1, -1), bytes(4))

    def test_results(self):
        tensor = NamedTensor.of("scores", np.ones(3, "<f4"))
        result = InferenceResult((tensor,), MODEL)
        assert result["scores"] is tensor
        with pytest.raises(KeyError, match=r"finder returned no tensor 'x', only \['scores'\]"):
            _ = result["x"]
        with pytest.raises(MetadataError, match="tensors have different names"):
            InferenceResult((tensor, tensor), MODEL)


class TestDictionaries:
    def test_all_types_are_tried(self):
        assert {type(sample) for sample in SAMPLES} == set(METADATA_TYPES)

    @pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
    def test_there_and_back_through_json(self, sample):
        text = json.dumps(to_dict(sample), allow_nan=False)
        back = from_dict(json.loads(text))
        assert back == sample
        assert type(back) is type(sample)
        assert json.loads(text)["type"] == type(sample).__name__

    def test_numbers_of_numpy(self):
        found = Detection(*np.array([0, 0.25, 0.5, 1], "f4"), np.float32(0.5), np.int64(3))
        assert from_dict(json.loads(json.dumps(to_dict(found)))) == Detection(
            0, 0.25, 0.5, 1, 0.5, 3
        )

    def test_what_has_a_default_may_be_missing(self):
        assert from_dict({"type": "ObjectId", "id": 3}) == ObjectId(3)
        assert from_dict({"type": "Classification", "label": "x"}) == Classification("x")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({}, "no type of metadata None; there is AffineTransform, Classification"),
            ({"type": "Frame"}, "no type of metadata 'Frame'"),
            ({"type": ["ObjectId"]}, "no type of metadata"),
            ({"type": "ObjectId"}, "ObjectId needs id"),
            ({"type": "ObjectId", "id": "3"}, r"ObjectId\.id is of type int, got '3'"),
            ({"type": "ObjectId", "id": True}, r"ObjectId\.id is of type int, got True"),
            ({"type": "ObjectId", "id": 3.0}, r"ObjectId\.id is of type int"),
            ({"type": "ObjectId", "id": None}, r"ObjectId\.id is of type int, got None"),
            ({"type": "ObjectId", "id": 3, "x": 1}, "ObjectId has no field 'x'; it has id"),
            ({"type": "ObjectId", "id": -3}, "at least 0, got -3"),
            (
                {"type": "AffineTransform", "matrix": [[1, 0, 0]]},
                r"AffineTransform\.matrix has 2 items",
            ),
            (
                {"type": "AffineTransform", "matrix": [[1, 0, 0], [0, "1", 0]]},
                r"AffineTransform\.matrix\[1\]\[1\] is of type float, got '1'",
            ),
            ({"type": "AffineTransform", "matrix": 3}, r"AffineTransform\.matrix is a list, got 3"),
            (
                {"type": "ModelInfo", "name": "m", "inputs": ["x"]},
                r"ModelInfo\.inputs\[0\] is a dictionary, got 'x'",
            ),
            (
                {
                    "type": "ModelInfo",
                    "name": "m",
                    "inputs": [{"name": "x", "data_type": "f31", "shape": []}],
                },
                r"ModelInfo\.inputs\[0\]\.data_type: no DataType 'f31'; there is u8",
            ),
        ],
    )
    def test_what_cannot_be_read(self, values, message):
        with pytest.raises(MetadataError, match=message):
            from_dict(values)

    @pytest.mark.parametrize("data", ["not base64!", "AAA", "é"])
    def test_bytes_that_are_none(self, data):
        values = to_dict(InferenceResult((NamedTensor("x", DataType.U8, (1,), b"a"),), MODEL))
        values["tensors"][0]["data"] = data
        with pytest.raises(MetadataError, match=r"InferenceResult\.tensors\[0\]\.data: "):
            from_dict(values)

    @pytest.mark.parametrize("thing", [3, None, "x", NamedTensor("x", DataType.U8, (0,), b"")])
    def test_what_is_no_metadata(self, thing):
        with pytest.raises(MetadataError, match="no type of metadata"):
            to_dict(thing)


def picture(name, width, height):
    info = FrameInfo(pixel_format(name), width, height, pts=40, time_base=Fraction(1, 25))
    random = np.random.default_rng(1)
    arrays = [random.integers(0, 255, plane.shape, plane.dtype) for plane in info.planes]
    return Frame(info, [CPUContext().wrap(array) for array in arrays]), arrays


class TestRegions:
    @pytest.mark.parametrize("name", ["rgb24", "yuv420p", "nv12", "yuv411p", "gray"])
    def test_show_the_samples_that_were_detected(self, name):
        frame, arrays = picture(name, 33, 21)
        found = Detection(0.25, 0.3, 0.6, 0.9, label="cat")
        frame.metadata += [Classification("street"), found]
        (region,) = regions_of(frame)
        assert region.parent is frame
        detection, source, transform = region.metadata
        assert detection is found
        assert source == SourceIdentifier(pts=40, region_id=0)
        x, y = transform.apply(0, 0)
        assert (x, y) == (int(x), int(y))
        assert x <= 0.25 * 33
        assert y <= 0.3 * 21
        right, bottom = transform.apply(region.info.width, region.info.height)
        assert right >= 0.6 * 33
        assert bottom >= 0.9 * 21
        for tensor, array, plane in zip(
            region.tensors, arrays, frame.info.format.planes, strict=True
        ):
            rows = slice(int(y) >> plane.log2_height, -(-int(bottom) >> plane.log2_height))
            columns = slice(int(x) >> plane.log2_width, -(-int(right) >> plane.log2_width))
            assert np.shares_memory(tensor.handle("array"), array)
            assert np.array_equal(tensor.handle("array"), array[rows, columns])
        assert frame.metadata == [Classification("street"), found]

    def test_are_numbered(self):
        frame, _ = picture("gray", 8, 8)
        regions = regions_of(frame, [Detection(0, 0, 1, 0.5), Detection(0, 0, 0.5, 1)], stream_id=3)
        sources = [region.metadata[1] for region in regions]
        assert [(source.stream_id, source.region_id) for source in sources] == [(3, 0), (3, 1)]
        assert [(r.info.width, r.info.height) for r in regions] == [(8, 4), (4, 8)]
        assert regions_of(frame) == ()

    def test_of_regions_lead_back(self):
        frame, arrays = picture("gray", 64, 64)
        (outer,) = regions_of(frame, [Detection(0.25, 0.5, 1, 1)])
        (inner,) = regions_of(outer, [Detection(0.5, 0.5, 1, 1)])
        back = outer.metadata[2] @ inner.metadata[2]
        x, y = map(int, back.apply(3, 4))
        assert inner.tensors[0].handle("array")[4, 3] == arrays[0][y, x]

    def test_none_is_left_open(self, monkeypatch):
        frame, _ = picture("gray", 8, 8)
        made = []
        cut = Frame.region

        def region(self, *rectangle):
            if made:
                raise FormatError("cannot be cut")
            made.append(cut(self, *rectangle))
            return made[0]

        monkeypatch.setattr(Frame, "region", region)
        with pytest.raises(FormatError, match="cannot be cut"):
            regions_of(frame, [Detection(0, 0, 1, 1)] * 2)
        assert made[0].closed
        assert not frame.closed


def test_metadata_follow_a_mapping():
    cpu = CPUContext()
    info = FrameInfo(pixel_format("gray"), 4, 2)
    frame = Frame(info, [cpu.allocate(TensorInfo((2, 4), np.dtype("u1")))])
    mapped = frame.over([cpu.allocate(TensorInfo((2, 4), np.dtype("u1")))])
    mapped.metadata.append(ObjectId(1))
    assert frame.metadata == [ObjectId(1)]
