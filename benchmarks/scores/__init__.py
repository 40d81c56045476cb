"""How good predictions are, and what feature spaces hold.

The numbers are in ``uar``, ``statistics`` and ``probing``, which need scikit-learn or scipy.
"""

from benchmarks.scores.predictions import Predictions, SpeakerRecord

__all__ = ["Predictions", "SpeakerRecord"]
