"""Enrolled speakers: what a model keeps of a person's neutral speech, so that nobody keeps the recording.

A model whose head has ``DisentangleConfig(reference="difference")`` hears a speaker better who was enrolled: the features of one or
several neutral sentences, or of utterances in which nobody said which are neutral, stand for h_n in inference.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dsnet_plugin.digests import digests
from dsnet_plugin.errors import CheckpointError, ConfigError, NeutralReferenceError, ShapeError, WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.slot import StrippedHead

if TYPE_CHECKING:
    from dsnet_plugin.wrapped_model import WrappedModel

_ROUNDS = 2
"""How often the most neutral utterances are chosen, each time with the last choice as the reference."""


@dataclass(frozen=True)
class Speaker:
    """An enrolled speaker, of no use to any model but the one that enrolled.

    Args:
        features: h_n, the mean over the sentences, shape (D,).
        model: the digest of the model, see :func:`model_digest`.
    """

    features: Tensor
    model: str

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file of D numbers, whole or not at all."""
        from dsnet_plugin.serialization import write_bytes  # which knows more than this file

        content = {"features": self.features.detach().cpu().contiguous()}
        write_bytes(Path(path), save(content, {"dsnet_speaker": json.dumps({"model": self.model})}))

    @classmethod
    def load(cls, path: str | Path) -> "Speaker":
        """Reads what :meth:`save` wrote.

        Raises:
            CheckpointError: no such file, damaged, or no enrolled speaker.
        """
        try:
            with safe_open(path, framework="pt") as archive:
                record = json.loads((archive.metadata() or {})["dsnet_speaker"])
                speaker = cls(archive.get_tensor("features"), record["model"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} holds no enrolled speaker ({error!r}): expected what Speaker.save wrote"
            ) from error
        if speaker.features.dim() != 1 or not torch.isfinite(speaker.features).all():
            raise CheckpointError(f"{path} holds no enrolled speaker: expected one vector of finite numbers")
        return speaker


def model_digest(model: nn.Module) -> str:
    """A digest of all weights and buffers, 16 hexadecimal digits; two models of one digest make the same features.

    What a criterion holds, such as the weights of classes, is no part of it.
    """
    state = {name: value for name, value in model.state_dict().items() if ".task_loss." not in f".{name}"}
    return sha256(json.dumps(digests(state.items()), sort_keys=True).encode()).hexdigest()[:16]


def enrol_features(
    head: DisentangleHead, h: Tensor, choose: int | None = None, neutral_class: int | None = None
) -> Tensor:
    """The reference that utterances of one speaker give: their mean, or that of the most neutral ones.

    Args:
        head: with a reference, in eval mode.
        h: features of M utterances of one speaker, shape (M, D).
        choose: how many of them to take, those to which the head gives the highest probability of ``neutral_class``; asked
            twice, the second time with the first choice as the reference (iterative feature normalisation, the paper's [14]).
            None takes all, as for sentences that are known to be neutral.
        neutral_class: the index of the neutral class.

    Returns:
        Shape (D,).

    Raises:
        ShapeError: no utterance, or another width.
        NeutralReferenceError: features that are not numbers.
        ConfigError: a choice without the neutral class, or of less than one.
    """
    if h.dim() != 2 or h.shape[1] != head.in_features or not len(h):
        raise ShapeError(
            f"utterances to enrol have features of shape {tuple(h.shape)}; expected (M, {head.in_features})"
        )
    if not bool(torch.isfinite(h).all()):
        raise NeutralReferenceError(
            "the features of an utterance to enrol are not numbers; look for a damaged recording"
        )
    if choose is None:
        return h.mean(0)
    if choose < 1 or neutral_class is None or not 0 <= neutral_class < head.num_classes:
        raise ConfigError(
            f"choose={choose}, neutral_class={neutral_class}: expected at least 1 utterance and the index of the neutral "
            f"class, 0 to {head.num_classes - 1}"
        )
    reference: Tensor | None = None
    for _ in range(_ROUNDS):
        logits = head(h, neutral=None if reference is None else reference.expand_as(h))
        assert isinstance(logits, Tensor)
        chosen = logits.softmax(1)[:, neutral_class].topk(min(choose, len(h))).indices
        reference = h[chosen].mean(0)
    assert reference is not None
    return reference


def speaker_rows(speakers: Speaker | Sequence[Speaker], head: DisentangleHead, digest: str) -> Tensor:
    """The references of one speaker (1, D), or of N, one for each row of a batch (N, D).

    Raises:
        CheckpointError: a speaker whom another model enrolled.
        ConfigError: a head that takes no reference.
        WrapError: no speaker, or something else.
    """
    check_refers(head)
    several = isinstance(speakers, list | tuple) and not isinstance(speakers, Speaker)
    listed: Any = speakers if several else [speakers]
    if not listed:
        raise WrapError("no speaker is given; expected one Speaker, or one a row")
    for speaker in listed:
        check_enrolled(speaker, digest)
    like = next(head.parameters())
    return torch.stack([speaker.features.to(like.device, like.dtype) for speaker in listed])


def enrol(
    model: "WrappedModel", encode: Callable[[], Tensor], choose: int | None = None, neutral_class: int | None = None
) -> Speaker:
    """Enrols a speaker: what ``model(x, enrolled=speaker)`` needs of their neutral speech, D numbers.

    Args:
        model: a wrapped model whose head takes a reference, in eval mode.
        encode: computes the features (M, D) of neutral sentences of one speaker; or with ``choose`` of any utterances.
        choose: takes the reference from the utterances that the model finds most neutral, so many of them.
        neutral_class: the index of the neutral class, for ``choose``.

    Raises:
        ConfigError, ShapeError, NeutralReferenceError: see :func:`enrol_features`.
        WrapError: in training mode.
    """
    check_refers(model.head)
    if model.training:
        raise WrapError("a speaker is enrolled in eval mode: call eval() first")
    with torch.no_grad():
        features = enrol_features(model.head, encode(), choose, neutral_class)
    return Speaker(features.clone(), known_digest(model))


_digests: WeakKeyDictionary[nn.Module, tuple[Any, str]] = WeakKeyDictionary()
"""The digest of a model beside what tells whether a weight has changed since."""


def known_digest(model: nn.Module) -> str:
    """The :func:`model_digest`, computed again when a weight has changed."""
    tensors = model.state_dict(keep_vars=True).values()
    now = tuple((id(t), None if t.is_inference() else t._version) for t in tensors)
    before, digest = _digests.get(model, (None, ""))
    if before != now:
        digest = model_digest(model)
        _digests[model] = now, digest
    return digest


def refer_to(model: nn.Module, speaker: Speaker | None) -> None:
    """Sets the speaker whom a stripped model hears from now on; None for nobody in particular. No file of the model keeps them.

    Raises:
        CheckpointError: a speaker whom another model enrolled.
        WrapError: no stripped model of a head that takes a reference.
    """
    heads = [module for module in model.modules() if isinstance(module, StrippedHead) and module.digest is not None]
    if not heads:
        raise WrapError("no stripped model that takes a reference: expected what strip() of a wrapped one gave")
    for head in heads:
        assert head.digest is not None
        if speaker is not None:
            check_enrolled(speaker, head.digest)
        like = next(head.p_er.parameters())
        head.reference = None if speaker is None else speaker.features.to(like.device, like.dtype)


def check_refers(head: DisentangleHead) -> None:
    """Refuses a head that takes no reference in inference.

    Raises:
        ConfigError: says how to train one that does.
    """
    if head.config.reference == "none":
        raise ConfigError(
            "this model takes no reference in inference; train it with DisentangleConfig(reference='difference')"
        )


def check_enrolled(speaker: Speaker, digest: str) -> None:
    """Refuses a speaker whom another model enrolled.

    Raises:
        CheckpointError: names both digests.
        WrapError: no speaker.
    """
    if not isinstance(speaker, Speaker):
        raise WrapError(
            f"a {type(speaker).__name__} in the place of a speaker: give what enrol() or Speaker.load() gave"
        )
    if speaker.model != digest:
        raise CheckpointError(
            f"a speaker whom another model enrolled (digest {speaker.model}, this one's is {digest}): enrol them with this model"
        )
