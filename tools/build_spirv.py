"""Makes the SPIR-V modules that ship with the package, or checks those in the tree.

    python tools/build_spirv.py           # makes them anew
    python tools/build_spirv.py --check   # compares, and changes nothing

Sources that changed need new modules: a module is found by its text. It takes clang-15,
llvm-spirv-15 and spirv-val (Debian's clang-15, llvm-spirv-15 and spirv-tools). Another version of
the compiler makes other bytes; then ``--check`` only looks whether all modules are there, and
valid.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from bridges.formats import ColourModel, pixel_format
from bridges.frame import Colour, ColourRange, FrameInfo, Matrix
from bridges.kernels.call import parse_call
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Launch
from bridges.kernels.spirv import Compiler, compile_module, find_compiler, module_key

FOLDER = Path(__file__).parent.parent / "bridges" / "kernels" / "spirv_modules"
COMMON = "rgb24 bgr0 nv12 yuv420p"
CALLS = {
    "rgb_to_grayscale": "rgb24 bgr24 rgb0 bgr0 gbrp yuv420p nv12 p010le yuv420p10le",
    "invert": COMMON,
    "yuv_to_rgb": "nv12 yuv420p",
    "rgb_to_yuv": "rgb24",
    "rgb_to_yuv(matrix=bt601)": "rgb24",
    "denoise": COMMON,
    "sobel": COMMON,
    "histogram": COMMON,
    "statistics": COMMON,
    # Parameters that are no defaults are arguments: modules are for all of their values.
    "brightness(amount=0.1)": "rgb24 bgr0",
    "contrast(amount=1.5)": "rgb24 bgr0",
    "saturation(amount=1.5)": "rgb24 bgr0",
}
"""What ships, with the formats that each call reads: what is common, below a megabyte in all."""
MATRICES = (Matrix.BT709, Matrix.SMPTE170M)
"""YUV is that of high and of standard definition, in limited range. RGB has no such tags, and
becomes YUV of either."""

SIZES = ((8, 8), (9, 9), (1, 1), (7, 2), (2, 7))
"""Whole blocks, their edges, and pictures that have no whole block."""
OTHER_SIZES = ((1920, 1080), (1279, 719), (66, 5), (3, 33), (4, 640))


def main() -> None:
    """Make the modules, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and change nothing")
    is_check = parser.parse_args().check
    compiler, validator = find_compiler(), shutil.which("spirv-val")
    if compiler is None or validator is None:
        sys.exit("needs a compiler and spirv-val: apt install clang-15 llvm-spirv-15 spirv-tools")
    index = {
        "compiler": compiler.versions,
        "calls": {call: formats.split() for call, formats in CALLS.items()},
        "matrices": [matrix.name for matrix in MATRICES],
        "range": ColourRange.LIMITED.name,
    }
    if is_check:
        check(compiler, index)
    else:
        make(compiler, index)
    for path in modules():
        # The environment whose SPIR-V is of version 1.0, with OpenCL's rules.
        if subprocess.run([validator, "--target-env", "opencl2.0", path], check=False).returncode:
            sys.exit(f"{path.name} is not valid")
    nbytes = sum(path.stat().st_size for path in modules())
    print(f"{len(modules())} modules of {nbytes} bytes, all valid; {', '.join(index['compiler'])}")


def modules() -> list[Path]:
    """Return the modules in the tree."""
    return sorted(FOLDER.glob("*.spv"))


def make(compiler: Compiler, index: dict[str, Any]) -> None:
    """Write all modules and their index, and remove those that nothing needs any more."""
    made = {key: compile_module(compiler, *each) for key, each in wanted().items()}
    FOLDER.mkdir(exist_ok=True)
    for path in modules():
        path.unlink()
    for key, module in made.items():
        (FOLDER / f"{key}.spv").write_bytes(module)
    (FOLDER / "index.json").write_text(json.dumps(index, indent=2) + "\n")


def check(compiler: Compiler, index: dict[str, Any]) -> None:
    """Compare what would be made with what is there; exits with what differs."""
    wrong = []
    there = json.loads((FOLDER / "index.json").read_text("utf-8"))
    if there | {"compiler": None} != index | {"compiler": None}:
        wrong.append("index.json")
    sources = wanted()
    keys = {path.stem for path in modules()}
    wrong += [f"{sources[key][0].name} has no module" for key in sources.keys() - keys]
    wrong += [f"{key}.spv belongs to no source" for key in keys - sources.keys()]
    if there["compiler"] == index["compiler"]:
        wrong += [
            f"{key}.spv of {sources[key][0].name} has other bytes"
            for key in keys & sources.keys()
            if compile_module(compiler, *sources[key]) != (FOLDER / f"{key}.spv").read_bytes()
        ]
    else:
        print(f"not compared byte by byte: modules were made by {', '.join(there['compiler'])}")
    if wrong:
        sys.exit("; ".join(sorted(set(wrong))) + "; make them anew: python tools/build_spirv.py")


def wanted() -> dict[str, tuple[Kernel, Launch]]:
    """Return what modules are made of, by their keys; exits where they depend on the size."""
    found = {module_key(launch): (kernel, launch) for kernel, launch in launches(SIZES)}
    others = {module_key(launch): kernel.name for kernel, launch in launches(OTHER_SIZES)}
    depend = {name for key, name in others.items() if key not in found}
    if depend:
        sys.exit(f"{', '.join(sorted(depend))} cannot ship: the text depends on the picture's size")
    return found


def launches(sizes: Iterable[tuple[int, int]]) -> Iterator[tuple[Kernel, Launch]]:
    """Yield every launch of every call, for pictures of some sizes."""
    for call, formats in CALLS.items():
        kernel, values = parse_call(call)
        for name, (width, height) in product(formats.split(), sizes):
            layout = pixel_format(name)
            is_yuv = layout.model is ColourModel.YUV
            for matrix in MATRICES if is_yuv else (Matrix.UNSPECIFIED,):
                colour = Colour(matrix, ColourRange.LIMITED if is_yuv else ColourRange.FULL)
                info = FrameInfo(layout, width, height, colour)
                target = kernel.output(info, **values)
                for aligned in (True, False):
                    for launch in kernel.launches(info, target, values, aligned=aligned):
                        yield kernel, launch


if __name__ == "__main__":
    main()
