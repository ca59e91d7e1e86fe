"""Elements: their parameters, and the table they are found in."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bridges import MemoryType
from bridges.element import (
    Element,
    ElementDescription,
    ParameterDescription,
    Sink,
    Source,
    Transform,
    TransformInplace,
)
from bridges.element_table import (
    BUILT_IN,
    create_element,
    element_names,
    find_element,
    list_elements,
)
from bridges.errors import ElementError, KernelError

ROOT = Path(__file__).resolve().parents[2]


class TestParameters:
    DESCRIPTION = ElementDescription(
        "blur",
        "makes it soft",
        (
            ParameterDescription("radius", int, "in pixels", low=1, high=9),
            ParameterDescription("strength", float, "how much", 0.5, low=0),
            ParameterDescription(
                "edges", str, "what lies outside", "zero", choices=("zero", "near")
            ),
            ParameterDescription("fast", bool, "less exact", False),
            ParameterDescription("note", str, "anything", ""),
        ),
    )

    def test_defaults(self):
        assert self.DESCRIPTION.check({"radius": 3}) == {
            "radius": 3,
            "strength": 0.5,
            "edges": "zero",
            "fast": False,
            "note": "",
        }

    def test_whole_numbers_are_numbers(self):
        strength = self.DESCRIPTION.check({"radius": 1, "strength": 2})["strength"]
        assert (strength, type(strength)) == (2.0, float)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({}, "blur needs the parameter 'radius', a whole number from 1 to 9: in pixels"),
            (
                {"radius": 1, "x": 1},
                "blur has no parameter 'x'; it has radius, strength, edges, fast, note",
            ),
            (
                {"radius": 0},
                "blur: parameter 'radius' is a whole number from 1 to 9, got 0",
            ),
            ({"radius": 10}, "got 10"),
            ({"radius": 1.0}, r"got 1\.0"),
            ({"radius": True}, "got True"),
            ({"radius": "1"}, "got '1'"),
            ({"radius": None}, "got None"),
            ({"radius": 1, "strength": -0.1}, r"'strength' is a number from 0, got -0\.1"),
            ({"radius": 1, "strength": math.nan}, "got nan"),
            ({"radius": 1, "edges": "far"}, "'edges' is one of zero, near, got 'far'"),
            ({"radius": 1, "fast": 1}, "'fast' is true or false, got 1"),
            ({"radius": 1, "note": 1}, "'note' is a text, got 1"),
        ],
    )
    def test_refused(self, parameters, message):
        with pytest.raises(ElementError, match=message):
            self.DESCRIPTION.check(parameters)

    def test_not_a_number_without_a_range(self):
        with pytest.raises(ElementError, match="'x' is a number, got nan"):
            ParameterDescription("x", float, "", 0.0).check(math.nan)

    def test_no_parameters(self):
        with pytest.raises(ElementError, match="none has no parameter 'x'; it has no parameters"):
            ElementDescription("none", "nothing").check({"x": 1})

    @pytest.mark.parametrize("kind", [Source, Transform, TransformInplace, Sink])
    def test_kinds_are_abstract(self, kind):
        with pytest.raises(TypeError, match="abstract"):
            kind()


class TestTable:
    def test_built_in(self):
        assert set(BUILT_IN) <= set(element_names())
        for name in BUILT_IN:
            found = find_element(name)
            assert issubclass(found, Element)
            assert found.description.name == name
            assert found.description.summary
            assert all(parameter.summary for parameter in found.description.parameters)
            for parameter in found.description.parameters:
                if not parameter.required:
                    assert parameter.check(parameter.default) == parameter.default

    def test_unknown(self):
        with pytest.raises(ElementError, match="no element 'nothing'; there is ffmpeg_source, ker"):
            create_element("nothing")

    def test_parameters_are_checked_at_once(self):
        with pytest.raises(ElementError, match="kernel needs the parameter 'call'"):
            create_element("kernel")
        with pytest.raises(KernelError, match="no kernel 'nothing'"):
            create_element("kernel", call="nothing")
        with pytest.raises(ElementError, match="map: parameter 'to' is one of CPU, FFmpeg"):
            create_element("map", to="nowhere")
        with pytest.raises(ElementError, match="raw_sink has no parameter 'path'; it has location"):
            create_element("raw_sink", path="x")

    def test_importing_the_table_imports_no_element(self):
        code = (
            "import sys, bridges.element_table as table; table.element_names();"
            "print([m for m in sys.modules if m.partition('.')[0] in ('av', 'numpy', 'pyopencl')"
            " or m.startswith('bridges.elements')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


SOURCE = """
from bridges.element import ElementDescription, ParameterDescription, TransformInplace

class Count(TransformInplace):
    description = ElementDescription(
        "count", "counts", (ParameterDescription("first", int, "where to begin", 0),)
    )

    def process(self, frame):
        return True

class Misnamed(Count):
    pass

class Unrelated:
    pass
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package which brings elements."""

    def install(package, entries, source=SOURCE):
        site = tmp_path / package
        site.mkdir()
        (site / f"{package}.py").write_text(source)
        information = site / f"{package}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (information / "entry_points.txt").write_text(
            "\n".join(["[xtranscode.elements]", *lines, ""])
        )
        monkeypatch.syspath_prepend(site)

    yield install
    for name in ("counting", "other"):
        sys.modules.pop(name, None)


class TestInstalledPackages:
    def test_bring_elements(self, install):
        before = element_names()
        install("counting", {"count": "counting:Count"})
        assert set(element_names()) == {*before, "count"}
        assert "counting" not in sys.modules
        element = create_element("count", first=3)
        assert element.parameters == {"first": 3}
        assert type(element).__module__ == "counting"
        with pytest.raises(ElementError, match="count has no parameter 'last'; it has first"):
            create_element("count", last=3)

    def test_go_with_their_package(self, install, monkeypatch):
        install("counting", {"count": "counting:Count"})
        assert "count" in element_names()
        monkeypatch.undo()
        assert "count" not in element_names()

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("absent:Count", "ModuleNotFoundError: No module named 'absent'"),
            ("counting:Nothing", "AttributeError: .*'Nothing'"),
            ("counting:Unrelated", "it is no subclass of bridges.element.Element"),
            ("counting:ElementDescription", "it is no subclass"),
            ("counting:Misnamed", "its description has to be called 'odd'"),
        ],
    )
    def test_that_are_broken_hide_no_others(self, install, value, message):
        install("counting", {"odd": value, "count": "counting:Count"})
        with pytest.raises(ElementError, match=rf"element 'odd' of counting \({value}\) cannot be"):
            create_element("odd")
        with pytest.raises(ElementError, match=message):
            create_element("odd")
        create_element("count")
        listed = {listing.name: listing for listing in list_elements()}
        assert set(listed) == set(element_names())
        assert listed["odd"].description is None
        assert value in listed["odd"].problem
        assert listed["odd"].packages == ("counting",)
        assert listed["count"].description.summary == "counts"
        assert listed["kernel"].problem == ""
        assert listed["kernel"].description.inputs[0] is MemoryType.CPU

    def test_that_fail_as_they_are_imported(self, install):
        install("counting", {"count": "counting:Count"}, "raise RuntimeError('no licence')")
        with pytest.raises(ElementError, match="RuntimeError: no licence") as caught:
            create_element("count")
        assert isinstance(caught.value.__cause__, RuntimeError)
        create_element("raw_sink", location="x")

    def test_that_take_each_other_s_names(self, install):
        install("counting", {"count": "counting:Count"})
        install("other", {"count": "other:Count"})
        with pytest.raises(ElementError, match=r"is claimed by .*; uninstall one") as it:
            create_element("count")
        assert "counting (counting:Count)" in str(it.value)
        assert "other (other:Count)" in str(it.value)

    def test_that_take_a_name_of_ours(self, install):
        install("counting", {"kernel": "counting:Count"})
        with pytest.raises(ElementError, match=r"claimed by xtranscode \(bridges.* and counting"):
            create_element("kernel", call="rgb_to_grayscale")
        assert "counting" not in sys.modules
        create_element("raw_sink", location="x")
