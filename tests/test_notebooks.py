from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))

PATIENCE = 900  # seconds a cell: the machine may be busy

SMALLER = {
    "01_wrap_your_model": {"epochs=12": "epochs=2"},
    "02_train_and_compare": {
        'folds="0,1"': 'folds="0"',
        '"epochs": 4, "max_frames": 32': '"epochs": 1, "max_frames": 16',
    },
    "03_look_inside": {'"epochs": 10': '"epochs": 1'},
    "04_choose_a_backbone": {'"epochs": 2, "max_frames": 32': '"epochs": 1, "max_frames": 32'},
    "05_your_own_corpus": {'"epochs": 6': '"epochs": 1'},
    "06_one_neutral_sentence": {"epochs=20": "epochs=2"},
}
"""What a run changes in a notebook, so that it trains for seconds; all that the notebook does with what is trained stays."""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shorten(notebook, changes):
    """Replaces each text, which stands once in the notebook."""
    for text, shorter in changes.items():
        (cell,) = [cell for cell in code_cells(notebook) if text in cell.source]
        assert cell.source.count(text) == 1
        cell.source = cell.source.replace(text, shorter)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_on_the_synthetic_corpus(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    shorten(notebook, SMALLER[path.stem])
    # An error in a cell is raised here, with its traceback.
    NotebookClient(
        notebook, timeout=PATIENCE, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert all(cell.execution_count for cell in code_cells(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_the_outputs_of_one_run_and_shows_a_picture(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebooks_first_line_of_code_is_its_corpus(path):
    first = code_cells(nbformat.read(path, as_version=4))[0].source
    assert first.startswith("CORPUS = ")
    assert "\n" not in first


def test_there_are_six_and_the_list_names_them():
    listed = (NOTEBOOKS[0].parent / "README.md").read_text()
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]
    assert all(f"({path.name})" in listed for path in NOTEBOOKS)
