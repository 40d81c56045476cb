"""Encoders of torchaudio with what people put behind them, and its models of frames as they are."""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject

WAV2VEC2 = {
    **{
        "extractor_mode": "group_norm",
        "extractor_conv_layer_config": [(16, 10, 5), (16, 8, 4)],
        "extractor_conv_bias": False,
    },
    **{"encoder_embed_dim": 32, "encoder_projection_dropout": 0.0, "encoder_pos_conv_kernel": 16},
    **{"encoder_pos_conv_groups": 2, "encoder_num_layers": 2, "encoder_num_heads": 2, "encoder_attention_dropout": 0.0},
    **{"encoder_ff_interm_features": 48, "encoder_ff_interm_dropout": 0.0, "encoder_dropout": 0.0},
    **{"encoder_layer_norm_first": False, "encoder_layer_drop": 0.0},
}
MODELS = ("wav2vec2_model", "wavlm_model", "Conformer", "Emformer", "wav2vec2_model aux", "Wav2Letter", "DeepSpeech")
FRAMES = MODELS[4:]


class Pooled(nn.Module):
    """Mean of an encoder's frames, a hidden layer, classes."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, NUM_CLASSES))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Class scores of padded inputs, and their lengths where the encoder takes them."""
        frames, _ = self.encoder(x, lengths)
        scores: Tensor = self.head(frames.mean(1))
        return scores


def names() -> tuple[str, ...]:
    """The names of the models."""
    import torchaudio.models  # noqa: F401

    return MODELS


def torchaudio_subject(name: str) -> Subject:
    """A small model, pooled unless it gives classes of frames itself."""
    from torchaudio import models

    waves, lengths = torch.randn(BATCH_SIZE, 4000), torch.tensor([4000, 3000])
    mel, frames = torch.randn(BATCH_SIZE, 40, 32), torch.tensor([40, 40])
    made: dict[str, tuple[Any, tuple[Tensor, ...]]] = {
        "wav2vec2_model": (lambda: models.wav2vec2_model(**WAV2VEC2, aux_num_out=None), (waves, lengths)),
        "wavlm_model": (
            lambda: models.wavlm_model(**WAV2VEC2, encoder_num_buckets=32, encoder_max_distance=80, aux_num_out=None),
            (waves,),  # it takes no lengths
        ),
        "Conformer": (lambda: models.Conformer(32, 2, 48, 2, 3), (mel, frames)),
        "Emformer": (lambda: models.Emformer(32, 2, 48, 2, segment_length=4), (mel, frames)),
        "wav2vec2_model aux": (lambda: models.wav2vec2_model(**WAV2VEC2, aux_num_out=NUM_CLASSES), (waves,)),
        "Wav2Letter": (lambda: models.Wav2Letter(NUM_CLASSES, "mfcc", 32), (mel.transpose(1, 2),)),
        "DeepSpeech": (lambda: models.DeepSpeech(32, 24, NUM_CLASSES), (mel[:, None],)),
    }
    make, inputs = made[name]
    model = make() if name in FRAMES else Pooled(make())
    return Subject("torchaudio", model, inputs, 32)


LIBRARY = Library(names, torchaudio_subject, refused=frozenset(FRAMES))
