"""The description that a wrapped model gives of itself."""

from dataclasses import dataclass


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
