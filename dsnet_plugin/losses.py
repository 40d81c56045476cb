"""The three losses that keep z_er and z_ei apart: equations 4, 6 and 8; and a task's loss for regression.

Plain functions on matrices, one row an utterance. Each computes in float32 whatever the autocast and the input's
dtype (float64 stays float64), so that half-precision features neither overflow nor vanish. In data-parallel training each
is the loss of the whole batch, on every rank, with gradients for DDP to average: see ``distributed.py``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dsnet_plugin.config import CalibrationKind, OrthogonalityKind, Reduction, check_choice
from dsnet_plugin.distributed import gather_rows, mean_over_rows
from dsnet_plugin.errors import ConfigError, ShapeError

ZSCORE_EPS = 1e-8
"""Added to a column's variance; a standard deviation below 1e-4 fades out instead of being blown up to 1."""

ROW_NORM_EPS = 1e-6
"""Added to a row's L2 norm, as in the authors' public code."""

CONCORDANCE_EPS = 1e-8
"""Added to the concordance's denominator, so that two constant columns give no 0 / 0."""


def orthogonality_loss(
    z_er: Tensor, z_ei: Tensor, kind: OrthogonalityKind = "zscore", reduction: Reduction = "mean"
) -> Tensor:
    """Soft orthogonality of the two subspaces (eq. 4): 0 when no feature of one predicts a feature of the other.

    ``kind="zscore"`` standardises each column over the batch (population variance). Its ``"sum"`` is eq. 4 to the letter,
    the squared Frobenius norm of ``Z_er^T Z_ei``; its ``"mean"`` is the mean of the squared entries of ``Z_er^T Z_ei / N``,
    that is, of the squared correlations, about 1 / N for independent features.

    ``kind="row_norm"`` is the authors' public code: columns centred, then each row divided by its L2 norm (detached);
    ``"mean"`` averages the squared entries of ``Z_er^T Z_ei``, ``"sum"`` adds them up.

    Args:
        z_er: emotion-relevant features, shape (N, D).
        z_ei: emotion-irrelevant features, shape (N, D').
        kind: how the features are normalised.
        reduction: over the D x D' entries.

    Returns:
        A scalar, 0 for N = 1 and for constant columns. The gradient of the z-scored ``"sum"`` can be larger than float16
        holds, where columns hardly vary; train that form in bfloat16, or with a gradient scaler.

    Raises:
        ShapeError: not two matrices of equally many rows.
        ConfigError: an unknown kind or reduction.

    Example:
        >>> z = torch.tensor([[-1.0], [0.0], [1.0]])
        >>> orthogonality_loss(z, 2 * z), orthogonality_loss(z, z.square())  # correlated fully, not at all
        (tensor(1.0000), tensor(0.))
    """
    check_choice("kind", kind, OrthogonalityKind)
    check_choice("reduction", reduction, Reduction)
    _check_rows("z_er", z_er, "z_ei", z_ei)
    with torch.autocast(z_er.device.type, enabled=False):
        z_er, z_ei = gather_rows(float32(z_er), float32(z_ei))
        normalise = _zscore if kind == "zscore" else _row_norm
        cross = normalise(z_er).T @ normalise(z_ei)
        if reduction == "sum":
            return cross.square().sum()
        if kind == "zscore":
            cross = cross / z_er.shape[0]
        return cross.square().mean()


def reconstruction_loss(h: Tensor, h_hat: Tensor, reduction: Reduction = "mean") -> Tensor:
    """How much of h the two subspaces lose together (eq. 6); neither side is detached.

    Args:
        h: features, shape (N, D).
        h_hat: their reconstruction, shape (N, D).
        reduction: over the D features: ``"sum"`` is eq. 6, the mean over rows of the squared L2 distance; ``"mean"``, the
            authors' public code, is D times smaller.

    Returns:
        A scalar.

    Raises:
        ShapeError: the two shapes differ.
        ConfigError: an unknown reduction.

    Example:
        >>> h, h_hat = torch.zeros(2, 4), torch.full((2, 4), 0.5)
        >>> reconstruction_loss(h, h_hat), reconstruction_loss(h, h_hat, "sum")
        (tensor(0.2500), tensor(1.))
    """
    check_choice("reduction", reduction, Reduction)
    _check_rows("h", h, "h_hat", h_hat)
    if h.shape != h_hat.shape:
        raise ShapeError(f"h has shape {tuple(h.shape)} and h_hat {tuple(h_hat.shape)}; expected the same")
    with torch.autocast(h.device.type, enabled=False):
        squared = (float32(h) - float32(h_hat)).square()
        return mean_over_rows(squared.sum(1) if reduction == "sum" else squared.mean(1))


def calibration_loss(
    z_ei: Tensor,
    h_n: Tensor,
    kind: CalibrationKind = "sym_kl",
    temperature: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Neutral calibration (eq. 7 and 8): z_ei should look like a neutral utterance of the same speaker.

    Both are made distributions over the D features, p = softmax(z_ei / temperature), q = softmax(h_n / temperature).
    ``kind="sym_kl"`` is half of KL(p, q) + KL(q, p), eq. 8; ``kind="js"`` is the Jensen-Shannon divergence, the authors'
    public code, about a quarter of the former near equality. Neither side is detached.

    Args:
        z_ei: emotion-irrelevant features, shape (N, D).
        h_n: features of the neutral references, shape (N, D).
        kind: the divergence.
        temperature: above 0; lower acts more strongly.
        weight: shape (N,), at least 0; the loss is the weighted mean over rows. A row of weight 0 is left out, whatever
            it holds; when all are 0 the loss is 0 and stays connected to ``z_ei``.

    Returns:
        A scalar, in nats.

    Raises:
        ShapeError: shapes that do not fit.
        ConfigError: an unknown kind, or a temperature of 0 or less.

    Example:
        >>> z_ei, h_n = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
        >>> f"{calibration_loss(z_ei, h_n):.3f}, {calibration_loss(z_ei, z_ei):.3f}"
        '0.462, 0.000'
        >>> f"{calibration_loss(z_ei, h_n, temperature=0.1):.3f}"  # acts more strongly
        '9.999'
    """
    check_choice("kind", kind, CalibrationKind)
    if not temperature > 0:
        raise ConfigError(f"temperature={temperature!r}: expected a number above 0")
    _check_rows("z_ei", z_ei, "h_n", h_n)
    if z_ei.shape != h_n.shape:
        raise ShapeError(f"z_ei has shape {tuple(z_ei.shape)} and h_n {tuple(h_n.shape)}; expected the same")
    if weight is not None and weight.shape != z_ei.shape[:1]:
        raise ShapeError(f"weight has shape {tuple(weight.shape)}; expected one a row, ({z_ei.shape[0]},)")
    with torch.autocast(z_ei.device.type, enabled=False):
        if weight is not None:
            # Before the softmax and not after: a NaN in a row that is left out must not reach the gradient.
            left_out = (weight == 0).unsqueeze(1)
            z_ei, h_n = z_ei.masked_fill(left_out, 0), h_n.masked_fill(left_out, 0)
        log_p = F.log_softmax(float32(z_ei) / temperature, dim=1)
        log_q = F.log_softmax(float32(h_n) / temperature, dim=1)
        p, q = log_p.exp(), log_q.exp()
        if kind == "sym_kl":
            divergence = 0.5 * ((p - q) * (log_p - log_q)).sum(1)
        else:
            log_m = torch.logaddexp(log_p, log_q) - math.log(2)
            divergence = 0.5 * (p * (log_p - log_m) + q * (log_q - log_m)).sum(1)
        return mean_over_rows(divergence, weight)


def concordance_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """One minus the concordance correlation coefficient (Lin, 1989), the task loss for arousal, dominance and valence.

    ``CCC = 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2)`` over the batch, with population variances: 1 where
    prediction and target are equal, 0 where one of them does not vary.

    Args:
        prediction: shape (N, C), or (N,) for one output.
        target: of the same shape.

    Returns:
        A scalar between 0 and 2, the mean over the C outputs; in data-parallel training the whole batch's. A batch of 1 has
        no correlation, and gives 1 and no direction to learn in.

    Raises:
        ShapeError: the two shapes differ, or there is no row.

    Example:
        >>> prediction, target = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 3.0, 4.0])
        >>> f"{concordance_loss(prediction, target):.3f}"
        '0.429'
    """
    if prediction.shape != target.shape or prediction.dim() not in (1, 2) or not target.numel():
        raise ShapeError(
            f"prediction has shape {tuple(prediction.shape)} and target {tuple(target.shape)}; expected the same, (N, C) or "
            "(N,), of at least one row"
        )
    with torch.autocast(prediction.device.type, enabled=False):
        rows = len(target)
        x, y = gather_rows(float32(prediction).reshape(rows, -1), float32(target).reshape(rows, -1))
        apart = x.mean(0) - y.mean(0)
        x, y = x - x.mean(0), y - y.mean(0)
        spread = x.square().mean(0) + y.square().mean(0) + apart.square()
        return 1 - (2 * (x * y).mean(0) / (spread + CONCORDANCE_EPS)).mean()


def float32(x: Tensor) -> Tensor:
    """The features in float32; float64 stays as it is."""
    return x if x.dtype == torch.float64 else x.float()


def _centred(x: Tensor) -> Tensor:
    x = float32(x)
    x = x - x[:1].detach()  # variance does not change, and a constant column becomes exactly 0, free of rounding
    return x - x.mean(0)


def _zscore(x: Tensor) -> Tensor:
    x = _centred(x)
    return x / (x.square().mean(0) + ZSCORE_EPS).sqrt()


def _row_norm(x: Tensor) -> Tensor:
    x = _centred(x)
    norm: Tensor = torch.linalg.vector_norm(x.detach(), dim=1, keepdim=True)
    return x / (norm + ROW_NORM_EPS)


def _check_rows(name_a: str, a: Tensor, name_b: str, b: Tensor) -> None:
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[0] or a.shape[0] == 0:
        raise ShapeError(
            f"{name_a} has shape {tuple(a.shape)} and {name_b} {tuple(b.shape)}; "
            "expected two matrices of equally many rows, at least one"
        )
