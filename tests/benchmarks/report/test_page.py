import re
from html.parser import HTMLParser

import pytest

from benchmarks.output.table import Interval, Number, Table
from benchmarks.report import write_report
from benchmarks.report.page import render_page
from benchmarks.report.section import Section
from tests.benchmarks.report.records import Corpus, cell, write_run, write_spaces

NASTY = '<b id="evil">&amp;|_$</b>'
NUMBERS = [Number(9.5), Number(-3.0), None, Number(100.25), Number(10.0), Number(float("nan"))]
WORDS = ["beta", "alpha", "Gamma", "delta", "fold 10", "fold 9"]
INTERVALS = [Interval(float(low), 99.0) for low in (5, 40, 30, 20, 100, 6)]
TABLE = Table(
    ["word", "number", "interval"],
    list(zip(WORDS, NUMBERS, INTERVALS, strict=True)),
    foot=[["chance", Number(25.0), ""]],
    name="table-2",
    title="Words and numbers",
)
FOLDED = Table(
    ["word", *(f"a long header number {i}" for i in range(12))],
    [["x"] * 13],
    folded=True,
    name="behind",
    title="Folded",
)

CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (text) => rgb(text).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let worst = 21;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    worst = Math.min(worst, (pair[0] + 0.05) / (pair[1] + 0.05));
  }
  return worst;
})()"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A page of two tables alone."""
    path = tmp_path_factory.mktemp("small") / "page.html"
    path.write_text(render_page([("Corpora", [NASTY])], [NASTY], [Section(NASTY, NASTY, items=[TABLE, FOLDED])]))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page of a run whose names hold everything that could do harm."""
    corpus, other = Corpus(NASTY, speakers=3), Corpus("a" * 60, speakers=3)
    run = tmp_path_factory.mktemp("whole") / "run"
    lines = [
        *(
            cell(m, corpus, fold, seed, targets=(other,))
            for m in ("baseline", "dsnet")
            for fold in range(3)
            for seed in (0, 1)
        ),
        cell("menan", corpus, 0, label=NASTY),
        *(cell("dsnet", corpus, fold, label=f"{NASTY} {'b' * 60}", config={"temperature": 0.1}) for fold in range(3)),
    ]
    for line in lines:
        line["folder"] = re.sub(r"[^a-z0-9/-]", "_", line["folder"])
    write_run(run, lines)
    for line in lines[:1] + lines[6:7]:
        write_spaces(run, line, corpus)
    return write_report([run], say=lambda _: None)


def column(page, place):
    return page.ask(
        f"[...document.querySelector('#table-2 tbody').rows].map((row) => row.cells[{place}].textContent.trim())"
    )


def head(page, place):
    return page.driver.find_elements("css selector", "#table-2 thead button")[place]


def orders(page):
    return page.ask(
        "[...document.querySelectorAll('#table-2 th[scope=col]')].map((th) => th.getAttribute('aria-sort'))"
    )


def test_a_click_sorts_by_number_and_not_by_letter_and_what_is_empty_stays_last(browser, small):
    browser.open(small)
    head(browser, 1).click()
    assert column(browser, 1) == ["-3.00", "9.50", "10.00", "100.25", "-", "-"]
    assert column(browser, 0) == ["alpha", "beta", "fold 10", "delta", "Gamma", "fold 9"]
    assert orders(browser) == [None, "ascending", None]
    head(browser, 1).click()
    assert column(browser, 1) == ["100.25", "10.00", "9.50", "-3.00", "-", "-"]
    assert orders(browser) == [None, "descending", None]


def test_a_third_click_puts_the_rows_back(browser, small):
    browser.open(small)
    for _ in range(3):
        head(browser, 1).click()
    assert column(browser, 0) == WORDS
    assert orders(browser) == [None, None, None]


def test_words_and_intervals_are_sorted_too_and_one_column_at_a_time(browser, small):
    browser.open(small)
    head(browser, 0).click()
    assert column(browser, 0) == ["alpha", "beta", "delta", "fold 9", "fold 10", "Gamma"]
    head(browser, 2).click()
    assert [text[1:].split(",")[0] for text in column(browser, 2)] == ["5.0", "6.0", "20.0", "30.0", "40.0", "100.0"]
    assert orders(browser) == [None, None, "ascending"]


def test_the_row_of_chance_stays_below(browser, small):
    browser.open(small)
    head(browser, 1).click()
    assert browser.ask("document.querySelector('#table-2 tfoot').textContent.includes('chance')")
    assert "chance" not in column(browser, 0)


def test_words_stand_to_the_left_and_numbers_to_the_right(browser, small):
    browser.open(small)
    cells = (
        "[...document.querySelector('#table-2 tbody').rows[2].cells].map((cell) => getComputedStyle(cell).textAlign)"
    )
    assert browser.ask(cells) == ["left", "right", "right"]


UNDER = """(() => {
  const box = document.querySelector('#table-2 .scroll');
  box.scrollIntoView();
  const head = box.querySelector('thead th');
  for (let by = 20; by < 200; by += 10) {
    box.scrollLeft = by;
    const place = head.getBoundingClientRect();
    for (let x = place.left + 8; x < place.right - 2; x += 3)
      for (let y = place.bottom - 26; y < place.bottom - 2; y += 4)
        if (!head.contains(document.elementFromPoint(x, y))) return [by, x, y];
  }
  return box.scrollLeft;
})()"""


def test_what_scrolls_goes_under_the_first_column(browser, whole):
    browser.open(whole, 375)
    assert browser.ask(UNDER) == 190


def test_the_keyboard_sorts(browser, small):
    from selenium.webdriver.common.keys import Keys

    browser.open(small)
    head(browser, 1).send_keys(Keys.ENTER)
    assert column(browser, 1)[0] == "-3.00"
    head(browser, 1).send_keys(Keys.SPACE)
    assert column(browser, 1)[0] == "100.25"


def test_a_link_of_the_contents_opens_what_is_folded(browser, small):
    browser.open(small)
    assert not browser.ask("document.querySelector('details').open")
    browser.driver.find_element("css selector", 'a[href="#behind"]').click()
    assert browser.ask("document.querySelector('details').open")


def test_names_from_data_are_text_and_never_markup(browser, small, whole):
    for page in (small, whole):
        browser.open(page)
        assert browser.ask("document.getElementById('evil')") is None
        assert browser.ask("document.querySelector('dd').textContent").startswith(NASTY)
    assert browser.ask("[...document.querySelectorAll('#table-2 thead button')].map((b) => b.textContent)")[2] == NASTY


def test_nothing_is_requested_and_nothing_complains(browser, whole):
    browser.open(whole)
    browser.ask(
        "document.fonts.ready.then(() => document.querySelectorAll('details').forEach((d) => { d.open = true; }))"
    )
    assert {url for url in browser.requested() if not url.startswith("data:")} == {whole.as_uri()}
    assert (
        browser.ask("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    )
    assert browser.complaints() == []


class References(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [
            value for name, value in attributes if name in ("src", "href", "srcset", "action", "data", "poster")
        ]


def test_the_page_refers_to_nothing_outside_itself(whole):
    text = whole.read_text()
    parser = References()
    parser.feed(text)
    assert len(parser.found) > 10
    assert {value.partition(":")[0] for value in parser.found if not value.startswith("#")} == {"data"}
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import", style)
    assert not re.search(r"https?://", re.sub(r'"data:[^"]*"', "", text))


def test_every_link_of_the_contents_leads_somewhere(browser, whole):
    browser.open(whole)
    links = "[...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href').slice(1))"
    assert len(browser.ask(links)) > 8
    assert browser.ask(f"{links}.filter((id) => !document.getElementById(id))") == []


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_the_page_never_scrolls_sideways_its_tables_do(browser, whole, width):
    browser.open(whole, width)
    browser.ask("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    wider = browser.ask(
        "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).length"
    )
    assert wider > 0
    boxes = browser.ask("[...document.querySelectorAll('.scroll')].map((box) => box.getBoundingClientRect().right)")
    assert max(boxes) <= width


def test_the_first_column_stays_readable_on_a_phone(browser, whole):
    browser.open(whole, 375)
    widths = browser.ask("[...document.querySelectorAll('tbody th')].map((th) => th.getBoundingClientRect().width)")
    shown = [width for width in widths if width]
    assert min(shown) >= 80
    assert max(shown) <= 375 / 2


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_each_scheme_has_its_ground_and_everything_on_it_can_be_read(browser, whole, scheme, dark):
    browser.open(whole, scheme=scheme)
    red, green, blue = map(int, re.findall(r"\d+", browser.ask("getComputedStyle(document.body).backgroundColor"))[:3])
    assert (max(red, green, blue) < 50) if dark else (min(red, green, blue) > 240)
    assert browser.ask(CONTRAST) >= 4.5


def test_figures_are_drawn_on_white_in_the_dark_too(browser, whole):
    browser.open(whole, scheme="dark")
    pictures = "[...document.querySelectorAll('.picture')]"
    assert browser.ask(f"{pictures}.length") == 3
    assert set(browser.ask(f"{pictures}.map((box) => getComputedStyle(box).backgroundColor)")) == {"rgb(255, 255, 255)"}
    assert min(browser.ask(f"{pictures}.map((box) => box.querySelector('img').naturalWidth)")) > 300
    assert all(browser.ask(f"{pictures}.map((box) => box.querySelector('img').alt)"))


def test_warnings_of_a_table_stand_above_it(browser, whole):
    browser.open(whole)
    assert "compared over the 1 fold and 1 seed" in browser.ask(
        "document.querySelector('#table-2 .remarks').textContent"
    )
