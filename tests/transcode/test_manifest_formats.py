"""Manifests in JSON, JSON Lines and CSV: the same jobs as in YAML, errors with their places."""

import csv
import dataclasses
import io
import json
import re
import sys

import pytest

from transcode.errors import JobError

NAME = "Mü \N{CLAPPER BOARD}\u2028.mp4"
JOBS = [
    {
        "source": NAME,
        "output": "a.mp4",
        "video": {"crf": 18.5, "options": {"tune": "grain"}},
        "filters": ["invert", "resize(width=640, height=360)"],
        "overwrite": True,
    },
    {"source": "b.mp4", "output": 'say "b", please.mp4', "start": "1:30", "load": 5},
]
ROWS = """source,output,video.crf,video.options.tune,filters,overwrite,start,load
"Mü \N{CLAPPER BOARD}\u2028.mp4",a.mp4 , 18.5,grain,"invert; resize(width=640, height=360)",true,,

 b.mp4, "say ""b"", please.mp4",,"",,,1:30,5
,,,,,,,,
"""
TEXTS = {
    "yaml": json.dumps({"jobs": JOBS}, indent=2),
    "json": json.dumps({"jobs": JOBS}, ensure_ascii=False, indent="\t"),
    "jsonl": "\n\n".join(json.dumps(job, ensure_ascii=False) for job in JOBS) + "\n",
    "csv": ROWS,
}


def without_places(manifest):
    return [dataclasses.replace(job, place="") for job in manifest.jobs]


@pytest.mark.parametrize("format", TEXTS)
def test_each_format_says_the_same(read, format):
    expected = without_places(read(TEXTS["json"], "jobs.json"))
    found = without_places(read(TEXTS[format], f"jobs.{format}"))
    assert [job.job.source for job in found] == [NAME, "b.mp4"]
    assert found == expected


@pytest.mark.parametrize("format", TEXTS)
def test_standard_input_and_other_endings_take_a_format(read, format):
    expected = read(TEXTS[format], f"jobs.{format}")
    found = read(TEXTS[format], "-", format=format)
    assert without_places(found) == without_places(expected)
    place = expected.jobs[1].place.replace(f"jobs.{format}", "standard input")
    assert found.jobs[1].place == place
    assert read(TEXTS[format], "jobs.txt", format=format).jobs[0].job == found.jobs[0].job


def test_standard_input_is_yaml_or_json(read):
    assert read(TEXTS["yaml"], "-").jobs[0].place == "standard input:3:5"


def test_there_is_no_other_format(read):
    with pytest.raises(JobError, match="unknown format 'xml'; a manifest is one of yaml, json"):
        read("", format="xml")


def test_places(read):
    assert [job.place for job in read(TEXTS["json"], "jobs.json").jobs] == [
        "jobs.json:3:3",
        "jobs.json:18:3",
    ]
    places = [job.place for job in read(TEXTS["jsonl"], "jobs.ndjson").jobs]
    assert places == ["jobs.ndjson:1:1", "jobs.ndjson:3:1"]
    assert [job.place for job in read(ROWS, "jobs.csv").jobs] == ["jobs.csv:2:1", "jobs.csv:4:2"]


def test_characters_that_json_writes_as_two(read):
    text = json.dumps({"jobs": [{"source": NAME, "output": "a.mp4"}]})
    assert "\\ud83c" in text
    for name in ("jobs.json", "jobs.yaml"):
        assert read(text, name).jobs[0].job.source == NAME
        assert read(b"\xef\xbb\xbf" + text.encode(), name).jobs[0].job.source == NAME
    lone = read('{"jobs": [{"source": "\\ud83c", "output": "a.mp4"}]}', "jobs.json")
    assert lone.jobs[0].job.source == "\N{REPLACEMENT CHARACTER}"


def test_json_needs_no_pyyaml(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert read(TEXTS["jsonl"], "jobs.jsonl").jobs
    assert read(ROWS, "jobs.csv").jobs


def test_what_the_csv_module_writes_is_read(read):
    out = io.StringIO()
    names = ['a"b', "a\nb", " a ", "a;b", "ä,b", "'a'"]
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows([["source", "output"], *([name, f"{n}.mp4"] for n, name in enumerate(names))])
    found = read(out.getvalue(), "jobs.csv").jobs
    assert [job.job.source for job in found] == names
    assert [job.place for job in found][1:3] == ["jobs.csv:3:1", "jobs.csv:5:1"]


def test_a_matrix_in_csv(read):
    rows = "source,output,matrix.video.crf\na.mp4,{stem}-{crf}.mp4,18; 23\n"
    paths = [job.job.outputs[0].path for job in read(rows, "jobs.csv").jobs]
    assert paths == ["a-18.mp4", "a-23.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"jobs": [1,\n  ]}', ":2:3: expecting value"),
        ("a.json", '{"jobs"\n [1]}', ":2:2: expecting ':' delimiter"),
        ("a.json", "", ":1:1: expecting value"),
        ("a.json", '{"a": 1, "a": 2}', ":1:10: 'a' is here twice, first at a.json:1:2"),
        ("a.json", '{"jobs": NaN}', ":1:10: NaN is no JSON"),
        ("a.json", '{"jobs": null}', ":1:10: jobs takes a list, found nothing"),
        ("a.json", "[" * 100_000, ": nested too deep"),
        (
            "a.json",
            '{"jobs": [{"source": "a", "output": "b", "load": 1' + "0" * 5000 + "}]}",
            ":1:5",
        ),
        ("a.json", b"{\xff", ": no text in UTF-8 (byte 1)"),
        ("a.jsonl", '{"source": "a", "output": "b"}\n{"source": }', ":2:12: expecting value"),
        ("a.jsonl", '{"source": "a", "output": "b"}\n[]', ":2:1: a job takes keys and values"),
        ("a.jsonl", '\n{"source": "a", "output": "b", "crf": 1}', ":2:32: a job has no 'crf'; say"),
        ("a.jsonl", "", ":1:1: jobs is an empty list"),
        ("a.csv", "", ":1:1: jobs is an empty list"),
        ("a.csv", "source,output", ":1:1: jobs is an empty list"),
        ("a.csv", "source,sorce\na,b", ":1:8: a job has no 'sorce'; did you mean 'source'?"),
        ("a.csv", "source,crf\na,1", ":1:8: a job has no 'crf'; say video: {crf: ...}"),
        ("a.csv", "source,output\na,b,c", ":2:5: this row has 3 cells, the header has 2"),
        ("a.csv", 'source,output\n"a,b', ":2:1: quotes enclose a whole cell"),
        ("a.csv", 'source,output\na"b,c', ":2:1: quotes enclose a whole cell"),
        ("a.csv", "source,,output\na,b,c", ":1:8: '' names no column"),
        ("a.csv", "source,source\na,b", ":1:8: 'source' is here already, at a.csv:1:1"),
        ("a.csv", "audio,audio.codec\na,b", ":1:7: 'audio.codec' is here already, at a.csv:1:1"),
        ("a.csv", "audio.codec,audio\na,b", ":1:13: 'audio' is here already, at a.csv:1:1"),
        ("a.csv", "source,output\n\na,b\nc,", ":4:1: a job needs an output, or outputs"),
        ("a.csv", "source,output,verify\na,b,ful", ":2:5: verify: found 'ful'; one of none, fast"),
        ("a.csv", "source,output,filters\na,b,x;;y", ":2:5: a filter: it has no name"),
        ("a.csv", "source,output,video.crf.x\na,b,1", ":2:5: crf takes one value, found keys"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(read, name, text, message):
    with pytest.raises(JobError, match=f"^{re.escape(name + message)}"):
        read(text, name)
