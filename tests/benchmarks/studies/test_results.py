"""What the documentation says of the studies is what their committed lines give."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.output.formats import terminal
from benchmarks.output.typed_json import from_json
from benchmarks.studies import references, search
from benchmarks.studies.batch_norm import app

PROJECT = Path(__file__).parents[3]
CHOOSING = (PROJECT / "docs" / "choosing.md").read_text(encoding="utf-8")


def rows(text):
    """The cells of each line of each table, without rules and blanks."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.match(r"^\|[-:| ]+\|$", line)]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


@pytest.mark.parametrize(
    "command", ["check", "neutral", "dropout"]
)  # their default groups and seeds are those of the lines
def test_the_tables_of_the_documentation_are_those_of_the_committed_lines(command):
    lines = PROJECT / "benchmarks" / "results" / "batch-norm" / f"{command}.jsonl"
    done = CliRunner().invoke(app, [command, "nothing-is-computed", "--out", str(lines)], catch_exceptions=False)
    summary = rows(done.stdout)
    summary = summary[[row[0] for row in summary].index("method") :]
    assert len(summary) == 5
    assert set(summary) <= set(rows(CHOOSING))


def test_the_table_of_references_is_that_of_the_committed_lines():
    lines = [
        from_json(references.ReferenceRecord, json.loads(line), "line", "")
        for line in (PROJECT / "benchmarks" / "results" / "enrolled" / "references.jsonl").read_text().splitlines()
    ]
    expected = rows(terminal(references.table(lines)))
    assert len(expected) > 20
    assert set(expected) <= set(rows(CHOOSING))


def test_the_picture_of_references_is_drawn_from_the_committed_lines(tmp_path):
    lines = PROJECT / "benchmarks" / "results" / "enrolled" / "references.jsonl"
    references.main("enrolled", tmp_path, out=lines, figure=tmp_path / "references.svg")
    assert (tmp_path / "references.svg").read_text() == (PROJECT / "docs" / "references.svg").read_text()


def test_the_table_of_models_without_a_reference_is_that_of_the_committed_lines():
    file = PROJECT / "benchmarks" / "results" / "frozen" / "references.jsonl"
    lines = [
        from_json(references.ReferenceRecord, json.loads(line), "line", "") for line in file.read_text().splitlines()
    ]
    expected = [
        (source, method, reference, within, scores[-1])
        for source in ("nemo", "ravdess", "emovo")
        for method, reference, within, *scores in references.table([r for r in lines if r.source == source]).rows
        if reference in ("none", "1 sentence")
    ]
    assert len(expected) == 12
    assert set(expected) <= set(rows(CHOOSING))


@pytest.mark.parametrize(
    ("lines", "choice"),
    [
        ("chosen", {"seeds": "0,1,2"}),
        ("confirmed", {"sources": "emovo,ravdess", "seeds": "0,1,2,3,4"}),
    ],
)
def test_the_tables_of_the_search_are_those_of_the_committed_lines(lines, choice, capsys):
    search.main(**choice, out=PROJECT / "benchmarks" / "results" / "search" / f"{lines}.jsonl")
    expected = rows(capsys.readouterr().out)
    assert len(expected) > 6
    assert set(expected) <= set(rows(CHOOSING))
