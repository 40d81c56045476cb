"""Audio files, their features, and the batches of one side of a fold.

What reads audio stays in ``audio`` and ``features``, since it needs soundfile and torchaudio.
"""

from typing import TYPE_CHECKING

from benchmarks.data.encoder_spec import PAPERS_CNN, EncoderSpec, FrontEnd
from benchmarks.data.protocols import (
    PROTOCOLS,
    Fold,
    check_protocol,
    divide,
    leave_one_group_out,
    leave_one_speaker_out,
    select_folds,
)
from dsnet_plugin.late import late_names

if TYPE_CHECKING:
    from benchmarks.data.batches import FoldSide
    from benchmarks.data.speech_data import SpeechData, collate
else:
    __getattr__ = late_names(__name__, {"batches": ["FoldSide"], "speech_data": ["SpeechData", "collate"]})

__all__ = [
    "PAPERS_CNN",
    "PROTOCOLS",
    "EncoderSpec",
    "Fold",
    "FoldSide",
    "FrontEnd",
    "SpeechData",
    "check_protocol",
    "collate",
    "divide",
    "leave_one_group_out",
    "leave_one_speaker_out",
    "select_folds",
]
