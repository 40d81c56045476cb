"""What the packages promise as a whole: few needs, documented names, one base error, imports that point down."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import backbones
import dsnet_plugin
from dsnet_plugin import errors

ROOT = Path(dsnet_plugin.__file__).parents[1]
EXTRAS = [
    "accelerate",
    "matplotlib",
    "pandas",
    "scipy",
    "sklearn",
    "soundfile",
    "timm",
    "torchaudio",
    "transformers",
    "typer",
]

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run_without(blocked, code):
    """Runs code in a fresh process in which importing any of the blocked packages fails."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCK.format(blocked=set(blocked)) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def test_the_plug_in_trains_without_any_extra():
    done = run_without(
        [*EXTRAS, "numpy"],
        "import torch\n"
        "from dsnet_plugin import *\n"
        "head = DisentangleHead(8, 3)\n"
        "batch = NeutralReferences(['a', 'a', 'b', 'b'], [True, False, True, False]).batch([1, 3])\n"
        "loss = head(torch.rand(2, 8), torch.tensor([0, 2]), torch.rand(2, 8), batch.neutral_index).loss\n"
        "loss.backward()\n"
        "print('finite', bool(loss.isfinite()))\n",
    )
    assert done.stdout == "finite True\n", done.stderr


@pytest.mark.parametrize("package", [dsnet_plugin, backbones])
def test_every_public_name_exists_and_has_its_own_docstring(package):
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, type) or callable(value):
            assert "__doc__" in vars(value) or inspect.isfunction(value), name
            assert (value.__doc__ or "").strip(), name
        else:
            assert name.isupper(), f"{name} is neither a class, a function nor a constant"


@pytest.mark.parametrize("package", [dsnet_plugin, backbones])
def test_all_is_unique_and_star_import_gives_it(package):
    assert len(set(package.__all__)) == len(package.__all__)
    namespace = {}
    exec(f"from {package.__name__} import *", namespace)
    assert set(package.__all__) <= set(namespace)


def test_every_error_derives_from_the_one_base_class():
    own = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(own) > 1
    for error in own:
        assert issubclass(error, dsnet_plugin.DSNetError)
        assert getattr(dsnet_plugin, error.__name__) is error


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module.partition(".")[0]


def test_the_plug_in_imports_torch_safetensors_and_the_standard_library_alone():
    allowed = {"torch", "safetensors", "dsnet_plugin"} | sys.stdlib_module_names
    guarded = {"probes.py": {"sklearn"}}  # inside a function: the tests above and of the probes block them
    for path in sources("dsnet_plugin"):
        assert set(imported_packages(path)) <= allowed | guarded.get(path.name, set()), path


@pytest.mark.parametrize("package", ["dsnet_plugin", "backbones", "benchmarks"])
def test_no_source_file_outgrows_an_afternoon(package):
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(package)}
    assert {path: length for path, length in lengths.items() if length >= 320} == {}


@pytest.mark.parametrize("package", [dsnet_plugin, backbones])
def test_no_public_name_is_that_of_a_module_which_would_take_its_place(package):
    modules = {path.stem for path in sources(package.__name__)} | {"wrapping"}
    assert modules & set(package.__all__) == set()


@pytest.mark.parametrize("package", ["dsnet_plugin", "backbones"])
def test_a_package_is_imported_without_torch_and_each_name_when_it_is_asked_for(package):
    code = f"import sys, {package}; print('torch' in sys.modules, hasattr({package}, 'nonsense'))"
    assert run_without([], code).stdout == "False False\n"
