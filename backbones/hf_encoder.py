"""Speech models of transformers as encoders of waveforms: wav2vec2 and its kin, Whisper's encoder, AST."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backbones.frontend import FRAME_LENGTH, FRAME_SHIFT, SAMPLE_RATE
from backbones.hf_loading import PROCESSORS, Blueprint, blueprint, build, load
from backbones.pooling import AttentionPool, first_places, mean_pool, mean_std_pool
from backbones.whisper import WHISPER_STEP, whisper_states
from dsnet_plugin.config import check_choice
from dsnet_plugin.errors import ShapeError

Pooling = Literal["mean", "mean_std", "attention"]
Freeze = Literal["none", "feature_extractor", "all"]

_PROVENANCE = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
"""Entries of a configuration that say where a model comes from; its features do not depend on them."""


class HFEncoder(nn.Module):
    """A speech model of transformers and a pooling over time that leaves padding out.

    The model is wav2vec2, HuBERT, WavLM, data2vec-audio, Whisper (its encoder) or AST, with the processor that belongs to it.
    An utterance has the same features alone and in a padded batch:

    - Models of the wav2vec2 family that are trained with an attention mask (``feat_extract_norm="layer"``, the large
      ones) get it. The others, such as wav2vec2-base, normalise each channel over the whole row, padding included, and
      their configuration asks for no mask; data2vec-audio's and some HuBERTs' position convolutions leak padding in spite
      of a mask. These models see the utterances of one length at a time and unpadded, in a pass for each length.
    - Whisper is made for 30 s. Here an utterance is filled with silence to the next half second, the position embedding is cut
      to that length, and an utterance of more than 30 s is cut. Utterances that are filled to one length are one pass.
    - AST fills each utterance to the one length it is made for (10.24 s) or cuts it, and leaves out its two classification
      tokens. Its processor computes on the CPU, and no gradient reaches the waveform.

    The pooling takes the utterance's own frames alone.

    SpecAugment, layer drop and wav2vec2's adapter are left out: the first draws from numpy's global state and refuses
    short utterances, the second takes a layer from the weighting.

    ``blueprint`` is what builds the model again without its weights, ``recipe`` what its features depend on besides them.

    ``rows`` is for hooks on the model's layers: the indices of the utterances that it sees while those of like length
    have their turn, and else None.

    Args:
        source: a folder that ``save_pretrained`` wrote (model and processor), or a hub id; see
            :func:`backbones.hf_loading.load` for what is accepted.
        pooling: ``"mean"``; ``"mean_std"``, with the standard deviation beside the mean, twice as wide; or ``"attention"``
            (:class:`AttentionPool`).
        freeze: ``"feature_extractor"`` keeps the convolutions in front as they are, ``"all"`` the whole model, which
            then stays in eval mode, too.
        layer_weights: pool a learned softmax weighting of all hidden states instead of the last.
        gradient_checkpointing: compute layers again in the backward pass, to save memory.
        record: an earlier encoder's ``blueprint``, for the same architecture with random weights from no file at all.

    Shape:
        Waveforms (N, samples), 16 kHz, full scale 1, or ``{"waveform": (N, samples), "mask": (N, samples)}`` to
        (N, ``num_features``). The mask is True for an utterance's own samples, which come first.

    Raises:
        ConfigError: see :func:`backbones.hf_loading.load`; or an unknown pooling or freeze.
        ShapeError: when called on another shape, a mask with gaps, or an utterance too short for one frame.
    """

    input_kind = "waveform"

    def __init__(
        self,
        source: str,
        pooling: Pooling = "mean",
        freeze: Freeze = "none",
        layer_weights: bool = False,
        gradient_checkpointing: bool = False,
        record: Blueprint | None = None,
    ) -> None:
        super().__init__()
        check_choice("pooling", pooling, Pooling)
        check_choice("freeze", freeze, Freeze)
        self.model, self.processor = load(source) if record is None else build(source, record)
        self.blueprint = blueprint(self.model, self.processor)
        config = {key: value for key, value in self.blueprint["config"].items() if key not in _PROVENANCE}
        self.recipe = {"config": config, "processor": self.blueprint["processor"], "pooling": pooling}
        self.freeze = freeze
        config = self.model.config
        width: int = config.hidden_size
        self.num_features = 2 * width if pooling == "mean_std" else width
        self.rows: Tensor | None = None
        pools = {"mean": mean_pool, "mean_std": mean_std_pool}
        self.pool: Callable[..., Tensor] = AttentionPool(width) if pooling == "attention" else pools[pooling]
        self.layer_weights = nn.Parameter(torch.zeros(config.num_hidden_layers + 1)) if layer_weights else None
        masked = _is_wav2vec2_kin(config) and _is_masked_in_full(config)
        self.takes_padding = masked or config.model_type == "audio-spectrogram-transformer"
        self.min_samples = _receptive_field(config) if _is_wav2vec2_kin(config) else FRAME_LENGTH
        if gradient_checkpointing:
            older = self.model.gradient_checkpointing_enable  # its name before transformers 5
            getattr(self.model, "activation_checkpointing_enable", older)({"use_reentrant": False})
        if freeze == "feature_extractor":
            _freeze_front(self.model)
        elif freeze == "all":
            self.model.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "HFEncoder":
        """Sets the mode; a model that is frozen as a whole stays in eval mode."""
        super().train(mode)
        if self.freeze == "all":
            self.model.eval()
        return self

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Waveforms, (N, samples) or a dict with their mask, to h (N, D)."""
        return self._by_length(inputs, self._features)

    def pooled_states(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Waveforms to each hidden state pooled, (N, L, D): with ``layer_weights`` all L of them, else the last.

        This is what does not change while the whole model is frozen; the layer weights do not act on it.
        """
        return self._by_length(inputs, self._pooled)

    def _by_length(
        self, inputs: Tensor | Mapping[str, Tensor], compute: Callable[[Tensor, list[int] | None], Tensor]
    ) -> Tensor:
        """Computes in one pass over the batch, or in one for each length where the model cannot tell padding."""
        waveform, lengths = self._unpack(inputs)
        if lengths is None or self.takes_padding:
            return compute(waveform, lengths)
        step = WHISPER_STEP if self.model.config.model_type == "whisper" else 1
        alike: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            alike.setdefault(-(-length // step), []).append(row)
        if len(alike) == 1:
            return compute(waveform, lengths)
        parts, orders = [], []
        try:
            for rows in alike.values():
                self.rows = order = torch.tensor(rows, device=waveform.device)  # another thread may set its own
                parts.append(compute(waveform[order], [lengths[row] for row in rows]))
                orders.append(order)
        finally:
            self.rows = None
        return torch.cat(parts)[torch.cat(orders).argsort()]

    def _unpack(self, inputs: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, list[int] | None]:
        """The waveforms and how many samples of each row are its own; None where all are, so that sizes stay dynamic."""
        waveform, mask = (inputs, None) if isinstance(inputs, Tensor) else (inputs["waveform"], inputs.get("mask"))
        if waveform.dim() != 2:
            raise ShapeError(f"waveforms of shape {tuple(waveform.shape)}; expected (N, samples) at {SAMPLE_RATE} Hz")
        lengths, shortest = None, waveform.shape[1]
        if mask is not None:
            if mask.shape != waveform.shape:
                raise ShapeError(f"a mask of shape {tuple(mask.shape)} for waveforms of {tuple(waveform.shape)}")
            if not torch.equal(mask.bool(), first_places(mask.sum(1), mask.shape[1])):
                raise ShapeError("a mask with gaps: expected each row True for its own samples first, then False")
            lengths = mask.sum(1).tolist()
            shortest = min(lengths)
        if shortest < self.min_samples:
            raise ShapeError(
                f"an utterance of {shortest} samples; this model needs at least {self.min_samples} (pad with zeros)"
            )
        return waveform, lengths

    def _features(self, waveform: Tensor, lengths: list[int] | None) -> Tensor:
        if not isinstance(self.pool, AttentionPool):
            return self._weighted(self._pooled(waveform, lengths))
        states, mask = self._states(waveform, lengths)
        h: Tensor = self.pool(self._weighted(torch.stack(states, dim=1)).transpose(1, 2), mask)
        return h

    def _pooled(self, waveform: Tensor, lengths: list[int] | None) -> Tensor:
        states, mask = self._states(waveform, lengths)
        return torch.stack([self.pool(state.transpose(1, 2), mask) for state in states], dim=1)

    def _weighted(self, states: Tensor) -> Tensor:
        """All hidden states (N, L, ...) as one (N, ...)."""
        if self.layer_weights is None:
            return states[:, -1]
        weights = self.layer_weights.softmax(dim=0)
        return sum(
            (w * state for w, state in zip(weights, states.unbind(1), strict=True)), torch.zeros_like(states[:, 0])
        )

    def _states(self, waveform: Tensor, lengths: list[int] | None) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The hidden states to pool, and which frames are the utterances' own."""
        if lengths is not None:
            waveform = waveform[:, : max(lengths)]
        return self._encode(waveform.float(), lengths)

    def _encode(self, waveform: Tensor, lengths: list[int] | None) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The hidden states to pool, each (N, T, D), and which frames are the utterances' own."""
        config, mask = self.model.config, None
        if _is_wav2vec2_kin(config):
            valid = None
            if lengths is not None and min(lengths) < waveform.shape[1]:
                valid = first_places(torch.tensor(lengths, device=waveform.device), waveform.shape[1])
            if self.processor.do_normalize:
                waveform = _standardise(waveform, valid)
            if valid is None:
                return self._run(waveform), None
            states = self._run(waveform.masked_fill(~valid, 0), attention_mask=valid.long())
            mask = self.model._get_feature_vector_attention_mask(states[-1].shape[1], valid.long())
            return states, mask
        if config.model_type == "whisper":
            states, mask = whisper_states(self.model, self.processor, waveform, lengths)
            return (states if self.layer_weights is not None else states[-1:]), mask
        if lengths is None:
            lengths = [waveform.shape[1]] * len(waveform)
        rows = [row[:length].cpu().numpy() for row, length in zip(waveform.detach(), lengths, strict=True)]
        features = self.processor(rows, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        states = self._run(features[self.model.main_input_name].to(waveform.device))
        states = tuple(state[:, 2:] for state in states)  # without the classification and distillation tokens
        frames = torch.tensor([1 + (length - FRAME_LENGTH) // FRAME_SHIFT for length in lengths])
        steps = 1 + (config.max_length - config.patch_size) // config.time_stride
        # A patch is the utterance's own if it begins within it; patches run over time first, then over frequency.
        used_steps = -(-frames // config.time_stride)
        mask = first_places(used_steps, steps).repeat(1, states[-1].shape[1] // steps)
        return states, mask.to(waveform.device)

    def _run(self, values: Tensor, **options: Any) -> tuple[Tensor, ...]:
        if self.layer_weights is None:
            return (self.model(values, **options).last_hidden_state,)
        output = self.model(values, output_hidden_states=True, **options)
        return (*output.hidden_states[:-1], output.last_hidden_state)  # the last with the norm that follows it


def _is_wav2vec2_kin(config: Any) -> bool:
    return PROCESSORS[config.model_type] == "Wav2Vec2FeatureExtractor"


def _is_masked_in_full(config: Any) -> bool:
    """Whether a model with an attention mask sees nothing of the padding."""
    leaks = config.model_type == "data2vec-audio" or getattr(config, "conv_pos_batch_norm", False)
    return not leaks and config.feat_extract_norm == "layer"


def _receptive_field(config: Any) -> int:
    """Samples that the convolutions in front need for one frame."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def _standardise(waveform: Tensor, valid: Tensor | None = None) -> Tensor:
    """Gives a row's own samples zero mean and unit variance, as ``Wav2Vec2FeatureExtractor`` does, on the waveform's device."""
    valid = torch.ones_like(waveform, dtype=torch.bool) if valid is None else valid
    count = valid.sum(1, keepdim=True)
    centred = waveform - waveform.masked_fill(~valid, 0).sum(1, keepdim=True) / count
    variance = centred.masked_fill(~valid, 0).square().sum(1, keepdim=True) / count
    return centred / (variance + 1e-7).sqrt()


def _freeze_front(model: Any) -> None:
    """Freezes what stands before the transformer's layers: convolutions, or AST's patch embedding."""
    if hasattr(model, "feature_extractor"):
        model.feature_extractor._freeze_parameters()  # also spares their backward pass
        return
    parts = [model.conv1, model.conv2] if hasattr(model, "conv1") else [model.embeddings.patch_embeddings]
    for part in parts:
        part.requires_grad_(False)
