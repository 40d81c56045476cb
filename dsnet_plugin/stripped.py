"""A stripped model of transformers on disk: its config says which head it has, so that one line loads it again."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.errors import CheckpointError
from dsnet_plugin.head import DisentangleHead

RECORD = "dsnet_head"
"""The name of the record in the config."""


def load_stripped(folder: str | Path, model_class: Any, **options: Any) -> Any:
    """Loads what ``strip().save_pretrained(folder)`` of a transformers model wrote.

    transformers' own ``from_pretrained`` knows nothing of the head, and refuses the folder.

    Args:
        folder: what transformers' ``save_pretrained`` wrote.
        model_class: the class of the model, such as ``Wav2Vec2ForSequenceClassification``; no ``Auto`` class.
        options: those of ``model_class.from_pretrained``.

    Returns:
        The stripped model, an instance of ``model_class``, in eval mode; ``transformers.pipeline`` takes it.

    Raises:
        CheckpointError: no stripped model of this class is there, or its record is damaged.
    """
    from dsnet_plugin.two_lines import attach  # which knows this file

    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        record, architectures = config[RECORD], config["architectures"]
        name, widths = record["name"], (record["in_features"], record["num_classes"])
        settings = DisentangleConfig.from_json(json.dumps(record["config"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} records no stripped head ({error!r}): expected what strip().save_pretrained(folder) of a transformers "
            "model wrote"
        ) from error
    if getattr(model_class, "__name__", None) not in architectures:
        raise CheckpointError(
            f"{folder} holds a {', '.join(architectures)}; expected its class, load_stripped(folder, {architectures[0]})"
        )

    class Stripped(model_class):  # type: ignore[misc]
        def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(config, *args, **kwargs)
            # A stripped head has no criterion, but for one output a head is refused without.
            attach(self, DisentangleHead(*widths, settings, nn.MSELoss()), name).strip_in_place()
            if settings.reference != "none":
                # Speakers were enrolled by the model whose weights are about to come, and not by this new one.
                self.get_submodule(name).digest = self.config.dsnet_head["digest"] = record.get("digest")

    # transformers writes and looks up the name of the class, which is that of the model's own.
    Stripped.__name__ = Stripped.__qualname__ = model_class.__name__
    Stripped.__module__ = model_class.__module__
    return Stripped.from_pretrained(folder, **options).eval()


def record_head(model: nn.Module, name: str, head: DisentangleHead, stripped: nn.Module, replaced: nn.Module) -> None:
    """Writes down in the config of a transformers model which head it has; leaves other models as they are.

    Args:
        model: whose config gets the record.
        name: the classifier's dotted name.
        head: the whole head.
        stripped: what is left of it, and gets an empty tensor under a name of the replaced classifier's. A loader that knows
            nothing of the head, and would start a classifier with random weights, then fails at its shape.
        replaced: the classifier that the head replaced.
    """
    config = getattr(model, "config", None)
    if not (hasattr(config, "model_type") and callable(getattr(config, "to_dict", None))):
        return
    record = {"name": name, "in_features": head.in_features, "num_classes": head.num_classes}
    record |= {"config": json.loads(head.config.to_json()), "digest": getattr(stripped, "digest", None)}
    setattr(config, RECORD, record)
    *path, leaf = next(iter(replaced.state_dict())).split(".")
    for part in path:
        if part not in dict(stripped.named_children()):
            stripped.add_module(part, nn.Module())
        stripped = stripped.get_submodule(part)
    if not hasattr(stripped, leaf):
        stripped.register_buffer(leaf, torch.empty(0))
