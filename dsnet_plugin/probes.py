"""How much emotion and how much speaker identity a subspace holds: a kernel measure and a linear probe.

Both look at features after training and give no gradient.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dsnet_plugin.errors import ConfigError, DSNetError, PrecisionError, ShapeError


class ProbeResult(NamedTuple):
    """Balanced accuracy of a linear probe on held-out utterances, and what guessing gives; both in percent."""

    score: float
    chance: float


def hsic(x: Tensor, y: Tensor) -> float:
    """Dependence of two sets of features of the same utterances: the normalised Hilbert-Schmidt independence criterion.

    The biased estimator tr(K H L H) / (N - 1)**2 of Gretton et al. (2005), divided by the square root of that of x with x
    and of y with y, as in Kornblith et al. (2019), who call it CKA: 1 where one is the other moved, turned or scaled. The
    kernels are Gaussian, exp(-d**2 / (2 s**2)); s is the median distance between rows that differ. In float64, on the
    CPU; memory grows with N**2.

    The estimate of independent features is not 0: it grows with D / N, and comes near 1 where D is above N. Compare models at
    the same N and D, or with the floor, ``hsic(x, y[torch.randperm(len(y))])``.

    Args:
        x: features, shape (N, D), N at least 4.
        y: others, shape (N, D'), or one-hot labels.

    Returns:
        From 0 to 1; 0 where the rows of one are all the same.

    Raises:
        ShapeError: not two matrices of equally many rows, at least 4.
        PrecisionError: a number is NaN or infinite.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0], [4.0]])
        >>> round(hsic(x, 1 - 3 * x), 6)
        1.0
    """
    if x.dim() != 2 or y.dim() != 2 or len(x) != len(y) or len(x) < 4:
        raise ShapeError(
            f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}; expected two matrices of equally many rows, at least 4"
        )
    kernel_x, kernel_y = _centred_kernel("x", x), _centred_kernel("y", y)
    norm = kernel_x.norm() * kernel_y.norm()
    if norm == 0:
        return 0.0
    return float(((kernel_x * kernel_y).sum() / norm).clamp(0, 1))  # (N - 1)**2 cancels


def linear_probe(
    features: Tensor, targets: Tensor | Sequence[int] | Sequence[str], seed: int = 0, folds: int = 5
) -> ProbeResult:
    """How well a linear classifier reads the targets off the features of utterances it has not seen.

    A multinomial logistic regression (L2, C = 1, classes weighted equally) on standardised features, in stratified
    cross-validation; mean and deviation come from the utterances it is trained on alone. What is held out is utterances: where
    the targets are emotions, the speakers are known to the probe.

    Args:
        features: shape (N, D).
        targets: N emotions or speakers, numbers or names.
        seed: of the division into folds.
        folds: at least 2; fewer are made where a class has fewer utterances.

    Returns:
        The balanced accuracy of all held-out predictions, 100 x the mean recall over classes, and 100 / classes.

    Raises:
        ShapeError: not a matrix with one target a row, a single class, or a class of one utterance, which is named.
        ConfigError: fewer than 2 folds.
        PrecisionError: a feature is NaN or infinite.
        DSNetError: scikit-learn is not installed.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> targets = torch.arange(40) % 2
        >>> features = torch.randn(40, 8)
        >>> features[:, 0] += 10 * targets
        >>> linear_probe(features, targets)
        ProbeResult(score=100.0, chance=50.0)
    """
    names = targets.tolist() if isinstance(targets, Tensor) else list(targets)
    if features.dim() != 2 or (isinstance(targets, Tensor) and targets.dim() != 1) or len(features) != len(names):
        seen = tuple(targets.shape) if isinstance(targets, Tensor) else (len(names),)
        raise ShapeError(f"features have shape {tuple(features.shape)} and targets {seen}; expected (N, D) and (N,)")
    if folds < 2:
        raise ConfigError(f"folds={folds}; expected at least 2")
    counts = Counter(names)
    if len(counts) < 2:
        raise ShapeError(f"{len(counts)} class in {len(names)} targets; expected at least 2")
    if rare := [name for name, count in counts.items() if count < 2]:
        raise ShapeError(
            f"class {rare[0]!r} has 1 utterance; expected at least 2, one to train on and one to test: leave it out"
        )
    data = _float64("features", features).numpy()
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import balanced_accuracy_score
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise DSNetError("a linear probe needs scikit-learn: pip install 'dsnet_plugin[probes]'") from error
    # Features of a network are much alike; then lbfgs, the default, is not done after a thousand iterations.
    regression = LogisticRegression(class_weight="balanced", solver="newton-cg")
    probe = make_pipeline(StandardScaler(), regression)
    parts = StratifiedKFold(min(folds, *counts.values()), shuffle=True, random_state=seed)
    predicted = cross_val_predict(probe, data, names, cv=parts)
    return ProbeResult(100 * float(balanced_accuracy_score(names, predicted)), 100 / len(counts))


def _centred_kernel(name: str, rows: Tensor) -> Tensor:
    """The Gaussian kernel's matrix, centred on both sides, shape (N, N); zeros where all rows are the same."""
    rows = _float64(name, rows)
    # Not by matrix products: they leave equal rows a little apart, and far from the origin lose the distances.
    squared = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
    different = squared[squared > 0]
    if not len(different):
        return torch.zeros_like(squared)
    kernel = (-squared / (2 * different.median())).exp()
    return kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()


def _float64(name: str, features: Tensor) -> Tensor:
    features = features.detach().to("cpu", torch.float64)
    if not features.isfinite().all():
        raise PrecisionError(f"{name}: {int((~features.isfinite()).sum())} numbers are NaN or infinite; expected none")
    return features
