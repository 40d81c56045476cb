import gzip
import json
from pathlib import Path

import pytest

from benchmarks.cost.complexity import PAPER_TABLE_3, counts_table, measure
from benchmarks.report.build import write_report

PROJECT = Path(__file__).parents[3]
RESULTS = sorted((PROJECT / "benchmarks" / "results").glob("*/cells.jsonl*"))
README = (PROJECT / "README.md").read_text(encoding="utf-8")
USE = (PROJECT / "docs" / "use.md").read_text(encoding="utf-8")


def table_of(text, first_cell):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first_cell))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\", "") for cell in line.strip("|").split("|")])
    return rows


def test_the_documented_complexity_is_what_is_counted():
    counted = counts_table([measure(name) for name in PAPER_TABLE_3])
    assert table_of(USE, "| method   |   training params")[2:] == table_of(counted, "| method")[2:]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_each_committed_line_says_its_settings_its_hardware_and_its_revision(path):
    content = path.read_bytes()
    for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines():
        record = json.loads(line)
        assert record["identity"]["settings"]["epochs"] == len(record["story"]["curves"])
        assert record["environment"]["device"]
        assert record["environment"]["versions"]["torch"]
        assert "dirty" not in record["environment"]["revision"]
        assert set(record["tests"]) >= {record["identity"]["corpus"]["name"]}


def test_the_readme_s_table_is_what_the_report_makes_of_the_committed_lines(tmp_path):
    write_report([PROJECT / "benchmarks" / "results" / "enrolled" / "cells.jsonl"], tmp_path, lambda _: None)
    reported = table_of((tmp_path / "tables.md").read_text(encoding="utf-8"), "| method         | SA")
    shown = table_of(README, "| method         | SA")
    assert len(shown) == 2 + 4
    assert shown == reported[: len(shown)]
