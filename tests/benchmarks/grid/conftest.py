import pytest
import torch

from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.grid.run import run_suite
from benchmarks.grid.spec import read_spec
from tests.benchmarks.grid.small_grid import write_spec


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Sums depend on the number of threads; so many has each of two jobs on two cores, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def root(tmp_path_factory):
    """Three speakers with three utterances of each class."""
    root = tmp_path_factory.mktemp("corpora") / "small"
    generate(root, SyntheticSettings(speakers=3, utterances=12, correlation=0.0, seconds=0.5))
    return root


@pytest.fixture
def spec(tmp_path, root):
    return write_spec(tmp_path, root)


@pytest.fixture(scope="package")
def whole(root, tmp_path_factory):
    """The run of an undisturbed grid, in one process."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = run_suite(read_spec(str(write_spec(folder, root)), {}), folder / "out")
    assert (len(outcome.records), outcome.failed, outcome.left) == (4, {}, 0)
    return folder / "out"
