"""The disentanglement head: projectors, restorer and classifier (equations 1 to 5 and 10, Table 1)."""

import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.errors import ConfigError, NeutralReferenceError, PrecisionError, ShapeError
from dsnet_plugin.losses import calibration_loss, float32, orthogonality_loss, reconstruction_loss
from dsnet_plugin.task import Criterion, TaskLoss, check_range

WIDEST = 2**28
"""The most parameters of a head, a gibibyte in float32; they grow with the square of the features' width."""


class DisentangleOutput(NamedTuple):
    """What a head returns when it is given labels, or is asked for the objective.

    ``loss`` is the whole objective of eq. 10, a scalar; without labels it is that objective without its task, the weighted
    sum of the three losses. ``logits`` has shape (N, num_classes); ``losses`` holds ``task``, ``orthogonality``,
    ``reconstruction`` and ``calibration``, unweighted scalars, as far as they were computed; ``z_er``, ``z_ei`` and
    ``h_hat`` have shape (N, D). In data-parallel training all losses but ``task`` are the whole batch's.
    """

    loss: Tensor
    logits: Tensor
    losses: dict[str, Tensor]
    z_er: Tensor
    z_ei: Tensor
    h_hat: Tensor


class AttentionBlock(nn.Module):
    """One attention block (eq. 1 and 2): ``a = sigmoid(W2 relu(W1 h))``, ``z = relu(W3 (a * h + h))``.

    Args:
        features: D, the width of h and of z; 98,880 parameters at 256.
        bottleneck: width between W1 and W2; None is D / 4 (Table 1's 64 at D = 256).

    Shape:
        (N, D) to (N, D).
    """

    def __init__(self, features: int, bottleneck: int | None = None) -> None:
        super().__init__()
        bottleneck = max(1, features // 4) if bottleneck is None else bottleneck
        self.attention = nn.Sequential(
            nn.Linear(features, bottleneck), nn.ReLU(), nn.Linear(bottleneck, features), nn.Sigmoid()
        )
        self.projection = nn.Linear(features, features)

    def forward(self, h: Tensor) -> Tensor:
        """Features (N, D) to features (N, D), none below 0."""
        return F.relu(self.projection(self.attention(h) * h + h))


class Projector(AttentionBlock):
    """P_er or P_ei (eq. 3): one attention block. Table 1's two identical rows are this pair, not a stack of two."""


class Restorer(nn.Sequential):
    """R (eq. 5): ``[z_er; z_ei]``, shape (N, 2 D), to h_hat, shape (N, D). Eq. 5's second z_er is a slip.

    Args:
        features: D; 197,120 parameters at 256.
    """

    def __init__(self, features: int) -> None:
        super().__init__(nn.Linear(2 * features, features), nn.ReLU(), nn.Linear(features, features))


class Classifier(nn.Sequential):
    """C (Table 1, without its softmax): features (N, D) to logits (N, num_classes).

    Args:
        features: D; 16,836 parameters at 256 and four classes.
        num_classes: the number of emotions.
        hidden: hidden width.
        dropout: dropout rate.
    """

    def __init__(self, features: int, num_classes: int, hidden: int = 64, dropout: float = 0.5) -> None:
        super().__init__(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )


class DisentangleHead(nn.Module):
    """DSNet without its encoder (section 3.2, Table 1): takes the place of a model's classifier.

    ``head(h)`` gives logits and runs P_er and C alone; ``head(h, labels=y, neutral=h_n)`` gives a
    :class:`DisentangleOutput` with the whole objective. With ``DisentangleConfig(reference="difference")`` a neutral utterance
    serves in inference, too: ``head(h, neutral=h_n)`` gives logits that know it, ``head(h)`` those that know its estimate.

    Args:
        in_features: D, the width of the backbone's features; the widths of the head follow it.
        num_classes: the number of emotions, at least 2; or with a criterion the number of its outputs, at least 1.
        config: loss variants, weights and widths; None is ``DisentangleConfig()``.
        criterion: the task's loss, a function or a module of logits (N, num_classes) and labels that gives a scalar; None
            is cross-entropy. See :class:`~dsnet_plugin.task.TaskLoss` for the form in which labels reach it.

    Raises:
        ConfigError: a width or a number of classes that cannot be, a criterion that is no function, or features so wide
            that the head would be larger than :data:`WIDEST`.

    Example:
        >>> head = DisentangleHead(in_features=256, num_classes=4)
        >>> h, h_n, y = torch.rand(8, 256), torch.rand(8, 256), torch.randint(4, (8,))
        >>> sorted(head(h, labels=y, neutral=h_n).losses)
        ['calibration', 'orthogonality', 'reconstruction', 'task']
        >>> head.eval()(h).shape
        torch.Size([8, 4])
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        config: DisentangleConfig | None = None,
        criterion: Criterion | None = None,
    ) -> None:
        super().__init__()
        if in_features < 1 or num_classes < 1:
            raise ConfigError(
                f"in_features={in_features}, num_classes={num_classes}: expected at least 1 feature and 2 classes, or with "
                "a criterion 1 output"
            )
        self.in_features = in_features
        self.num_classes = num_classes
        self.config = config or DisentangleConfig()
        width = self.config.narrow_to or in_features
        self._check_size(width)
        self.narrow = nn.Linear(in_features, width) if self.config.narrow_to else None
        self.p_er = Projector(width, self.config.bottleneck)
        if self.config.reference == "difference":
            nn.init.eye_(self.p_er.projection.weight)
            nn.init.zeros_(self.p_er.projection.bias)
        self.p_ei = Projector(width, self.config.bottleneck)
        self.restorer = Restorer(width)
        self.classifier = Classifier(width, num_classes, self.config.classifier_hidden, self.config.dropout)
        self.task_loss = TaskLoss(num_classes, criterion)

    def _check_size(self, width: int) -> None:
        """Refuses a head that would not fit, before any memory is taken."""
        bottleneck = self.config.bottleneck or max(1, width // 4)
        size = 5 * width**2 + 4 * width * bottleneck
        if size > WIDEST:
            raise ConfigError(
                f"a head on {width:,} features has {size / 1e9:.1f} billion parameters, six times the square of the width; "
                "expected at most 0.27: narrow the features first with DisentangleConfig(narrow_to=256), or put the head on "
                "a narrower layer with head="
            )

    def forward(
        self,
        h: Tensor,
        labels: Any = None,
        neutral: Tensor | None = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
        return_objective: bool = False,
    ) -> Tensor | DisentangleOutput:
        """Logits, or with labels the whole objective (eq. 10).

        Args:
            h: features, shape (N, D).
            labels: class indices, shape (N,); or what the criterion takes.
            neutral: features h_n of neutral utterances of the same speakers, shape (N, D), or (K, D) with ``neutral_index``.
                Without labels they serve a head with a reference alone.
            neutral_index: which row of ``neutral`` stands for each row of h: shape (N,), or (N, k), whose k rows are
                averaged; int64.
            neutral_mask: shape (N,), True where a row has a reference; the others' calibration is left out.
            return_objective: without labels, gives the three losses all the same, for a task loss computed elsewhere.

        Returns:
            Logits of shape (N, num_classes) without labels, else a :class:`DisentangleOutput`. In eval mode a missing
            ``neutral`` leaves the calibration out. Logits that were computed in training mode with gradients carry none
            of the three losses; a warning says so.

        Raises:
            ShapeError: shapes or label values that do not fit, or a training batch of one.
            NeutralReferenceError: training with calibration and no ``neutral``.
            PrecisionError: features in float16 that overflowed.
        """
        if h.dim() != 2 or h.shape[1] != self.in_features:
            raise ShapeError(f"h has shape {tuple(h.shape)}; this head expects (N, {self.in_features})")
        if self.training and h.shape[0] < 2:
            raise ShapeError(
                "a training batch of 1: batch statistics need at least 2 rows; give drop_last=True to the DataLoader of training"
            )
        h = h if self.narrow is None else self.narrow(h)
        asked = labels is not None or return_objective
        refers = self.config.reference == "difference"
        h_n = None
        # Whether to calibrate must not differ between ranks, and a mask says that references are a matter of rows.
        calibrates = asked and self.config.gamma and (self.training or neutral is not None or neutral_mask is not None)
        if calibrates or (refers and neutral is not None):
            h_n = self._neutral_rows(h, neutral, neutral_index, neutral_mask)
        z_ei = self.p_ei(h) if asked or refers else None
        z_er = self._emotion_relevant(h, z_ei, h_n, neutral_mask)
        logits: Tensor = self.classifier(z_er)
        if self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self._warn_of_what_is_left_out(asked)
        if not asked:
            return logits
        # Only float16 overflows in practice, so that only there a step waits for the answer.
        if h.dtype == torch.float16 and not torch.compiler.is_compiling() and not bool(h.isfinite().all()):
            raise PrecisionError(
                "h holds values beyond float16 (above 65,504): run the backbone in bfloat16 or float32"
            )
        assert z_ei is not None
        h_hat = self.restorer(torch.cat([z_er, z_ei], dim=1))
        config = self.config
        losses = {} if labels is None else {"task": self.task_loss(logits, labels)}
        loss = losses["task"] if losses else float32(logits.new_zeros(()))
        if config.alpha:
            losses["orthogonality"] = orthogonality_loss(
                z_er, z_ei, config.orthogonality, config.orthogonality_reduction
            )
            loss = loss + config.alpha * losses["orthogonality"]
        if config.beta:
            losses["reconstruction"] = reconstruction_loss(h, h_hat, config.reconstruction_reduction)
            loss = loss + config.beta * losses["reconstruction"]
        if calibrates and h_n is not None:
            losses["calibration"] = calibration_loss(
                z_ei, h_n, config.calibration, config.temperature, weight=neutral_mask
            )
            loss = loss + config.gamma * losses["calibration"]
        return DisentangleOutput(loss, logits, losses, z_er, z_ei, h_hat)

    def spaces(
        self,
        h: Tensor,
        neutral: Tensor | None = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The subspaces z_er and z_ei of features h, each (N, D); arguments are those of :meth:`forward`."""
        h = h if self.narrow is None else self.narrow(h)
        z_ei: Tensor = self.p_ei(h)
        h_n = None if neutral is None else self._neutral_rows(h, neutral, neutral_index, neutral_mask)
        return self._emotion_relevant(h, z_ei, h_n, neutral_mask), z_ei

    def _warn_of_what_is_left_out(self, asked: bool) -> None:
        if not asked:
            warnings.warn(
                "a disentanglement head in training mode is given no labels: its output carries none of the three losses; "
                "pass labels=, or return_objective=True to compute the task's loss yourself",
                stacklevel=3,
            )
        elif not self.p_er.projection.weight.requires_grad:
            warnings.warn(
                "the disentanglement head is frozen and learns nothing in this training; where PEFT froze it, name it: "
                'LoraConfig(..., modules_to_save=["head"])',
                stacklevel=3,
            )

    def _emotion_relevant(self, h: Tensor, z_ei: Tensor | None, h_n: Tensor | None, mask: Tensor | None) -> Tensor:
        """z_er (N, D): of h, or with a reference of h less h_n where that is known, in training in half of the rows, and less
        its estimate z_ei elsewhere."""
        if self.config.reference == "none":
            return self.p_er(h)  # type: ignore[no-any-return]
        assert z_ei is not None
        reference = z_ei
        if h_n is not None:
            if self.training:
                chosen = torch.rand(h.shape[0], device=h.device) < 0.5
                mask = chosen if mask is None else mask & chosen
            reference = h_n if mask is None else torch.where(mask[:, None], h_n, z_ei)
        return self.p_er(h - reference)  # type: ignore[no-any-return]

    def _neutral_rows(self, h: Tensor, neutral: Tensor | None, index: Tensor | None, mask: Tensor | None) -> Tensor:
        """The reference of each row, shape (N, D)."""
        rows = h.shape[0]
        if mask is not None and not (isinstance(mask, Tensor) and mask.shape == (rows,) and mask.dtype == torch.bool):
            raise ShapeError(f"neutral_mask is {_kind(mask)}; expected torch.bool of shape ({rows},), one a row of h")
        if neutral is not None and not isinstance(neutral, Tensor):
            raise ShapeError(f"neutral is {_kind(neutral)}; expected a tensor of shape (N or K, {self.in_features})")
        if neutral is None or not neutral.shape[0]:
            # Reading the mask stalls a GPU, but only in a batch without any reference.
            if mask is None or bool(mask.any()):
                raise NeutralReferenceError(
                    "the calibration needs neutral speech and neutral= is missing: pass features of a neutral "
                    "utterance of each row's speaker, a neutral_mask that is False in every row, or set gamma=0 in "
                    "DisentangleConfig to train without"
                )
            return torch.zeros_like(h)
        if neutral.dim() != 2 or neutral.shape[1] != self.in_features:
            raise ShapeError(f"neutral has shape {tuple(neutral.shape)}; expected (N or K, {self.in_features})")
        neutral = neutral if self.narrow is None else self.narrow(neutral)
        if index is None:
            if not self.training and neutral.shape[0] == 1:  # one speaker's, for all rows
                return neutral.expand(rows, -1)
            if neutral.shape[0] != rows:
                raise ShapeError(
                    f"{neutral.shape[0]} neutral rows for {rows} rows of h: give one a row, or K distinct ones with "
                    "neutral_index"
                )
            return neutral
        fits = isinstance(index, Tensor) and index.dim() in (1, 2) and index.dtype == torch.int64
        if not fits or index.shape[0] != rows or not index.numel():
            raise ShapeError(f"neutral_index is {_kind(index)}; expected torch.int64 of shape ({rows},) or ({rows}, k)")
        check_range("neutral_index", index, len(neutral), "the rows of neutral")
        return neutral[index] if index.dim() == 1 else neutral[index].mean(1)


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
