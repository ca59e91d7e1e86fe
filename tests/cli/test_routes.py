"""``xtranscode routes`` shows every edge, what stands in its way, and the way that is taken."""

import json
import shutil
import subprocess

import pytest

from bridges.routes import declared_edges


def test_every_edge_has_a_row(invoke):
    lines = invoke("routes").stdout.splitlines()
    for edge in declared_edges():
        assert any(line.startswith(str(edge)) for line in lines)


def test_edges_as_json(invoke):
    edges = [json.loads(line) for line in invoke("routes", "--json").stdout.splitlines()]
    assert len(edges) == len(declared_edges())
    for edge in edges:
        assert edge["available"] != bool(edge["reason"])
        assert edge["type"] == "edge"


def test_a_route_is_taken(invoke):
    result = invoke("routes", "ffmpeg", "OpenCL")
    taken = [line for line in result.stdout.splitlines() if "taken" in line]
    assert len(taken) == 1
    assert taken[0].split("   ")[0].strip() == "FFmpeg > CPU > OpenCL"
    assert "zero-copy" in taken[0]


def test_routes_as_json(invoke):
    lines = invoke("routes", "ffmpeg", "opencl", "--json").stdout.splitlines()
    routes = [json.loads(line) for line in lines]
    assert [route["taken"] for route in routes] == [False] * (len(routes) - 1) + [True]
    assert routes[-1]["stops"][0] == "FFmpeg"
    assert routes[-1]["edges"][0]["summary"].startswith("FFmpeg > CPU")


@pytest.mark.parametrize("ends", [[], ["ffmpeg", "opencl"]])
def test_the_diagram_is_one_for_graphviz(invoke, ends):
    text = invoke("routes", "--dot", *ends).stdout
    assert text.startswith("digraph routes {")
    assert '"FFmpeg" -> "CPU" [style=solid, color=black]' in text
    if dot := shutil.which("dot"):
        subprocess.run([dot, "-Tsvg"], input=text, text=True, check=True, capture_output=True)
    assert text.count("{") == text.count("}") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ffmpeg"], "name both ends"),
        (["ffmpeg", "gpu"], "no memory 'gpu'; there is CPU, FFmpeg"),
        (["cpu", "CPU"], "both ends are CPU memory"),
        (["--json", "--dot"], "exclude each other"),
        (["a", "b", "c"], "unexpected extra argument"),
    ],
)
def test_wrong_words(invoke, arguments, words):
    result = invoke("routes", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_no_route_is_a_failure(invoke, monkeypatch):
    from bridges.explain import Machine

    monkeypatch.setattr(Machine, "refusal", lambda self, path: f"no {path[0].name}")
    result = invoke("routes", "opencl", "ffmpeg")
    assert result.exit_code == 1
    assert "no route from OpenCL to FFmpeg memory" in result.stderr
    assert "unavailable" in result.stdout
