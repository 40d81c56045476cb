"""DSNet as a plug-in: a disentanglement head for any speech-emotion model (Chen and Zhang, 2023).

``wrap`` puts a ``DisentangleHead`` in the place of a model's classifier, ``NeutralReferences`` says which neutral utterance stands for which
speaker, and the three losses keep emotion and all else apart. Needs torch and safetensors alone.
"""

from typing import TYPE_CHECKING

from dsnet_plugin.errors import (
    CheckpointError,
    ConfigError,
    DSNetError,
    HeadNotFoundError,
    NeutralReferenceError,
    PrecisionError,
    ShapeError,
    WrapError,
)
from dsnet_plugin.late import late_names

if TYPE_CHECKING:
    from dsnet_plugin.batch_norm import recompute_batch_norm
    from dsnet_plugin.collate import NeutralCollator
    from dsnet_plugin.config import DisentangleConfig
    from dsnet_plugin.enrolment import Speaker, enrol_features, refer_to
    from dsnet_plugin.head import AttentionBlock, Classifier, DisentangleHead, DisentangleOutput, Projector, Restorer
    from dsnet_plugin.location import Location, locate
    from dsnet_plugin.losses import calibration_loss, concordance_loss, orthogonality_loss, reconstruction_loss
    from dsnet_plugin.neutral import NeutralBatch, NeutralReferences
    from dsnet_plugin.probes import ProbeResult, hsic, linear_probe
    from dsnet_plugin.reference_pass import neutral_pass
    from dsnet_plugin.serialization import load_pretrained, save_pretrained
    from dsnet_plugin.stripped import load_stripped
    from dsnet_plugin.two_lines import attach, wrap
    from dsnet_plugin.wrapped_model import WrappedModel
    from dsnet_plugin.wrapping.status import Status
else:
    __getattr__ = late_names(
        __name__,
        {
            "batch_norm": ["recompute_batch_norm"],
            "collate": ["NeutralCollator"],
            "config": ["DisentangleConfig"],
            "enrolment": ["Speaker", "enrol_features", "refer_to"],
            "head": ["AttentionBlock", "Classifier", "DisentangleHead", "DisentangleOutput", "Projector", "Restorer"],
            "location": ["Location", "locate"],
            "losses": ["calibration_loss", "concordance_loss", "orthogonality_loss", "reconstruction_loss"],
            "neutral": ["NeutralBatch", "NeutralReferences"],
            "probes": ["ProbeResult", "hsic", "linear_probe"],
            "reference_pass": ["neutral_pass"],
            "serialization": ["load_pretrained", "save_pretrained"],
            "stripped": ["load_stripped"],
            "two_lines": ["attach", "wrap"],
            "wrapped_model": ["WrappedModel"],
            "wrapping.status": ["Status"],
        },
    )

__version__ = "0.1.0"

__all__ = [
    "AttentionBlock",
    "CheckpointError",
    "Classifier",
    "ConfigError",
    "DSNetError",
    "DisentangleConfig",
    "DisentangleHead",
    "DisentangleOutput",
    "HeadNotFoundError",
    "Location",
    "NeutralBatch",
    "NeutralCollator",
    "NeutralReferenceError",
    "NeutralReferences",
    "PrecisionError",
    "ProbeResult",
    "Projector",
    "Restorer",
    "ShapeError",
    "Speaker",
    "Status",
    "WrapError",
    "WrappedModel",
    "attach",
    "calibration_loss",
    "concordance_loss",
    "enrol_features",
    "hsic",
    "linear_probe",
    "load_pretrained",
    "load_stripped",
    "locate",
    "neutral_pass",
    "orthogonality_loss",
    "recompute_batch_norm",
    "reconstruction_loss",
    "refer_to",
    "save_pretrained",
    "wrap",
]
