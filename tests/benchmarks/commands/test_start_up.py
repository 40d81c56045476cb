"""Help, lists and wrong calls are answered without what computes: torch alone takes seconds to import."""

import importlib
import json
import subprocess
import sys

import pytest

import backbones
from benchmarks import methods
from benchmarks.corpora.base import SAMPLE_RATE
from benchmarks.studies.start_up import CALLS

HEAVY = {"torch", "matplotlib", "sklearn", "scipy", "pandas", "transformers", "numpy", "soundfile", "joblib"}

CODE = """
import json, sys
sys.argv = ["dsnet", *json.loads(sys.argv[1])]
from benchmarks.__main__ import main
try:
    main()
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_it_is_answered_without_what_computes(call):
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(call)], capture_output=True, text=True, check=True, timeout=600
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == (
        2 if "--nonsense" in call or "nonsense" in call or call == ("train", "--corpus", "ravdess") else 0
    )
    assert len(done.stdout) + len(done.stderr) > 100
    assert HEAVY & {name.partition(".")[0] for name in modules} == set()


@pytest.mark.parametrize("package", ["benchmarks.methods", "benchmarks.training", "benchmarks.data", "benchmarks.grid"])
def test_names_that_are_imported_late_are_there(package):
    module = importlib.import_module(package)
    assert {name for name in module.__all__ if not hasattr(module, name)} == set()
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        _ = module.nonsense


def test_the_names_for_help_are_those_of_the_methods_and_the_rate_that_of_the_front_end():
    assert tuple(name for name in methods.METHODS if name not in methods.VARIANTS) == methods.METHOD_NAMES
    assert SAMPLE_RATE == backbones.SAMPLE_RATE
