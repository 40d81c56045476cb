import csv
import io
import re

import pytest

from benchmarks.output.formats import escape_latex, escape_markdown, latex, markdown, terminal, to_csv
from benchmarks.output.table import Interval, Number, Table

NASTY = r"a|b<i>&_$%#{x}~^\*[y]"
TABLE = Table(
    ["method", "UAR", "interval", "p"],
    [
        [
            NASTY,
            Number(58.8249, 0.7, (57.123456789, 60.3), "*†", bold=True),
            Interval(1.25, 2.0),
            Number(0.00012, form=".4f"),
        ],
        ["b", Number(float("nan")), Interval(float("nan"), float("nan")), None],
    ],
    [["chance", Number(25.0), "", ""]],
    notes=["A note."],
    warnings=["A warning."],
    name="table-2",
    title="A title with 5% & more",
)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_in_a_terminal_the_same_numbers_stand_aligned_and_without_escapes():
    table = Table(["file", "UAR"], [["a_b.wav", Number(58.8249, 0.7, bold=True)], ["b", None]], [["all", Number(25.0)]])
    assert terminal(table).splitlines() == [
        "| file    |          UAR |",
        "|---------|-------------:|",
        "| a_b.wav | 58.82 ± 0.70 |",
        "| b       |            - |",
        "| all     |        25.00 |",
    ]


def test_csv_gives_back_every_number_in_full():
    first, second, chance = read(to_csv(TABLE))
    assert first["method"] == NASTY
    assert [float(first[f"UAR{part}"]) for part in ("", " sd", " low", " high")] == [58.8249, 0.7, 57.123456789, 60.3]
    assert first["UAR marks"] == "*†"
    assert [float(first[f"interval{part}"]) for part in (" low", " high")] == [1.25, 2.0]
    assert float(first["p"]) == 0.00012
    assert {value for key, value in second.items() if key != "method"} == {""}
    assert float(chance["UAR"]) == 25.0


def test_csv_has_no_column_that_no_row_needs():
    assert list(read(to_csv(TABLE))[0]) == [
        *("method", "UAR", "UAR sd", "UAR low", "UAR high", "UAR marks", "interval low", "interval high", "p")
    ]


def test_csv_has_the_papers_number_in_a_column_of_its_own():
    table = Table(["method", "MACs"], [["dsnet", Number(3.951, unit="G", paper=3.95)]])
    assert read(to_csv(table)) == [{"method": "dsnet", "MACs": "3.951", "MACs paper": "3.95"}]


def test_csv_of_a_table_without_rows_has_its_header():
    assert to_csv(Table(["a", "b"], [])) == "a,b\n"


def test_markdown_shows_number_deviation_interval_and_marks_and_the_best_in_bold():
    text = markdown(TABLE)
    assert r"**58.82** ± 0.70 \[57.1, 60.3\] \*†" in text
    assert "| 0.0001 |" in text
    assert re.search(r"\| b +\| +- \| +- \| +- \|", text)


def test_a_deviation_beside_significant_digits_has_one_digit():
    table = Table(["a", "loss"], [["b", Number(0.031622, 0.000933, form=".3g")]])
    assert "| 0.0316 ± 0.0009 |" in markdown(table)


def test_markdown_has_title_warnings_and_notes_above_the_table():
    lines = [line for line in markdown(TABLE).splitlines() if line]
    assert lines[:3] == ["### A title with 5% &amp; more", "**A warning.**", "A note."]


def test_no_text_from_data_has_a_meaning_in_markdown():
    escaped = escape_markdown(NASTY + "\n# heading")
    assert escaped == r"a\|b\<i\>&amp;\_$%\#\{x\}\~^\\\*\[y\] \# heading"
    row = next(line for line in markdown(TABLE).splitlines() if line.startswith("| a"))
    assert len(re.findall(r"(?<!\\)\|", row)) == len(TABLE.header) + 1


@pytest.mark.parametrize("character", list("&%$#_{}~^\\<>|["))
def test_every_special_character_of_latex_is_escaped(character):
    assert escape_latex(character) != character
    assert escape_latex(f"a{character}b").startswith("a")


def test_latex_is_balanced_has_a_row_for_each_row_and_as_many_cells_as_columns():
    text = latex(TABLE, "cnn")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    bare = re.sub(r"\\[\\{}&%$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(TABLE.rows) + len(TABLE.foot)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(TABLE.header) - 1}
    assert r"\begin{tabular}{lrrr}" in text


def test_latex_shows_number_deviation_interval_and_marks_and_the_best_in_bold():
    assert r"\textbf{58.82}\textsuperscript{*$\dagger$} $\pm$ 0.70 {[}57.1, 60.3]" in latex(TABLE)


def test_the_caption_says_where_and_the_label_is_the_name():
    text = latex(TABLE, "timm/resnet_18")
    assert r"\caption{A title with 5\% \& more (timm/resnet\_18). A warning. A note.}" in text
    assert r"\label{tab:table-2}" in text


def test_the_caption_leaves_the_number_to_latex():
    assert r"\caption{The methods.}" in latex(Table(["a"], [], title="Table 2. The methods"))
    assert r"\caption{The tests behind Table 2.}" in latex(Table(["a"], [], title="The tests behind Table 2"))


@pytest.mark.parametrize("word", ["=1+1", "+cmd", "-x", "@SUM(A1)", "=HYPERLINK(0)", "-", "--1"])
def test_a_spreadsheet_computes_nothing_of_a_word_in_a_csv_file(word):
    table = Table([word, "UAR"], [[word, Number(-5.5, 0.7, (-7.0, 60.3), word)]], [[word, Number(25.0)]])
    text = to_csv(table)
    for row in csv.reader(io.StringIO(text)):
        assert row[0] == f"'{word}"
    (first, _) = read(text)
    assert first["UAR marks"] == f"'{word}"
    assert (first["UAR"], first["UAR low"]) == ("-5.5", "-7.0")


@pytest.mark.parametrize("word", ["-5.5", "+1e3", "-inf", "fold 1", "a=b", "", "\\t=1"])
def test_numbers_and_other_words_stay_as_they_are_in_a_csv_file(word):
    assert list(csv.reader(io.StringIO(to_csv(Table(["x", "y"], [[word, "z"]])))))[1] == [word, "z"]


def test_what_does_not_print_is_escaped_in_a_csv_file():
    assert list(csv.reader(io.StringIO(to_csv(Table(["x\r=1"], [["\t=1\n"]]))))) == [["x\\r=1"], ["\\t=1\\n"]]
