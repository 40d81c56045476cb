"""The configuration: what it refuses, and its JSON."""

import json
from dataclasses import FrozenInstanceError, asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet_plugin import ConfigError, DisentangleConfig

weights = st.floats(0, 1e6)
configs = st.builds(
    DisentangleConfig,
    alpha=weights,
    beta=weights,
    gamma=weights,
    orthogonality=st.sampled_from(["zscore", "row_norm"]),
    orthogonality_reduction=st.sampled_from(["mean", "sum"]),
    reconstruction_reduction=st.sampled_from(["mean", "sum"]),
    calibration=st.sampled_from(["sym_kl", "js"]),
    temperature=st.floats(1e-3, 1e3),
    bottleneck=st.none() | st.integers(1, 4096),
    classifier_hidden=st.integers(1, 4096),
    dropout=st.floats(0, 1, exclude_max=True),
)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(configs)
def test_json_gives_the_same_configuration_back(config):
    assert DisentangleConfig.from_json(config.to_json()) == config


def test_json_holds_every_setting_and_the_version():
    assert json.loads(DisentangleConfig().to_json()) == asdict(DisentangleConfig()) | {"version": 1}


def test_json_without_a_setting_takes_its_default():
    assert DisentangleConfig.from_json('{"alpha": 2}') == DisentangleConfig(alpha=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{alpha: 1}", "is not JSON"),
        ("[1]", "JSON list; expected an object"),
        ('"alpha"', "JSON str; expected an object"),
        ('{"alfa": 1, "zeta": 2}', "unknown settings alfa, zeta; expected alpha, beta"),
        ('{"version": 2}', "version=2: this release reads version 1"),
        ('{"alpha": null}', "alpha=None: expected a finite weight"),
        ('{"temperature": "1"}', "temperature='1': expected a finite number above 0"),
        ('{"dropout": [0.5]}', r"dropout=\[0.5\]: expected a rate"),
        ('{"calibration": "kl"}', "calibration='kl': expected one of 'sym_kl', 'js'"),
        ('{"calibration": ["js"]}', "calibration="),
        ('{"alpha": NaN}', "alpha=nan: expected a finite weight"),
    ],
)
def test_json_that_is_not_a_configuration_is_refused_by_name(text, message):
    with pytest.raises(ConfigError, match=message):
        DisentangleConfig.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("alpha", "beta", "gamma") for value in (-0.1, float("inf"), float("nan"))],
        *[("temperature", value) for value in (0, -1.0, float("inf"), float("nan"))],
        *[("dropout", value) for value in (-0.1, 1.0, float("nan"))],
        *[(name, value) for name in ("bottleneck", "classifier_hidden") for value in (0, -3)],
        *[(f"{name}_reduction", "none") for name in ("orthogonality", "reconstruction")],
        ("orthogonality", "cosine"),
        ("calibration", None),
        ("version", 0),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"^{name}={value!r}: "):
        DisentangleConfig(**{name: value})


@pytest.mark.parametrize("name", ["bottleneck", "classifier_hidden"])
@pytest.mark.parametrize("width", [0, -1, 2.5, True, "8"])
def test_a_width_that_is_not_a_whole_number_is_refused(name, width):
    with pytest.raises(ConfigError, match=f"{name}={width!r}: expected a whole number"):
        DisentangleConfig(**{name: width})


def test_defaults_are_the_papers_with_means_in_place_of_sums():
    config = DisentangleConfig()
    assert (config.alpha, config.beta, config.gamma) == (1, 1, 1)
    assert (config.orthogonality, config.orthogonality_reduction) == ("zscore", "mean")
    assert (config.reconstruction_reduction, config.calibration, config.temperature) == ("mean", "sym_kl", 1)
    assert (config.bottleneck, config.classifier_hidden, config.dropout) == (None, 64, 0.5)


def test_paper_literal_sums_equations_4_and_6():
    assert DisentangleConfig.paper_literal() == DisentangleConfig(
        orthogonality="zscore", orthogonality_reduction="sum", reconstruction_reduction="sum", calibration="sym_kl"
    )


def test_public_code_normalises_rows_averages_and_takes_jensen_shannon():
    assert DisentangleConfig.public_code() == DisentangleConfig(
        orthogonality="row_norm", orthogonality_reduction="mean", reconstruction_reduction="mean", calibration="js"
    )


def test_a_configuration_is_frozen_and_hashable():
    config = DisentangleConfig()
    with pytest.raises(FrozenInstanceError):
        config.alpha = 2
    assert {config: "found"}[DisentangleConfig()] == "found"
