"""The index of the samples: every one is there, and every link leads somewhere."""

from __future__ import annotations

import re

from tests.samples.program import SAMPLES


def test_the_index_has_every_sample():
    links = re.findall(r"\]\(([^)]+)\)", (SAMPLES / "README.md").read_text())
    assert all((SAMPLES / link).exists() for link in links)
    there = {path.name for path in SAMPLES.iterdir() if path.name not in ("README.md", "notebooks")}
    there |= {f"notebooks/{path.name}" for path in (SAMPLES / "notebooks").glob("*.ipynb")}
    assert set(links) == {name for name in there if not name.startswith(("__", "."))}


def test_programs_are_short_and_say_how_to_run_them():
    programs = [*SAMPLES.glob("*.py"), *SAMPLES.glob("custom_plugin/*/*.py")]
    assert len(programs) >= 8
    for path in programs:
        text = path.read_text()
        assert len(text.splitlines()) <= 80, path
        if "__main__" in text:
            assert re.search(r"python (samples/|-m )", text.split('"""')[1]), path
