"""The documentation: it builds without a warning, its links hold, it loads nothing from elsewhere, it tells what is there."""

import ast
import doctest
import os
import pkgutil
import re
import runpy
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
import typer

from benchmarks import errors as benchmark_errors
from benchmarks.commands.app import app
from benchmarks.presets import presets
from dsnet_plugin import DSNetError
from dsnet_plugin import errors as plugin_errors

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGES = ("dsnet_plugin", "backbones", "benchmarks")
PAPER = [
    *("E", "C", "R", "P_er", "P_ei", "X", "X_n", "h", "h_n", "z_er", "z_ei"),
    *(f"Eq. {number}" for number in range(1, 11)),
    *(f"Table {number}" for number in range(1, 5)),
    *(f"Figure {number}" for number in range(1, 5)),
]

SAMPLE = """
site_name: sample
strict: true
theme: {{name: null, custom_dir: theme}}
plugins:
  - mkdocstrings:
      handlers: {{python: {{paths: [.], options: {{extensions: ["{extension}:Docstrings"]}}}}}}
"""


def build(config, folder):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found["id"]} if found.get("id") else set()
        if tag == "a":
            self.links += [found["href"]] if "href" in found else []
        else:
            self.loaded += [found[key] for key in ("href", "src", "srcset", "data", "poster") if found.get(key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_link_and_file_within_the_site_is_there(site, pages):
    assert len(pages) > 15
    broken = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            if re.match(r"[a-z]+:|//", link):
                continue
            url, fragment = urldefrag(link)
            start = site if url.startswith("/") else path.parent
            target = (start / unquote(url).lstrip("/")).resolve() if url else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (fragment and fragment not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_no_page_loads_anything_from_another_host(site, pages):
    elsewhere = re.compile(r"(https?:)?//")
    assert [(path.name, url) for path, page in pages.items() for url in page.loaded if elsewhere.match(url)] == []
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_a_name_without_docstring_and_a_reference_to_nothing_fail_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("::: sample\n")
    (tmp_path / "mkdocs.yml").write_text(SAMPLE.format(extension=DOCS / "docstrings.py"))
    (tmp_path / "theme").mkdir()
    (tmp_path / "theme" / "main.html").write_text("{{ page.content }}")
    source = '"""A module."""\n\n\ndef documented():\n    """See :func:`documented`."""\n\n\ndef _private(): ...\n'
    (tmp_path / "sample.py").write_text(source)
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    faults = {
        "\n\ndef bare(): ...\n": "sample.bare has no docstring",
        "\n\nclass Bare:\n    def method(self): ...\n": "sample.Bare.method has no docstring",
        '\n\ndef wrong():\n    """See :func:`nothing`."""\n': "sample.wrong mentions nothing",
    }
    (tmp_path / "sample.py").write_text(source + "".join(faults))
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert [message for message in faults.values() if message not in done.stdout + done.stderr] == []


@pytest.mark.parametrize("package", ["dsnet_plugin", "backbones", "benchmarks.methods", "benchmarks.corpora"])
def test_the_reference_has_every_public_name(site, package):
    inventory = (site / "objects.inv").read_bytes().split(b"\n", maxsplit=4)[4]
    paths = [line.split(" ", maxsplit=1)[0] for line in zlib.decompress(inventory).decode().splitlines()]
    shown = {path.rpartition(".")[2] for path in paths if path.startswith(package)}
    assert set(import_module(package).__all__) - shown == set()


def rows(page):
    """The rows of a page's tables, each a list of its cells."""
    for line in page.splitlines():
        if line.startswith("|") and not re.match(r"\|[-| ]+\|$", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_mapping_leads_every_symbol_equation_table_and_figure_to_something_importable():
    text = (DOCS / "paper.md").read_text(encoding="utf-8")
    mapped = {}
    for first, *others in rows(text):
        for name in re.findall(r"\*\*(.+?)\*\*", first):
            mapped[name] = [path for cell in others for path in re.findall(r"\]\[([\w.]+)\]", cell)]
    assert set(PAPER) - set(mapped) == set()
    found = re.findall(r"\]\[([\w.]+)\]", text)
    assert len(found) > 50
    for path in found:
        pkgutil.resolve_name(path)
    for name in PAPER:
        assert mapped[name], f"{name} leads nowhere"
    for section in ("Section 4.2", "Section 4.3"):
        body = text.partition(f"## {section}")[2].partition("\n## ")[0]
        entries = [row for row in rows(body) if "**" in row[0]]
        assert len(entries) > 5
        assert [row[0] for row in entries if "][" not in row[1]] == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.relative_to(DOCS).as_posix())
def test_files_commands_and_presets_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    for file in re.findall(r"`((?:dsnet_plugin|backbones|benchmarks)/[\w/]+\.\w+)`", text):
        assert (ROOT / file).is_file(), file
    commands = typer.main.get_command(app).commands
    for command, argument in re.findall(r"`dsnet ([a-z]+)(?: ([a-z][a-z-]*))?", text):
        assert command in commands, command
        if command == "benchmark" and argument:
            assert argument in presets(), argument


def test_every_error_class_is_explained():
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\w+)$", text, re.MULTILINE))
    classes = {
        name
        for module in (plugin_errors, benchmark_errors)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, DSNetError)
    }
    assert len(classes) > 10
    assert sections == classes


def parsed(packages):
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def explained():
    """The messages on the troubleshooting page, ``...`` for what varies."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^`(.+)`\n:   ", text, re.MULTILINE)
    assert len(messages) == text.count("\n:   "), "a message that is not one line in backquotes"
    return messages


def test_every_message_on_the_troubleshooting_page_is_one_of_the_source():
    messages = explained()
    assert len(messages) > 100
    texts = [node.value for _, tree in parsed(PACKAGES) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    known = "\0".join(text for text in texts if isinstance(text, str))
    unknown = [message for message in messages if any(part.strip() not in known for part in message.split("..."))]
    assert not unknown, "\n".join(unknown)


def template(node):
    """A message as the source builds it, with ``...`` for what varies."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    if isinstance(node, ast.BinOp):
        return template(node.left) + template(node.right)
    return "..."


def test_every_message_of_the_plug_in_and_of_the_encoders_is_explained():
    patterns = [re.compile(".*".join(map(re.escape, message.split("...")))) for message in explained()]
    raised = {
        template(node.exc.args[0]): path
        for path, tree in parsed(["dsnet_plugin", "backbones"])
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
        if "has no attribute" not in template(node.exc.args[0])  # Python's own words
    }
    assert len(raised) > 50
    missing = [f"{path}: {text}" for text, path in raised.items() if not any(p.search(text) for p in patterns)]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("page", ["choosing.md", "tasks.md"])
def test_examples_give_what_the_page_says(page):
    blocks = re.findall(r"^```pycon\n(.+?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0)
    assert len(examples.examples) > 5
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_the_picture_of_the_layer_is_what_its_script_draws():
    drawn = runpy.run_path(str(DOCS / "picture_of_the_layer.py"))["picture"]()
    assert (DOCS / "layer.svg").read_text(encoding="utf-8") == drawn
