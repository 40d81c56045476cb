"""The settings of a disentanglement head: one frozen dataclass that is also the saved JSON."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from dsnet_plugin.errors import ConfigError

OrthogonalityKind = Literal["zscore", "row_norm"]
CalibrationKind = Literal["sym_kl", "js"]
Reduction = Literal["mean", "sum"]
ReferenceKind = Literal["none", "difference"]

CONFIG_VERSION = 1


def check_choice(name: str, value: object, choices: Any) -> None:
    """Refuses a value that is not one of a Literal's.

    Raises:
        ConfigError: names the setting, the value and the choices.
    """
    if value not in get_args(choices):
        raise ConfigError(f"{name}={value!r}: expected one of {', '.join(map(repr, get_args(choices)))}")


@dataclass(frozen=True)
class DisentangleConfig:
    """How a :class:`DisentangleHead` is built and what it optimises; the defaults are the paper's, made stable.

    Args:
        alpha: weight of the orthogonality loss (eq. 10).
        beta: weight of the reconstruction loss (eq. 10).
        gamma: weight of the calibration loss (eq. 10). A loss of weight 0 is not computed.
        orthogonality: ``"zscore"`` standardises columns (paper), ``"row_norm"`` centres columns and normalises rows
            (the authors' public code).
        orthogonality_reduction: ``"mean"`` or ``"sum"``, see :func:`orthogonality_loss`. The paper's literal sum is
            about 2e6 on random features, which contradicts its own weights of 1; hence the mean.
        reconstruction_reduction: ``"sum"`` over the features is eq. 6, ``"mean"`` the authors' public code, D times
            smaller. In the first steps the sum's gradient on the paper's encoder is several times that of the task
            (70 against 10 on RAVDESS); hence the mean.
        calibration: ``"sym_kl"`` is eq. 8, ``"js"`` the authors' public code.
        temperature: divides features before the softmax of the calibration; below 1 it acts more strongly.
        bottleneck: width inside the attention blocks; None is D / 4, which is Table 1's 64 at D = 256.
        classifier_hidden: hidden width of the classifier (Table 1).
        dropout: dropout rate inside the classifier.
        reference: ``"none"`` is the paper's, in which P_er sees h alone. With ``"difference"`` it sees h - r: r is h_n, the features
            of a neutral utterance of the speaker, where one is given, in inference, too, and else its estimate z_ei. In
            training each row takes its estimate half of the time, so that one model serves with a reference and without;
            and W_3 of P_er begins as the identity, so that it passes the difference on.
        narrow_to: width to which a linear layer brings the features first, as the last layer of the encoder; None leaves
            them as they are. The parameters of a head grow with six times the square of the width.
        version: version of this record, for files written by other releases.

    Raises:
        ConfigError: a value is out of range or not one of the choices.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    orthogonality: OrthogonalityKind = "zscore"
    orthogonality_reduction: Reduction = "mean"
    reconstruction_reduction: Reduction = "mean"
    calibration: CalibrationKind = "sym_kl"
    temperature: float = 1.0
    bottleneck: int | None = None
    classifier_hidden: int = 64
    dropout: float = 0.5
    narrow_to: int | None = None
    reference: ReferenceKind = "none"
    version: int = CONFIG_VERSION

    def __post_init__(self) -> None:
        """Validates every value, so that a wrong one fails here and not in the middle of a training."""
        check_choice("orthogonality", self.orthogonality, OrthogonalityKind)
        check_choice("orthogonality_reduction", self.orthogonality_reduction, Reduction)
        check_choice("reconstruction_reduction", self.reconstruction_reduction, Reduction)
        check_choice("calibration", self.calibration, CalibrationKind)
        check_choice("reference", self.reference, ReferenceKind)
        for name in ("alpha", "beta", "gamma"):
            if not (_number(weight := getattr(self, name)) and weight >= 0):
                raise ConfigError(f"{name}={weight!r}: expected a finite weight of at least 0")
        if not (_number(self.temperature) and self.temperature > 0):
            raise ConfigError(f"temperature={self.temperature!r}: expected a finite number above 0")
        if not (_number(self.dropout) and 0 <= self.dropout < 1):
            raise ConfigError(f"dropout={self.dropout!r}: expected a rate of at least 0 and below 1")
        for name, width in (
            ("bottleneck", 1 if self.bottleneck is None else self.bottleneck),
            ("classifier_hidden", self.classifier_hidden),
            ("narrow_to", 1 if self.narrow_to is None else self.narrow_to),
        ):
            if type(width) is not int or width < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r}: expected a whole number of at least 1")
        if self.version != CONFIG_VERSION:
            raise ConfigError(
                f"version={self.version!r}: this release reads version {CONFIG_VERSION}; "
                "install the dsnet_plugin that wrote the file"
            )

    @classmethod
    def paper_literal(cls) -> "DisentangleConfig":
        """The paper's formulas to the letter: eq. 4 and 6 summed, eq. 8 as it stands."""
        return cls(orthogonality_reduction="sum", reconstruction_reduction="sum")

    @classmethod
    def public_code(cls) -> "DisentangleConfig":
        """What the authors' public code computes: row-normalised, Jensen-Shannon, all losses averaged."""
        return cls(orthogonality="row_norm", reconstruction_reduction="mean", calibration="js")

    def to_json(self) -> str:
        """The settings as JSON text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "DisentangleConfig":
        """The settings from what :meth:`to_json` wrote.

        Raises:
            ConfigError: not a JSON object, or one with a name or a value that this release does not know.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"the configuration is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"the configuration is a JSON {type(values).__name__}; expected an object")
        known = {entry.name for entry in fields(cls)}
        if surplus := sorted(set(values) - known):
            raise ConfigError(f"unknown settings {', '.join(surplus)}; expected {', '.join(sorted(known))}")
        return cls(**values)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
