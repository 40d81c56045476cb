"""The one loop that trains all methods, its settings, and the model that it leaves.

What trains or infers stays in ``device``, ``adam``, ``fit`` and ``inference``, since it needs Accelerate, and pictures in
``curves``, since they need matplotlib.
"""

from benchmarks.training.checkpoint import MODEL_NAME, STATE_NAME, load_model
from benchmarks.training.settings import TrainingSettings, check_same, derive_seed

__all__ = ["MODEL_NAME", "STATE_NAME", "TrainingSettings", "check_same", "derive_seed", "load_model"]
