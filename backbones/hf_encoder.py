"""Speech models of transformers as encoders of waveforms: wav2vec2 and its kin, Whisper's encoder, AST."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backbones.frontend import FRAME_LENGTH, FRAME_SHIFT, SAMPLE_RATE
from backbones.hf_loading import PROCESSORS, blueprint, build, load
from backbones.pooling import AttentionPool, mean_pool
from dsnet_plugin.errors import ConfigError, ShapeError

Pooling = Literal["mean", "attention"]
Freeze = Literal["none", "feature_extractor", "all"]


class HFEncoder(nn.Module):
    """A speech model of transformers under a pooling over time that leaves padding out.

    wav2vec2, HuBERT, WavLM, data2vec-audio, Whisper (its encoder) and AST, with the processor that belongs to the model.
    An utterance has the same features alone and in a padded batch:

    - Of the wav2vec2 family, models that are trained with an attention mask (``feat_extract_norm="layer"``, the large
      ones) get it. The others, such as wav2vec2-base, normalise each channel over the whole row, padding included, and
      their configuration asks for no mask; data2vec-audio's and some HuBERTs' position convolutions leak padding in spite
      of a mask. Those see the utterances of one length at a time and unpadded: as many passes a batch as it has lengths.
    - Whisper and AST pad each utterance to the one length they are made for (30 s, 10.24 s) or cut it; the pooling
      then takes the utterance's own frames (of AST its patches, without the two classification tokens). Their
      processors compute on the CPU, and no gradient reaches the waveform.

    SpecAugment, layer drop and wav2vec2's adapter are left out: the first draws from numpy's global state and refuses
    short utterances, the second takes a layer from the weighting.

    For hooks on the model's layers, ``rows`` holds the indices of the utterances that it sees while those of one length
    have their turn, and else None.

    Args:
        source: a folder that ``save_pretrained`` wrote (model and processor), or a hub id; see
            :func:`backbones.hf_loading.load` for what is accepted.
        pooling: ``"mean"``, or ``"attention"`` (:class:`AttentionPool`).
        freeze: ``"feature_extractor"`` keeps the convolutions in front as they are, ``"all"`` the whole model, which
            then stays in eval mode, too.
        layer_weights: pool a learned softmax weighting of all hidden states instead of the last.
        gradient_checkpointing: compute layers again in the backward pass, for memory.
        record: an earlier encoder's ``blueprint``, for the same architecture with random weights from no file at all.

    Shape:
        Waveforms (N, samples), 16 kHz, full scale 1; or ``{"waveform": (N, samples), "mask": (N, samples)}``, the mask
        True for an utterance's own samples, which come first. To (N, ``num_features``).

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
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("pooling", pooling, ("mean", "attention")),
            ("freeze", freeze, ("none", "feature_extractor", "all")),
        ):
            if value not in known:
                raise ConfigError(f"{name}={value!r}; expected one of {', '.join(known)}")
        self.model, self.processor = load(source) if record is None else build(source, record)
        self.blueprint = blueprint(self.model, self.processor)
        self.freeze = freeze
        config = self.model.config
        self.num_features: int = config.hidden_size
        self.rows: Tensor | None = None
        self.pool: Callable[..., Tensor] = AttentionPool(self.num_features) if pooling == "attention" else mean_pool
        self.layer_weights = nn.Parameter(torch.zeros(config.num_hidden_layers + 1)) if layer_weights else None
        self.takes_padding = not _is_wav2vec2_kin(config) or _is_masked_in_full(config)
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
        waveform, lengths = self._unpack(inputs)
        if lengths is None or self.takes_padding or len(set(lengths)) == 1:
            return self._features(waveform, lengths)
        rows: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            rows.setdefault(length, []).append(row)
        found, orders = [], []
        try:
            for length, own in rows.items():
                self.rows = torch.tensor(own, device=waveform.device)
                found.append(self._features(waveform[self.rows], [length] * len(own)))
                orders.append(self.rows)
        finally:
            self.rows = None
        return torch.cat(found)[torch.cat(orders).argsort()]

    def _unpack(self, inputs: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, list[int] | None]:
        """The waveforms and how many samples of each row are its own; None where all are, so that sizes stay dynamic."""
        waveform, mask = (inputs, None) if isinstance(inputs, Tensor) else (inputs["waveform"], inputs.get("mask"))
        if waveform.dim() != 2:
            raise ShapeError(f"waveforms of shape {tuple(waveform.shape)}; expected (N, samples) at {SAMPLE_RATE} Hz")
        lengths, shortest = None, waveform.shape[1]
        if mask is not None:
            if mask.shape != waveform.shape:
                raise ShapeError(f"a mask of shape {tuple(mask.shape)} for waveforms of {tuple(waveform.shape)}")
            if not torch.equal(mask.bool(), _first(mask.sum(1), mask.shape[1])):
                raise ShapeError("a mask with gaps: expected each row True for its own samples first, then False")
            lengths = mask.sum(1).tolist()
            shortest = min(lengths)
        if shortest < self.min_samples:
            raise ShapeError(
                f"an utterance of {shortest} samples; this model needs at least {self.min_samples} (pad with zeros)"
            )
        return waveform, lengths

    def _features(self, waveform: Tensor, lengths: list[int] | None) -> Tensor:
        if lengths is not None:
            waveform = waveform[:, : max(lengths)]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.freeze != "all"):
            states, mask = self._encode(waveform.float(), lengths)
        x = states[-1]
        if self.layer_weights is not None:
            weights = self.layer_weights.softmax(dim=0)
            x = sum((w * state for w, state in zip(weights, states, strict=True)), torch.zeros_like(x))
        h: Tensor = self.pool(x.transpose(1, 2), mask)
        return h

    def _encode(self, waveform: Tensor, lengths: list[int] | None) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The hidden states to pool, each (N, T, D), and which frames are the utterances' own."""
        config, mask = self.model.config, None
        if _is_wav2vec2_kin(config):
            valid = None
            if lengths is not None and min(lengths) < waveform.shape[1]:
                valid = _first(torch.tensor(lengths, device=waveform.device), waveform.shape[1])
            if self.processor.do_normalize:
                waveform = _standardise(waveform, valid)
            if valid is None:
                return self._run(waveform), None
            states = self._run(waveform.masked_fill(~valid, 0), attention_mask=valid.long())
            mask = self.model._get_feature_vector_attention_mask(states[-1].shape[1], valid.long())
            return states, mask
        if lengths is None:
            lengths = [waveform.shape[1]] * len(waveform)
        rows = [row[:length].cpu().numpy() for row, length in zip(waveform.detach(), lengths, strict=True)]
        found = self.processor(rows, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        states = self._run(found[self.model.main_input_name].to(waveform.device))
        if config.model_type == "whisper":
            hop = 2 * self.processor.hop_length  # its second convolution halves the frames
            own = torch.tensor([-(-length // hop) for length in lengths])
            mask = _first(own, states[-1].shape[1])
        else:
            states = tuple(state[:, 2:] for state in states)  # without the classification and distillation tokens
            frames = torch.tensor([1 + (length - FRAME_LENGTH) // FRAME_SHIFT for length in lengths])
            steps = 1 + (config.max_length - config.patch_size) // config.time_stride
            # A patch is the utterance's own if it begins within it; patches run over time first, then over frequency.
            own = -(-frames // config.time_stride)
            mask = _first(own, steps).repeat(1, states[-1].shape[1] // steps)
        return states, mask.to(waveform.device)

    def _run(self, values: Tensor, **options: Any) -> tuple[Tensor, ...]:
        if self.layer_weights is None:
            return (self.model(values, **options).last_hidden_state,)
        found = self.model(values, output_hidden_states=True, **options)
        return (*found.hidden_states[:-1], found.last_hidden_state)  # the last with the norm that follows it


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
    """Zero mean and unit variance over a row's own samples: ``Wav2Vec2FeatureExtractor``, on the waveform's device."""
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


def _first(lengths: Tensor, width: int) -> Tensor:
    """A mask (N, width), True for each row's first places."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]
