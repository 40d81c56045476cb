"""How many classes a model says it has: ``num_labels`` and the labels of a transformers config, timm's ``num_classes``."""

from typing import Any

from torch import nn

Declared = list[tuple[Any, str, Any]]
"""For each change the object, the attribute and the value that it had before."""


def declare_classes(model: nn.Module, names: tuple[str, ...], before: int, now: int) -> Declared:
    """Makes a model say that its classifier has another number of classes.

    Args:
        model: changed in place, with its config.
        names: the dotted names of the classifier; the modules on the way to it are those that may say it.
        before: the classifier's number of classes; only what says this number is changed.
        now: the new number.

    Returns:
        What was changed, for :func:`restore_classes`.
    """
    said: Declared = []
    if before == now:
        return said
    ways = {".".join(name.split(".")[:depth]) for name in names for depth in range(name.count(".") + 1)}
    for owner in (model.get_submodule(way) for way in sorted(ways)):
        config = vars(owner).get("config")
        if getattr(config, "num_labels", None) == before:
            # transformers' setter makes new labels; a plain namespace just keeps the number.
            said += [
                (config, name, value)
                for name in ("num_labels", "id2label", "label2id")
                if (value := getattr(config, name, None))
            ]
            config.num_labels = now  # type: ignore[union-attr]
        for name in ("num_labels", "num_classes"):
            if vars(owner).get(name) == before:
                said.append((owner, name, before))
                setattr(owner, name, now)
    return said


def restore_classes(said: Declared) -> None:
    """Puts back what :func:`declare_classes` changed."""
    for owner, name, value in said:
        setattr(owner, name, value)
