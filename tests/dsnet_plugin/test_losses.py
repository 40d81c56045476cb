"""The three losses against numpy, against numerical derivatives, and at the edges of half precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy
from torchmetrics.functional import concordance_corrcoef

from dsnet_plugin import (
    ConfigError,
    ShapeError,
    calibration_loss,
    concordance_loss,
    orthogonality_loss,
    reconstruction_loss,
)

SHAPES = [(2, 3), (7, 5), (32, 16), (5, 40)]
PROPERTY = settings(deadline=None, max_examples=30, derandomize=True)
seeds = st.integers(0, 2**16)
rows = st.integers(2, 12)
widths = st.integers(1, 9)


def normal(*shape, seed=0, dtype=torch.float32, scale=1.0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale).to(dtype)


def numpy64(*tensors):
    return [tensor.detach().double().numpy() for tensor in tensors]


def gradients(loss, *inputs):
    """The loss of fresh leaves and its gradient with respect to each."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    value.backward()
    return value.detach(), [leaf.grad for leaf in leaves]


# --- values -----------------------------------------------------------------------------------------------------------


def expected_orthogonality(a, b, kind, reduction):
    n = len(a)
    entries = []
    if kind == "row_norm":
        a, b = (np.array([row / (np.linalg.norm(row) + 1e-6) for row in x - x.mean(axis=0)]) for x in (a, b))
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            if kind == "zscore":
                correlation = np.corrcoef(a[:, i], b[:, j])[0, 1]
                entries.append(correlation if reduction == "mean" else n * correlation)
            else:
                entries.append(sum(a[k, i] * b[k, j] for k in range(n)))
    squares = np.square(entries)
    return squares.mean() if reduction == "mean" else squares.sum()


def expected_calibration(z, h, kind, temperature, weight=None):
    divergences = []
    for z_row, h_row in zip(z, h, strict=True):
        p, q = softmax(z_row / temperature), softmax(h_row / temperature)
        divergences.append((entropy(p, q) + entropy(q, p)) / 2 if kind == "sym_kl" else jensenshannon(p, q) ** 2)
    return np.average(divergences, weights=weight)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", ["zscore", "row_norm"])
def test_orthogonality_equals_numpy(kind, reduction, shape):
    n, d = shape
    z_er, z_ei = normal(n, d, seed=1, scale=3) + 2, normal(n, d + 2, seed=2)
    got = orthogonality_loss(z_er, z_ei, kind, reduction)
    np.testing.assert_allclose(got, expected_orthogonality(*numpy64(z_er, z_ei), kind, reduction), rtol=1e-5)


def test_default_orthogonality_is_the_mean_squared_correlation():
    z_er, z_ei = normal(20, 6, seed=1), normal(20, 4, seed=2)
    correlations = np.corrcoef(*numpy64(z_er, z_ei), rowvar=False)[:6, 6:]
    np.testing.assert_allclose(orthogonality_loss(z_er, z_ei), (correlations**2).mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "reduction", "magnitude"),
    [("zscore", "sum", 2.1e6), ("row_norm", "mean", 4.9e-4), ("zscore", "mean", 0.031)],
)
def test_orthogonality_of_random_features_has_the_documented_magnitude(kind, reduction, magnitude):
    z_er, z_ei = normal(32, 256, seed=1), normal(32, 256, seed=2)
    assert orthogonality_loss(z_er, z_ei, kind, reduction).item() == pytest.approx(magnitude, rel=0.1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reconstruction_equals_numpy(reduction, shape):
    h, h_hat = normal(*shape, seed=1), normal(*shape, seed=2, scale=2)
    per_row = [sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for a, b in zip(*numpy64(h, h_hat), strict=True)]
    expected = np.mean(per_row) / (shape[1] if reduction == "mean" else 1)
    np.testing.assert_allclose(reconstruction_loss(h, h_hat, reduction), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("kind", ["sym_kl", "js"])
def test_calibration_equals_scipy(kind, temperature, weighted, shape):
    z_ei, h_n = normal(*shape, seed=1), normal(*shape, seed=2)
    weight = torch.linspace(0, 1.5, shape[0]) if weighted else None
    got = calibration_loss(z_ei, h_n, kind, temperature, weight)
    expected = expected_calibration(
        *numpy64(z_ei, h_n), kind, temperature, weight if weight is None else weight.numpy()
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_symmetric_kl_is_four_times_jensen_shannon_near_equality():
    z_ei = normal(8, 32, dtype=torch.float64)
    h_n = z_ei + 0.01 * normal(8, 32, seed=1, dtype=torch.float64)
    ratio = calibration_loss(z_ei, h_n, "sym_kl") / calibration_loss(z_ei, h_n, "js")
    assert ratio.item() == pytest.approx(4, rel=1e-3)


# --- derivatives ------------------------------------------------------------------------------------------------------

DIFFERENTIABLE = {
    "zscore mean": lambda a, b: orthogonality_loss(a, b, "zscore", "mean"),
    "zscore sum": lambda a, b: orthogonality_loss(a, b, "zscore", "sum"),
    "reconstruction mean": lambda a, b: reconstruction_loss(a, b, "mean"),
    "reconstruction sum": lambda a, b: reconstruction_loss(a, b, "sum"),
    "sym_kl": lambda a, b: calibration_loss(a, b, "sym_kl", 0.5),
    "js": lambda a, b: calibration_loss(a, b, "js", 0.5),
    "weighted": lambda a, b: calibration_loss(a, b, "sym_kl", 1.0, torch.tensor([0.0, 1.0, 0.5, 2.0])),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_of_both_sides_is_the_true_derivative(name):
    inputs = [normal(4, 3, seed=seed, dtype=torch.float64).requires_grad_() for seed in (1, 2)]
    assert torch.autograd.gradcheck(DIFFERENTIABLE[name], inputs)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_row_norm_gradient_holds_the_norms_constant(reduction):
    z_er, z_ei = normal(6, 4, seed=1, dtype=torch.float64), normal(6, 3, seed=2, dtype=torch.float64)
    _, got = gradients(lambda a, b: orthogonality_loss(a, b, "row_norm", reduction), z_er, z_ei)

    a, b = (x - x.mean(axis=0) for x in numpy64(z_er, z_ei))
    norm_a, norm_b = (np.linalg.norm(x, axis=1, keepdims=True) + 1e-6 for x in (a, b))
    cross = (a / norm_a).T @ (b / norm_b)
    scale = 2 / cross.size if reduction == "mean" else 2
    by_hand = [scale * (b / norm_b) @ cross.T / norm_a, scale * (a / norm_a) @ cross / norm_b]
    for gradient, expected in zip(got, by_hand, strict=True):
        np.testing.assert_allclose(gradient, expected - expected.mean(axis=0), rtol=1e-9, atol=1e-12)


# --- properties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zscore", "row_norm"])
@PROPERTY
@given(seeds, rows, widths, st.sampled_from(["mean", "sum"]))
def test_orthogonality_ignores_the_order_of_rows_and_of_columns(kind, seed, n, d, reduction):
    z_er, z_ei = normal(n, d, seed=seed, dtype=torch.float64), normal(n, d, seed=seed + 1, dtype=torch.float64)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    columns = torch.randperm(d, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        orthogonality_loss(z_er[order], z_ei[order][:, columns], kind, reduction),
        orthogonality_loss(z_er, z_ei, kind, reduction),
    )


@PROPERTY
@given(seeds, rows, widths, st.data())
def test_zscore_ignores_shift_and_positive_scale_of_columns(seed, n, d, data):
    z_er, z_ei = normal(n, d, seed=seed, dtype=torch.float64), normal(n, d, seed=seed + 1, dtype=torch.float64)
    floats = st.lists(st.floats(1, 100), min_size=d, max_size=d)
    shift, scale = (torch.tensor(data.draw(floats), dtype=torch.float64) for _ in range(2))
    # Two rows may by chance be so close that the epsilon in the variance shows.
    torch.testing.assert_close(
        orthogonality_loss(z_er * scale + shift, z_ei), orthogonality_loss(z_er, z_ei), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@PROPERTY
@given(seeds, widths)
def test_no_loss_is_negative(name, seed, d):
    assert DIFFERENTIABLE[name](normal(4, d, seed=seed), normal(4, d, seed=seed + 1)) >= 0


@PROPERTY
@given(seeds, rows, widths, st.sampled_from(["mean", "sum"]))
def test_reconstruction_is_zero_only_for_equal_features(seed, n, d, reduction):
    h = normal(n, d, seed=seed)
    other = h.clone()
    other[seed % n, seed % d] += 0.01
    assert reconstruction_loss(h, h.clone(), reduction) == 0
    assert reconstruction_loss(h, other, reduction) > 0


@pytest.mark.parametrize("kind", ["sym_kl", "js"])
@PROPERTY
@given(seeds, rows, st.integers(2, 9), st.floats(-20, 20))
def test_calibration_is_zero_only_for_equal_softmaxes(kind, seed, n, d, shift):
    z_ei = normal(n, d, seed=seed, dtype=torch.float64)
    other = z_ei.clone()
    other[seed % n, seed % d] += 0.01
    assert calibration_loss(z_ei, z_ei + shift, kind).item() == pytest.approx(0, abs=1e-14)
    assert calibration_loss(z_ei, other, kind) > 1e-10


@pytest.mark.parametrize("kind", ["sym_kl", "js"])
@PROPERTY
@given(seeds, rows, widths)
def test_calibration_is_symmetric(kind, seed, n, d):
    z_ei, h_n = normal(n, d, seed=seed), normal(n, d, seed=seed + 1)
    torch.testing.assert_close(calibration_loss(z_ei, h_n, kind), calibration_loss(h_n, z_ei, kind))


@pytest.mark.parametrize("kind", ["sym_kl", "js"])
@PROPERTY
@given(st.lists(st.booleans(), min_size=2, max_size=8).filter(any), st.sampled_from([float("nan"), float("inf"), 1e30]))
def test_rows_of_weight_zero_do_not_matter_whatever_they_hold(kind, kept, rubbish):
    kept = torch.tensor(kept)
    z_ei, h_n = normal(len(kept), 5, seed=1), normal(len(kept), 5, seed=2)
    expected, expected_grads = gradients(lambda a, b: calibration_loss(a, b, kind), z_ei[kept], h_n[kept])
    z_ei[~kept], h_n[~kept] = rubbish, -rubbish
    value, grads = gradients(lambda a, b: calibration_loss(a, b, kind, weight=kept), z_ei, h_n)
    torch.testing.assert_close(value, expected)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad[kept], expected_grad)
        assert (grad[~kept] == 0).all()


@pytest.mark.parametrize("kind", ["sym_kl", "js"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float16, torch.int64])
def test_weights_all_zero_give_a_connected_zero(kind, dtype):
    weight = torch.zeros(4, dtype=dtype)
    value, grads = gradients(
        lambda a, b: calibration_loss(a, b, kind, weight=weight), normal(4, 5), normal(4, 5, seed=1)
    )
    assert value == 0
    assert all((grad == 0).all() for grad in grads)


# --- half precision ---------------------------------------------------------------------------------------------------

# Not "zscore sum": its true gradient exceeds float16's range.
LOSSES = {
    "zscore mean": DIFFERENTIABLE["zscore mean"],
    "row_norm mean": lambda a, b: orthogonality_loss(a, b, "row_norm", "mean"),
    "row_norm sum": lambda a, b: orthogonality_loss(a, b, "row_norm", "sum"),
    "reconstruction mean": DIFFERENTIABLE["reconstruction mean"],
    "reconstruction sum": DIFFERENTIABLE["reconstruction sum"],
    "sym_kl": DIFFERENTIABLE["sym_kl"],
    "js": DIFFERENTIABLE["js"],
}


def batch_of(case, seed, scale, dtype):
    features = normal(int(case) if case.isdigit() else 32, 64, seed=seed, scale=scale, dtype=dtype)
    if case == "constant columns":
        features[:, :10] = features[0, :10]
    return features[:1].repeat(32, 1) if case == "equal rows" else features


@pytest.mark.parametrize("scale", [1e-2, 1.0, 200.0])
@pytest.mark.parametrize("case", ["1", "2", "32", "constant columns", "equal rows"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_gives_finite_float32_losses_and_gradients(name, dtype, case, scale):
    value, grads = gradients(LOSSES[name], *(batch_of(case, seed, scale, dtype) for seed in (1, 2)))
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("kind", ["zscore", "row_norm"])
@pytest.mark.parametrize("case", ["1", "equal rows"])
def test_orthogonality_without_variance_is_zero(kind, case):
    value, grads = gradients(
        lambda a, b: orthogonality_loss(a, b, kind), *(batch_of(case, s, 1, torch.float32) for s in (1, 2))
    )
    assert value == 0
    assert all((grad == 0).all() for grad in grads)


@pytest.mark.parametrize("name", [*LOSSES, "zscore sum"])
def test_losses_keep_float64(name):
    loss = DIFFERENTIABLE.get(name) or LOSSES[name]
    assert loss(*(normal(4, 3, seed=s, dtype=torch.float64) for s in (1, 2))).dtype == torch.float64


@pytest.mark.parametrize("name", [*LOSSES, "zscore sum"])
def test_autocast_changes_no_loss(name):
    loss = DIFFERENTIABLE.get(name) or LOSSES[name]
    a, b = normal(16, 8, seed=1), normal(16, 8, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = loss(a, b)
    torch.testing.assert_close(under_autocast, loss(a, b), rtol=0, atol=0)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "a", "b", "seen"),
    [
        (orthogonality_loss, (4, 3), (5, 3), [r"z_er.*\(4, 3\)", r"z_ei.*\(5, 3\)", "equally many rows"]),
        (orthogonality_loss, (4,), (4,), [r"\(4,\)", "matrices"]),
        (orthogonality_loss, (0, 3), (0, 3), [r"\(0, 3\)", "at least one"]),
        (reconstruction_loss, (4, 3), (4, 2), [r"h .*\(4, 3\)", r"h_hat.*\(4, 2\)", "the same"]),
        (reconstruction_loss, (4, 3, 1), (4, 3, 1), [r"\(4, 3, 1\)", "matrices"]),
        (calibration_loss, (4, 3), (4, 2), [r"z_ei.*\(4, 3\)", r"h_n.*\(4, 2\)", "the same"]),
        (calibration_loss, (4, 3), (1, 3), [r"z_ei.*\(4, 3\)", r"h_n.*\(1, 3\)"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(loss, a, b, seen):
    with pytest.raises(ShapeError) as caught:
        loss(torch.zeros(a), torch.zeros(b))
    for pattern in seen:
        caught.match(pattern)


@pytest.mark.parametrize("weight", [torch.ones(3), torch.ones(4, 1), torch.tensor(1.0)])
def test_a_weight_must_have_one_entry_a_row(weight):
    with pytest.raises(ShapeError, match=r"weight has shape .*expected one a row, \(4,\)"):
        calibration_loss(torch.zeros(4, 3), torch.zeros(4, 3), weight=weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: orthogonality_loss(x, x, kind="z"), "kind='z': expected one of 'zscore', 'row_norm'"),
        (lambda x: orthogonality_loss(x, x, reduction="max"), "reduction='max': expected one of 'mean', 'sum'"),
        (lambda x: reconstruction_loss(x, x, reduction="none"), "reduction='none': expected one of 'mean', 'sum'"),
        (lambda x: calibration_loss(x, x, kind="kl"), "kind='kl': expected one of 'sym_kl', 'js'"),
        (lambda x: calibration_loss(x, x, temperature=0), "temperature=0: expected a number above 0"),
        (lambda x: calibration_loss(x, x, temperature=-1), "temperature=-1: expected"),
        (lambda x: calibration_loss(x, x, temperature=float("nan")), "temperature=nan: expected"),
    ],
)
def test_unknown_choices_and_temperatures_are_named_with_what_was_expected(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.zeros(4, 3))


# --- concordance ------------------------------------------------------------------------------------------------------


def expected_concordance(x, y):
    """Lin's formula in its other form: Pearson's correlation times the bias correction."""
    coefficients = []
    for a, b in zip(x.T, y.T, strict=True):
        correlation, scale = np.corrcoef(a, b)[0, 1], a.std() / b.std()
        shift = (a.mean() - b.mean()) ** 2 / (a.std() * b.std())
        coefficients.append(correlation * 2 / (scale + 1 / scale + shift))
    return 1 - np.mean(coefficients)


@pytest.mark.parametrize("shape", [(2, 1), (7, 3), (32, 1), (64, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_concordance_is_lins(shape, dtype):
    prediction = 2 * normal(*shape, dtype=dtype) + 0.5
    target = 0.7 * prediction + normal(*shape, seed=1, dtype=dtype) - 1
    loss = concordance_loss(prediction, target)
    assert loss.item() == pytest.approx(expected_concordance(*numpy64(prediction, target)), rel=1e-4)
    assert loss.dtype == dtype


def test_the_concordance_is_that_of_torchmetrics_in_a_large_batch():
    """Which takes the variances of a sample, N - 1, so that small batches differ."""
    prediction, target = normal(20_000, 3) + 0.3, normal(20_000, 3, seed=1)
    target = 0.6 * prediction + target
    expected = 1 - concordance_corrcoef(prediction, target).mean()
    torch.testing.assert_close(concordance_loss(prediction, target), expected, rtol=0, atol=1e-4)


@PROPERTY
@given(seeds, rows, widths)
def test_the_concordance_lies_in_0_to_2_is_symmetric_and_0_on_itself(seed, n, d):
    x, y = normal(n, d, seed=seed, dtype=torch.float64), normal(n, d, seed=seed + 1, dtype=torch.float64)
    assert 0 <= concordance_loss(x, y) <= 2
    torch.testing.assert_close(concordance_loss(x, y), concordance_loss(y, x))
    assert concordance_loss(x, x).item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(concordance_loss(x[:, 0], y[:, 0]), concordance_loss(x[:, :1], y[:, :1]))


def test_the_gradient_of_the_concordance_is_the_numerical_one():
    x, y = normal(6, 2, dtype=torch.float64).requires_grad_(), normal(6, 2, seed=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda value: concordance_loss(value, y), x)


@pytest.mark.parametrize(("rows", "apart"), [(1, 1.0), (1, 0.0), (6, 0.0), (6, 1.0)])
def test_the_concordance_of_constant_columns_is_1_and_has_a_finite_gradient(rows, apart):
    value, (gradient,) = gradients(lambda x: concordance_loss(x, torch.zeros(rows, 2)), torch.full((rows, 2), apart))
    assert value == 1
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("x", "y"), [((6,), (6, 1)), ((6, 2), (5, 2)), ((0, 2), (0, 2)), ((2, 2, 2), (2, 2, 2)), ((), ())]
)
def test_the_concordance_refuses_shapes_that_would_broadcast(x, y):
    with pytest.raises(ShapeError, match=r"expected the same, \(N, C\) or \(N,\), of at least one row"):
        concordance_loss(torch.zeros(x), torch.zeros(y))
