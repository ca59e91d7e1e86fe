"""What all families of kernels keep to, whatever they compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bridges.errors import FormatError
from bridges.formats import pixel_format
from bridges.frame import Colour, ColourRange
from bridges.kernels import get, names
from tests.bridges.kernel_cases import CASES
from tests.bridges.picture import frame_info

CALLS = [(name, values) for name in names() for values in CASES[name]]
FORMATS = ("gray", "rgb24", "rgba64le", "nv12", "yuv420p10le")
MOST_ITEMS = 256
"""Of a group: AMD's GPUs have as many in OpenCL; CUDA's have 1024, PoCL 4096."""

LAYOUT_KEPT = ("blur", "denoise", "geometry", "resize", "sobel")
"""Families whose launches take it for granted that both pictures have one format and range."""


@pytest.mark.parametrize(("name", "values"), CALLS, ids=str)
def test_groups_fit_every_device_and_fill_the_grid(name, values):
    kernel = get(name)
    values = kernel.check(values)
    for layout in set(FORMATS) & set(kernel.formats_read):
        info = frame_info(layout, (100, 76), ColourRange.LIMITED)
        made = kernel.output(info, **values)
        for aligned in (False, True):
            for launch in kernel.launches(info, made, values, aligned=aligned):
                group = launch.group or (1, 1)
                assert group[0] * group[1] <= MOST_ITEMS
                assert not any(np.remainder(launch.size, group))
                assert min(launch.size) > 0


@pytest.mark.parametrize("name", [each for each in names() if get(each).kind in LAYOUT_KEPT])
@pytest.mark.parametrize(
    "change",
    [{"format": pixel_format("bgr24")}, {"colour": Colour(range=ColourRange.LIMITED)}],
    ids=["format", "range"],
)
def test_targets_of_another_form_are_refused(name, change):
    kernel = get(name)
    values = kernel.check(CASES[name][0])
    info = frame_info("rgb24", (100, 76), ColourRange.FULL)
    made = kernel.output(info, **values)
    wrong = replace(made, **change)
    planes, out = ([np.zeros(each.shape, each.dtype) for each in of.planes] for of in (info, made))
    planes += planes * kernel.takes_previous
    for aligned in (False, True):
        assert kernel.launches(info, made, values, aligned=aligned)
        with pytest.raises(FormatError, match=f"^{name} .*makes rgb24.* not "):
            kernel.launches(info, wrong, values, aligned=aligned)
    with pytest.raises(FormatError, match=f"^{name} .*makes rgb24.* not "):
        kernel.compute(planes, info, wrong, out, values)
