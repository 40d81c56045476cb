"""The one loop that trains all methods, its settings, and the model that it leaves.

What trains or infers stays in ``device``, ``adam``, ``fit`` and ``inference``, since it needs Accelerate, and pictures in
``curves``, since they need matplotlib.
"""

from typing import TYPE_CHECKING

from benchmarks.training.identity import CorpusIdentity, TrainingIdentity, check_same
from benchmarks.training.settings import TrainingSettings, derive_seed
from benchmarks.training.story import Epoch, TrainingStory
from dsnet_plugin.late import late_names

if TYPE_CHECKING:
    from benchmarks.training.checkpoint import STATE_NAME, ModelRecord, load_model
else:
    __getattr__ = late_names(__name__, {"checkpoint": ["STATE_NAME", "ModelRecord", "load_model"]})

__all__ = [
    "STATE_NAME",
    "CorpusIdentity",
    "Epoch",
    "ModelRecord",
    "TrainingIdentity",
    "TrainingSettings",
    "TrainingStory",
    "check_same",
    "derive_seed",
    "load_model",
]
