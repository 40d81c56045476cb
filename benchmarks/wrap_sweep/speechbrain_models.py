"""Encoders and classifiers of speechbrain, joined in a module as a Brain's ``compute_forward`` joins them."""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject
from benchmarks.wrap_sweep.transformers_models import transformers_subject

MODELS = (
    "ECAPA_TDNN linear",
    "Xvector linear",
    "Xvector Classifier",
    "ResNet linear",
    "wav2vec2 recipe",
    "CRDNN frames",
    "ECAPA_TDNN Classifier",
)


class Joined(nn.Module):
    """An encoder and a classifier, whose one frame an utterance is taken away at the end."""

    def __init__(self, encoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of features of shape (N, frames, mel)."""
        scores: Tensor = self.classifier(self.encoder(x))
        return scores.squeeze(1)


class Recipe(nn.Module):
    """The recipe for IEMOCAP: mean pooling, a linear layer without a bias, log-softmax."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        from speechbrain.nnet.activations import Softmax
        from speechbrain.nnet.linear import Linear
        from speechbrain.nnet.pooling import StatisticsPooling

        self.encoder, self.avg_pool = encoder, StatisticsPooling(return_std=False)
        self.output_mlp = Linear(input_size=width, n_neurons=NUM_CLASSES, bias=False)
        self.log_softmax = Softmax(apply_log=True)

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Log-probabilities of waveforms and their relative lengths."""
        outputs = self.avg_pool(self.encoder(wavs).last_hidden_state, wav_lens)
        scores: Tensor = self.log_softmax(self.output_mlp(outputs.view(outputs.shape[0], -1)))
        return scores


def names() -> tuple[str, ...]:
    """The names of the models."""
    import speechbrain.nnet.linear  # noqa: F401

    return MODELS


def speechbrain_subject(name: str) -> Subject:
    """A small encoder with a classifier."""
    from speechbrain.lobes.models import ECAPA_TDNN, Xvector
    from speechbrain.lobes.models.CRDNN import CRDNN
    from speechbrain.lobes.models.ResNet import ResNet
    from speechbrain.nnet.linear import Linear

    mel = torch.randn(BATCH_SIZE, 60, 40)
    if name == "wav2vec2 recipe":
        under: Any = transformers_subject("wav2vec2")
        encoder, waves = under.model.wav2vec2, under.inputs["input_values"]
        return Subject("speechbrain", Recipe(encoder, 32), (waves, torch.ones(BATCH_SIZE)), 32)
    if name == "CRDNN frames":
        frames = CRDNN(input_shape=mel.shape, cnn_channels=[8, 8], rnn_layers=1, rnn_neurons=16, dnn_neurons=24)
        return Subject("speechbrain", Joined(frames, Linear(n_neurons=NUM_CLASSES, input_size=24)), (mel,))
    if name.startswith("ECAPA_TDNN"):
        widths = {"channels": [32] * 4 + [96], "lin_neurons": 24, "attention_channels": 16, "se_channels": 16}
        encoder = ECAPA_TDNN.ECAPA_TDNN(40, res2net_scale=4, **widths)
        if name.endswith("Classifier"):
            cosine = ECAPA_TDNN.Classifier(24, lin_blocks=1, lin_neurons=24, out_neurons=NUM_CLASSES)
            return Subject("speechbrain", Joined(encoder, cosine), (mel,))
    elif name.startswith("Xvector"):
        encoder = Xvector.Xvector(in_channels=40, tdnn_channels=[32, 32, 32, 32, 48], lin_neurons=24)
        if name.endswith("Classifier"):
            shape = (BATCH_SIZE, 1, 24)
            block = Xvector.Classifier(shape, lin_neurons=16, out_neurons=NUM_CLASSES)
            return Subject("speechbrain", Joined(encoder, block), (mel,), 24)
    else:
        encoder = ResNet(40, channels=[8, 8, 16, 16], block_sizes=[1, 1, 1, 1], lin_neurons=24)
    return Subject("speechbrain", Joined(encoder, Linear(n_neurons=NUM_CLASSES, input_size=24)), (mel,), 24)


LIBRARY = Library(names, speechbrain_subject, refused=frozenset({"CRDNN frames", "ECAPA_TDNN Classifier"}))
"""CRDNN gives one row of features a frame. ECAPA-TDNN's own classifier has no linear layer: it is a matrix of unit vectors."""
