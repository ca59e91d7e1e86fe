"""OpenVINO: frames that go into a model, and the outputs that come out."""

import gc
import importlib

import numpy as np
import pytest

from bridges import AccessMode, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.errors import (
    ClosedError,
    DeviceError,
)
from tests.bridges.openvino_models import ov, request_of, share
from tests.bridges.picture import Picture, frame_info
from tests.helpers.threads import run_together

READ, WRITE, READ_WRITE = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
DENSE = TensorInfo((4, 6), np.dtype("u1"))


@pytest.fixture(scope="module")
def there(openvino):
    return create_mapper([CPUContext(), openvino])


@pytest.fixture(scope="module")
def back(openvino):
    return create_mapper([openvino, CPUContext()])


def test_a_frame_goes_into_a_model_and_its_outputs_come_out(openvino, there, back):
    from bridges.backends.openvino_frame import OpenVINOFrame

    for name, size, padding in (("rgb24", (31, 9), 0), ("rgb24", (31, 9), 6), ("gray", (1, 1), 0)):
        picture = Picture.create(frame_info(name, size), padding=padding, shift=1, seed=4)
        array = picture.arrays[0]
        request = request_of(openvino, (1, *array.shape))
        frame = there.map(picture.frame, READ)
        batch = frame.tensors[0].batch()
        assert batch.native.data.ctypes.data == array.ctypes.data
        request.set_input_tensor(batch.native)
        request.start_async()
        with OpenVINOFrame(openvino, request, parent=frame) as outputs:
            assert outputs.names == ("twice", "total")
            with back.map(outputs, READ) as host:
                assert np.array_equal(host.tensors[0].array[0], array * np.float32(2))
                assert host["total"].array[0] == array.sum(dtype=np.float32)
                native = request.get_output_tensor(0).data
                assert host["twice"].handle("data") == native.ctypes.data
            assert outputs.info.tensors[0].shape == (1, *array.shape)
            with pytest.raises(KeyError, match="'total', 'twice'"):
                outputs["no such output"]
        batch.close()
        frame.close()
    assert there.audit.bytes_copied == back.audit.bytes_copied == 0


def test_sixteen_bits_go_in_whole(openvino, there):
    picture = Picture.create(frame_info("p010le", (30, 8)), seed=2)
    luma = picture.arrays[0]
    request = request_of(openvino, luma.shape, "u16")
    with there.map(picture.frame, READ) as mapped:
        request.set_input_tensor(mapped.tensors[0].native)
        request.infer()
    assert np.array_equal(request.get_output_tensor(0).data, luma * np.float32(2))


def test_outputs_outlive_the_request_and_the_model(openvino, back):
    from bridges.backends.openvino_frame import OpenVINOFrame

    request = request_of(openvino, (200, 300))
    array = np.random.default_rng(1).integers(0, 256, (200, 300), np.uint8)
    request.infer([array])
    outputs = OpenVINOFrame(openvino, request)
    mapped = back.map(outputs, READ)
    del request
    outputs.close()
    outputs.close()
    del outputs
    gc.collect()
    others = [request_of(openvino, (200, 300)) for _ in range(3)]
    for other in others:
        other.infer([255 - array])
    assert np.array_equal(mapped["twice"].array, array * np.float32(2))
    mapped.close()


def test_a_cache_lends_outputs_again(openvino):
    from bridges.backends.openvino_frame import OpenVINOFrame

    request = request_of(openvino, (4, 6))
    request.infer([np.full((4, 6), 3, np.uint8)])
    mapper = create_mapper([openvino, CPUContext()], cache=2)
    with OpenVINOFrame(openvino, request) as outputs:
        for _ in range(3):
            with mapper.map(outputs, READ) as host:
                assert host["total"].array[0] == 72
        assert mapper.statistics.hits == 2
    assert mapper.statistics.entries == 0


def test_a_request_writes_into_memory_of_ours(openvino, there):
    request = request_of(openvino, (4, 6))
    result = np.zeros((4, 6), np.float32)
    with share(there, result, WRITE) as mapped:
        request.set_output_tensor(0, mapped.native)
        request.infer([np.full((4, 6), 21, np.uint8)])
    assert (result == 42).all()


def test_closing_waits_for_the_request_that_reads_the_source(openvino, there):
    from bridges.backends.openvino_frame import OpenVINOFrame

    shape = (1 << 9, 1 << 12)
    request = request_of(openvino, shape)
    array = np.ones(shape, np.uint8)
    mapped = share(there, array, READ)
    request.set_input_tensor(mapped.native)
    for _ in range(5):
        request.start_async()
        outputs = OpenVINOFrame(openvino, request)
        outputs.close()
        # A request that still runs refuses this.
        assert request.get_output_tensor(1).data == array.size
    with pytest.raises(ClosedError):
        assert outputs.tensors
    mapped.close()


def test_an_inference_that_fails_is_a_device_error(openvino):
    from bridges.backends.openvino_frame import OpenVINOFrame

    op = importlib.import_module("openvino.opset13")
    port = op.parameter([-1, 2], ov.Type.f32, name="samples")
    target = op.parameter([2], ov.Type.i64, name="target")
    model = ov.Model([op.result(op.reshape(port, target, False))], [port, target], "reshape")
    request = openvino.core.compile_model(model, "CPU").create_infer_request()
    request.set_tensor("samples", ov.Tensor(np.zeros((3, 2), np.float32)))
    request.set_tensor("target", ov.Tensor(np.array([4, 4])))
    request.start_async()
    outputs = OpenVINOFrame(openvino, request)
    with pytest.raises(DeviceError, match="cannot infer on OpenVINO CPU") as caught:
        assert outputs.tensors
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_empty_output_is_an_empty_array(openvino, back):
    tensor = openvino.wrap(ov.Tensor(ov.Type.f32, [0, 7]))
    with back.map(tensor, READ) as mapped:
        assert mapped.array.shape == (0, 7)


def test_two_threads_ask_for_one_result(openvino):
    from bridges.backends.openvino_frame import OpenVINOFrame

    request = request_of(openvino, (64, 64))
    request.set_input_tensor(ov.Tensor(np.ones((64, 64), np.uint8)))
    for _ in range(20):
        request.start_async()
        outputs = OpenVINOFrame(openvino, request)
        seen = []
        run_together(lambda _, o=outputs, s=seen: s.append(o.tensors), range(2))
        assert seen[0] is seen[1]
        outputs.close()
