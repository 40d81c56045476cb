import gzip
import json
import re
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


def report(run, folder):
    """The rows of Table 2, as the report makes it of committed lines."""
    write_report([PROJECT / "benchmarks" / "results" / run], folder, lambda _: None)
    return table_of((folder / "tables.md").read_text(encoding="utf-8"), "| method         | SA")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    return report("frozen/cells.jsonl.gz", tmp_path_factory.mktemp("frozen"))


@pytest.mark.parametrize("source", ["nemo", "ravdess", "emovo"])
def test_the_readme_s_tables_are_what_the_report_makes_of_the_committed_lines(source, frozen):
    header = frozen[0]
    columns = [0, 1, header.index(source), *(i for i, name in enumerate(header) if name.startswith(f"{source} to "))]
    shown = table_of(README, f"| trained on {source}")
    assert len(columns) == 6
    assert shown[0] == [
        f"trained on {source}",
        "SA",
        "within",
        *(header[i].removeprefix(f"{source} ") for i in columns[3:]),
    ]
    assert shown[2:] == [[row[i] for i in columns] for row in frozen[2:]]


@pytest.mark.parametrize(
    ("run", "page"), [("enrolled/cells.jsonl", "choosing.md"), ("scratch/cells.jsonl.gz", "choosing.md")]
)
def test_the_documentation_s_tables_are_what_the_report_makes_of_the_committed_lines(run, page, tmp_path):
    reported = report(run, tmp_path)
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    shown = [
        table_of(text[place.start() :], "| method") for place in re.finditer(r"^\| method +\| SA", text, re.MULTILINE)
    ]
    assert len(reported) > 5
    assert reported[:-1] in shown
