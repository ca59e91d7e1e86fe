"""libva's structures and numbers, as written down here, against its own headers and a compiler."""

from __future__ import annotations

import ctypes as c
import subprocess

import pytest

from bridges.edges.dma_to_vaapi import _HEAD
from bridges.native import libva as va
from tests.helpers.require import require

HEADERS = ("stddef.h", "stdio.h", "va/va.h", "va/va_drmcommon.h")
STRUCTURES = {
    "VASurfaceAttrib": va.SurfaceAttribute,
    "VAGenericValue": va.GenericValue,
    "VAImageFormat": va.ImageFormat,
    "VAImage": va.Image,
    "VADRMPRIMESurfaceDescriptor": va.DRMPRIMESurfaceDescriptor,
}
NUMBERS = {
    "VA_STATUS_SUCCESS": va.STATUS_SUCCESS,
    "VA_INVALID_SURFACE": va.INVALID_SURFACE,
    "VASurfaceReady": va.SURFACE_READY,
    "VA_SURFACE_ATTRIB_MEM_TYPE_VA": va.MEMORY_TYPE_VA,
    "VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2": va.MEMORY_TYPE_DRM_PRIME_2,
    "VA_EXPORT_SURFACE_READ_ONLY": va.EXPORT_READ_ONLY,
    "VA_EXPORT_SURFACE_READ_WRITE": va.EXPORT_READ_WRITE,
    "VA_EXPORT_SURFACE_SEPARATE_LAYERS": va.EXPORT_SEPARATE_LAYERS,
    "VASurfaceAttribPixelFormat": va.SurfaceAttributeType.PIXEL_FORMAT,
    "VASurfaceAttribMemoryType": va.SurfaceAttributeType.MEMORY_TYPE,
    "VASurfaceAttribExternalBufferDescriptor": va.SurfaceAttributeType.EXTERNAL_BUFFER_DESCRIPTOR,
    "VA_SURFACE_ATTRIB_SETTABLE": va.SurfaceAttributeType.SETTABLE,
    "VAGenericValueTypeInteger": va.GenericValue.INTEGER,
    "VAGenericValueTypeFloat": va.GenericValue.FLOAT,
    "VAGenericValueTypePointer": va.GenericValue.POINTER,
    # The formats that _surface_format computes are tried by making surfaces, in test_vaapi.py.
}
EXPRESSIONS = {
    "sizeof(((VADRMPRIMESurfaceDescriptor *)0)->objects[0])": c.sizeof(va.DRMPRIMEObject),
    "sizeof(((VADRMPRIMESurfaceDescriptor *)0)->layers[0])": c.sizeof(va.DRMPRIMELayer),
    "offsetof(VADRMPRIMESurfaceDescriptor, layers[1])": _HEAD.size,
    "offsetof(VADRMPRIMESurfaceDescriptor, layers[0].pitch)": _HEAD.size - 16,
    "offsetof(VAGenericValue, value.i)": va.GenericValue.value.offset,
}


def expected():
    lines = dict(EXPRESSIONS)
    for name, structure in STRUCTURES.items():
        lines[f"sizeof({name})"] = c.sizeof(structure)
        for field, *_ in structure._fields_:
            lines[f"offsetof({name}, {field})"] = getattr(structure, field).offset
    return lines | NUMBERS


def test_structures_and_numbers_are_those_of_the_headers(tmp_path):
    lines = expected()
    source = tmp_path / "layout.c"
    source.write_text(
        "".join(f"#include <{name}>\n" for name in HEADERS)
        + "int main(void) {\n"
        + "".join(f'printf("%lld\\n", (long long)({line}));\n' for line in lines)
        + "}\n"
    )
    program = tmp_path / "layout"
    try:
        subprocess.run(
            ["gcc", "-o", program, source], check=True, capture_output=True, text=True, timeout=60
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        require("vaapi", False, f"{error}; try: apt install gcc libva-dev")
    done = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60)
    found = dict(zip(lines, map(int, done.stdout.split()), strict=True))
    assert found == lines


@pytest.mark.parametrize("library", [va.libva, va.libva_drm])
def test_every_function_is_there(library):
    try:
        library()
    except OSError as error:
        require("vaapi", False, str(error))
    assert library() is library()
