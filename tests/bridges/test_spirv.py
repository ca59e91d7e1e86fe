"""SPIR-V of kernels: where a module comes from, and what those that ship compute.

No driver that takes SPIR-V alone was at hand; OpenCL's driver for processors takes it too, through
the same call of SYCL.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import subprocess

import numpy as np
import pytest

from bridges.errors import KernelError
from bridges.formats import ColourModel, pixel_format
from bridges.frame import ColourRange, Matrix
from bridges.kernels import create_runtime, get, parse_call, spirv
from bridges.kernels.code_cache import cache_folder
from bridges.kernels.launch import Launch
from tests.bridges.kernel_bench import check_kernel, run_kernel, target_for
from tests.bridges.memories.sycl import sycl_backend
from tests.bridges.picture import Picture, frame_info
from tests.helpers.require import require

MAGIC = (0x07230203).to_bytes(4, "little")
"""The first word of a module: SPIR-V specification 1.0, section 3.1."""
INDEX = spirv.shipped_index()
SIZES = ((1, 1), (64, 6), (131, 37))
GRAY = get("rgb_to_grayscale")


def launch(text="KERNEL void tiny(GLOBAL u8 *p) { p[INDEX(0)] = VALUE; }", value=1):
    return Launch(text, "tiny", (), (1, 1), (("VALUE", value),))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def compiler():
    found = spirv.find_compiler()
    require("spirv", found is not None, "no clang and llvm-spirv of one version on PATH")
    return found


@pytest.fixture
def no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(scope="module")
def runtime():
    """Return a runtime whose driver is given SPIR-V."""
    context = sycl_backend().create("opencl")
    from bridges.kernels.sycl import SyclRuntime

    return SyclRuntime(context, takes_spirv=True)


def shipped():
    """Return the calls that ship with a format and how it is tagged."""
    for call, formats in INDEX["calls"].items():
        for name in formats:
            is_yuv = pixel_format(name).model is ColourModel.YUV
            for matrix in INDEX["matrices"] if is_yuv else ["UNSPECIFIED"]:
                yield call, name, matrix


def shipped_files():
    return [file for file in spirv.shipped_modules().iterdir() if file.name.endswith(".spv")]


class TestLookup:
    def test_what_ships_comes_first(self, no_compiler):
        info = frame_info("rgb24", (8, 8))
        (words,) = GRAY.launches(info, GRAY.output(info))
        file = spirv.shipped_modules().joinpath(f"{spirv.module_key(words)}.spv")
        # What the cache holds is not asked for.
        spirv.write_code(cache_folder("spirv") / spirv.module_key(words), b"other")
        assert spirv.build(GRAY, words) == file.read_bytes()

    def test_then_the_cache(self, no_compiler):
        path = cache_folder("spirv") / spirv.module_key(launch())
        spirv.write_code(path, b"kept")
        assert spirv.build(GRAY, launch()) == b"kept"
        # Another macro is another module.
        with pytest.raises(KernelError, match="does not ship"):
            spirv.build(GRAY, launch(value=2))

    def test_then_the_compiler_once(self, compiler, monkeypatch, tmp_path):
        module = spirv.build(GRAY, launch())
        assert module.startswith(MAGIC)
        (kept,) = cache_folder("spirv").iterdir()
        assert kept.name == spirv.module_key(launch())
        monkeypatch.setenv("PATH", str(tmp_path))
        assert spirv.build(GRAY, launch()) == module

    def test_a_damaged_file_of_the_cache_is_made_anew(self, compiler):
        module = spirv.build(GRAY, launch())
        (kept,) = cache_folder("spirv").iterdir()
        kept.write_bytes(kept.read_bytes()[:-1])
        assert spirv.build(GRAY, launch()) == module
        assert kept.read_bytes().endswith(module)

    def test_the_same_source_makes_the_same_bytes(self, compiler, monkeypatch, tmp_path):
        module = spirv.compile_module(compiler, GRAY, launch())
        monkeypatch.chdir(tmp_path)
        assert spirv.compile_module(compiler, GRAY, launch()) == module
        assert str(tmp_path).encode() not in module

    def test_the_key_changes_with_text_macros_and_prelude(self, monkeypatch):
        keys = {spirv.module_key(each) for each in (launch(), launch(value=2), launch("other"))}
        monkeypatch.setattr(spirv, "portable_source", lambda each: "another prelude" + each.source)
        assert len(keys | {spirv.module_key(launch())}) == 4


class TestCompiler:
    def test_without_one_it_is_said_what_to_install_and_what_ships(self, no_compiler):
        with pytest.raises(KernelError) as failure:
            spirv.build(get("invert"), launch())
        said = str(failure.value)
        assert "apt install clang-15 llvm-spirv-15" in said
        assert "kernel invert is needed as SPIR-V" in said
        assert all(f"{call}: {' '.join(names)}" in said for call, names in INDEX["calls"].items())

    def test_both_programs_are_of_one_version(self, tmp_path, monkeypatch):
        for name in ("clang-15", "clang-17", "llvm-spirv-16", "llvm-spirv-17", "clang-14"):
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert spirv.find_compiler() == spirv.Compiler(
            str(tmp_path / "clang-17"), str(tmp_path / "llvm-spirv-17")
        )

    def test_a_wrong_line_is_named(self, compiler):
        text = '#line 1 "my.cl"\nKERNEL void tiny(GLOBAL u8 *p) {\n    p[0] = no_such_name;\n}\n'
        complaint = r"kernel rgb_to_grayscale does not compile: my\.cl:2: error: .*no_such_name"
        with pytest.raises(KernelError, match=complaint):
            spirv.build(GRAY, launch(text))
        assert not cache_folder("spirv").exists()

    def test_what_the_second_program_says_is_told(self, compiler, tmp_path):
        broken = tmp_path / "llvm-spirv"
        broken.write_text("#!/bin/sh\necho unknown bitcode >&2\nexit 3\n")
        broken.chmod(0o755)
        pair = spirv.Compiler(compiler.clang, str(broken))
        with pytest.raises(KernelError, match=r"unknown bitcode; both have to be of one version"):
            spirv.compile_module(pair, GRAY, launch())

    def test_a_file_of_a_user_becomes_a_module(self, compiler, runtime, tmp_path):
        path = tmp_path / "my.cl"
        body = "i32 red = p.r; p.r = p.b; p.b = red; return p;"
        path.write_text(
            f"/* swap: red and blue.\n */\nDEVICE pixel swap(pixel p, i32 x, i32 y) {{ {body} }}\n"
        )
        kernel, values = parse_call(str(path))
        source = Picture.create(frame_info("rgb24", (64, 5)), seed=8)
        target = target_for(kernel, source.frame.info, values)
        run_kernel(runtime, kernel, source, target, values)
        assert np.array_equal(target.arrays[0], source.arrays[0][..., ::-1])


class TestDriver:
    def test_level_zero_is_given_spirv(self, no_compiler):
        context = sycl_backend().create("opencl")
        # There is no such device on a machine without a GPU: this one pretends.
        context.device = dataclasses.replace(context.device, backend="level_zero", kind="gpu")
        runtime = create_runtime(context)
        source = Picture.create(frame_info("rgb24", (64, 6)), seed=13)
        check_kernel(runtime, GRAY, source, target_for(GRAY, source.frame.info, {}), {})
        source = Picture.create(frame_info("rgb48le", (64, 6)), seed=13)
        with pytest.raises(KernelError, match="does not ship"):
            check_kernel(runtime, GRAY, source, target_for(GRAY, source.frame.info, {}), {})

    def test_a_module_that_it_refuses_is_an_error(self, runtime):
        info = frame_info("rgb48le", (8, 8))
        (words,) = GRAY.launches(info, GRAY.output(info))
        spirv.write_code(cache_folder("spirv") / spirv.module_key(words), b"no module")
        source = Picture.create(info, seed=1)
        with pytest.raises(KernelError, match="refuses the SPIR-V of kernel rgb_to_grayscale"):
            check_kernel(runtime, GRAY, source, target_for(GRAY, info, {}), {})


class TestShipped:
    @pytest.mark.parametrize(("call", "name", "matrix"), [*shipped()])
    def test_computes_the_reference_bit_by_bit(self, no_compiler, runtime, call, name, matrix):
        kernel, values = parse_call(call)
        is_yuv = matrix != "UNSPECIFIED"
        colour_range = ColourRange[INDEX["range"]] if is_yuv else ColourRange.FULL
        for size, shift in itertools.product(SIZES, (0, 1)):
            info = frame_info(name, size, colour_range, Matrix[matrix])
            source = Picture.create(info, seed=11, shift=shift)
            target = target_for(kernel, info, values, shift=shift)
            check_kernel(runtime, kernel, source, target, values)
        assert not cache_folder("spirv").exists()

    def test_parameters_that_are_no_defaults_are_arguments(self, no_compiler, runtime):
        kernel = get("brightness")
        for amount in (-0.7, 0.31):
            source = Picture.create(frame_info("rgb24", (64, 6)), seed=12)
            target = target_for(kernel, source.frame.info, {"amount": amount})
            check_kernel(runtime, kernel, source, target, {"amount": amount})

    def test_every_module_is_valid(self):
        validator = shutil.which("spirv-val")
        require("spirv", validator is not None, "no spirv-val; try: apt install spirv-tools")
        files = shipped_files()
        assert files
        for file in files:
            command = [validator, "--target-env", "opencl2.0", str(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{file.name}: {done.stderr}"

    def test_every_module_is_of_one_compiler_and_small(self):
        files = shipped_files()
        assert all(file.read_bytes().startswith(MAGIC) for file in files)
        assert sum(len(file.read_bytes()) for file in files) < 1 << 20
        assert all("15.0" in version for version in INDEX["compiler"])


class TestBuild:
    """The script that makes what ships, on a folder of its own."""

    @pytest.fixture
    def build(self, compiler, tmp_path, monkeypatch, capfd):
        from tools import build_spirv

        monkeypatch.setattr(build_spirv, "FOLDER", tmp_path / "modules")
        monkeypatch.setattr(build_spirv, "CALLS", {"rgb_to_grayscale": "rgb24 nv12"})
        require("spirv", bool(shutil.which("spirv-val")), "no spirv-val")

        def build(*options):
            monkeypatch.setattr("sys.argv", ["build_spirv.py", *options])
            build_spirv.main()
            return capfd.readouterr().out

        assert build().startswith("2 modules of ")
        return build

    @pytest.fixture
    def folder(self, build, tmp_path):
        return tmp_path / "modules"

    def test_what_was_made_is_as_it_should_be(self, build, folder):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert "all valid" in build("--check")
        (folder / "old.spv").write_bytes(b"")
        build()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def test_what_differs_is_told(self, build, folder):
        first, second = sorted(folder.glob("*.spv"))
        first.write_bytes(first.read_bytes()[:-4])
        second.rename(folder / "old.spv")
        with pytest.raises(SystemExit) as failure:
            build("--check")
        said = str(failure.value)
        assert f"{first.name} of rgb_to_grayscale has other bytes" in said
        assert "rgb_to_grayscale has no module" in said
        assert "old.spv belongs to no source" in said
        assert "python tools/build_spirv.py" in said

    def test_modules_of_another_compiler_have_to_be_valid_alone(self, build, folder, capfd):
        index = folder / "index.json"
        index.write_text(index.read_text().replace("version", "another version"))
        first, _ = sorted(folder.glob("*.spv"))
        module = first.read_bytes()
        # A generator of another number: SPIR-V specification 1.0, section 2.3.
        first.write_bytes(module[:8] + bytes(4) + module[12:])
        assert "not compared byte by byte: modules were made by" in build("--check")
        first.write_bytes(module[:-4])
        with pytest.raises(SystemExit, match="is not valid"):
            build("--check")
        assert "error" in capfd.readouterr().err

    def test_what_depends_on_the_size_cannot_ship(self, build, monkeypatch):
        from tools import build_spirv

        monkeypatch.setattr(build_spirv, "SIZES", ((1, 1),))
        monkeypatch.setattr(build_spirv, "CALLS", {"invert": "rgb24"})
        with pytest.raises(SystemExit, match="invert cannot ship"):
            build("--check")
