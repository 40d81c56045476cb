"""The description that a wrapped model gives of itself."""

from dataclasses import dataclass

from torch import nn

from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.location import Location


@dataclass(frozen=True)
class Status:
    """Where a head stands and what it costs.

    Args:
        model: the model's class.
        head: the name of the block in whose place the head stands.
        told_by: what the place was found by: its name, an example, the module tree, or the model itself.
        alternatives: the other places where the head could have stood, with their widths.
        in_features: D, the width of the features.
        num_classes: the number of emotions.
        parameters: all parameters in training.
        training_only: those of them that ``strip`` leaves out.
        weights: the weights of the three losses.
    """

    model: str
    head: str
    told_by: str
    alternatives: tuple[str, ...]
    in_features: int
    num_classes: int
    parameters: int
    training_only: int
    weights: dict[str, float]

    @classmethod
    def of(cls, model: nn.Module, head: DisentangleHead, location: Location) -> "Status":
        """The status of a model whose head is at a place."""
        in_training = [head.restorer, head.task_loss, *([head.p_ei] if head.config.reference == "none" else [])]
        config = head.config
        return cls(
            model=type(model).__name__,
            head=location.name,
            told_by=location.told_by,
            alternatives=location.alternatives,
            in_features=head.in_features,
            num_classes=head.num_classes,
            parameters=sum(p.numel() for p in model.parameters()),
            training_only=sum(p.numel() for p in nn.ModuleList(in_training).parameters()),
            weights={"orthogonality": config.alpha, "reconstruction": config.beta, "calibration": config.gamma},
        )

    def __str__(self) -> str:
        """A few lines for a person."""
        weights = ", ".join(f"{name} {value:g}" for name, value in self.weights.items())
        others = f"; other places: {', '.join(self.alternatives)}" if self.alternatives else ""
        return (
            f"{self.model}: DisentangleHead in the place of {self.head}, told by {self.told_by}{others}\n"
            f"{self.in_features} features to {self.num_classes} classes\n"
            f"{self.parameters:,} parameters, {self.parameters - self.training_only:,} in inference\n"
            f"loss weights: {weights}"
        )
