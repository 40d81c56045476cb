"""What ``wrap`` promises of each model, checked one by one.

Without a hint, or with one example, the head takes the place of the classifier and of nothing else; the model returns what it
returned before, of the same type and kind; each parameter that learned goes on learning; neutral speech leaves the running
statistics alone; and the stripped model, and the saved one loaded into its base, give the same answers.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Subject
from dsnet_plugin import (
    HeadNotFoundError,
    Location,
    WrappedModel,
    load_pretrained,
    recompute_batch_norm,
    save_pretrained,
    wrap,
)
from dsnet_plugin.errors import DSNetError

NO_HINT, EXAMPLE = "nothing", "an example"
LOGITS, SIGMOID, PROBABILITIES, LOG_PROBABILITIES = (
    "logits",
    "scores between 0 and 1",
    "probabilities",
    "log-probabilities",
)
BEHIND: dict[str, Callable[[Tensor], Tensor]] = {
    LOGITS: lambda rows: rows,
    SIGMOID: torch.sigmoid,
    PROBABILITIES: lambda rows: rows.softmax(-1),
    LOG_PROBABILITIES: lambda rows: rows.log_softmax(-1),
}
"""What a model may do with its classifier's output, by the kind of values that this gives."""


class SweepError(Exception):
    """A wrapped model is not what it should be."""


@dataclass(frozen=True)
class Kept:
    """A model that keeps all promises."""

    location: Location
    """Where the head stands."""
    hint: str
    """What ``wrap`` had to be given beside the number of classes."""


def check(subject: Subject) -> Kept:
    """Wraps a model without naming its classifier, and checks what ``wrap`` promises of it.

    Raises:
        DSNetError: ``wrap`` refuses the model, with and without an example, and leaves it as it was.
        SweepError: something is not as it should be; the message says what.
    """
    inputs = subject.inputs
    # Random weights under running averages of 0 and 1 would let features grow by a factor with each layer.
    recompute_batch_norm(subject.model.train(), [inputs])
    base = copy.deepcopy(subject.model.eval())
    names = {id(parameter): name for name, parameter in subject.model.named_parameters()}
    wrapped, hint = _wrap(subject)
    if wrapped.head.in_features != subject.width:
        raise SweepError(f"a head of width {wrapped.head.in_features}, the features have {subject.width}")
    before = _run(base, inputs)
    kind = _kind_before(wrapped, base, before, inputs)
    _returns_what_it_did(_run(wrapped, inputs), before, kind)
    _leaves_statistics_alone(wrapped, inputs)
    _learns(wrapped, _learning(base, inputs), names, inputs)
    trained = _run(wrapped.eval(), inputs)
    _same(_run(wrapped.strip(), inputs), trained, "the stripped model gives other answers")
    wrapped.requires_grad_(False)
    with TemporaryDirectory() as folder:
        save_pretrained(wrapped, Path(folder))
        loaded = load_pretrained(Path(folder), base)
    _same(_run(loaded, inputs), trained, "saved after freezing and loaded again, it gives other answers")
    return Kept(wrapped.location, hint)


def _wrap(subject: Subject) -> tuple[WrappedModel, str]:
    """The wrapped model, confirmed by a forward pass, and the least hint that this took."""
    model, inputs = subject.model, subject.inputs
    modules, state = dict(model.named_modules()), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for hint, example in ((NO_HINT, None), (EXAMPLE, inputs)):
        try:
            wrapped = wrap(model, num_classes=NUM_CLASSES, example=example, config=subject.config)
        except DSNetError as error:
            refusal = error
        else:
            try:
                _run(wrapped, inputs)
                return wrapped, hint
            except HeadNotFoundError as error:  # the first forward pass does not confirm what the module tree told
                refusal = error
                wrapped.unwrap()
        if dict(model.named_modules()) != modules or any(
            not torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items()
        ):
            raise SweepError(f"a refusal changed the model: {refusal}")
    raise refusal


def _kind_before(wrapped: WrappedModel, base: nn.Module, before: Any, inputs: Any) -> str:
    """What kind of values the model gave; the old classifier, given what the head is given, has to give these."""
    if wrapped.location.behind:
        return LOGITS  # the head stands behind a pooling that belongs to the old classifier
    seen: list[Tensor] = []
    place = wrapped.model.get_submodule(wrapped.location.names[0])
    handle = place.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    _run(wrapped, inputs)
    handle.remove()
    classifier = base.get_submodule(wrapped.location.names[0])

    def rows(h: Tensor) -> Tensor:
        return next(iter(_tensors(_run(classifier, (h,))).values())).reshape(BATCH_SIZE, NUM_CLASSES)

    here, far = rows(seen[0]), torch.cat([rows(100 * seen[0]), rows(-100 * seen[0])])
    for kind, function in BEHIND.items():
        if torch.allclose(function(here), _scores(before).reshape(here.shape), rtol=1e-4, atol=1e-5):
            # What is inside the block holds for any features; a classifier of zeros gives the same for all.
            return kind if kind != LOGITS or torch.equal(far, here.repeat(2, 1)) else _kind(far)
    raise SweepError("the head is not given what the classifier was")


def _returns_what_it_did(after: Any, before: Any, kind: str) -> None:
    """The output has the type, the parts and the shapes that it had, and its scores are of the kind that they were."""
    if type(after) is not type(before):
        raise SweepError(f"gives a {type(after).__name__} in the place of a {type(before).__name__}")
    shapes, expected = ({name: tensor.shape for name, tensor in _tensors(output).items()} for output in (after, before))
    if shapes != expected:
        raise SweepError(f"gives tensors of {shapes} in the place of {expected}")
    if kind not in (LOGITS, _kind(_scores(after))):
        raise SweepError(f"gives {_kind(_scores(after))} in the place of {kind}")


def _leaves_statistics_alone(wrapped: WrappedModel, inputs: Any) -> None:
    """Two training passes that differ in their neutral speech alone leave the same running statistics."""
    state = copy.deepcopy(wrapped.state_dict())
    left = []
    for level in (1.0, 3.0):
        wrapped.load_state_dict(state)
        set_seed(0)  # of NumPy, too, by which transformers masks
        _objective(wrapped, inputs, level)
        left.append({name: buffer.clone() for name, buffer in wrapped.model.named_buffers()})
    wrapped.load_state_dict(state)
    moved = [name for name, buffer in left[0].items() if not torch.equal(buffer, left[1][name])]
    if moved:
        raise SweepError(f"neutral speech moves the running statistics {moved[0]}, {len(moved)} in all")


def _learns(wrapped: WrappedModel, learning: set[str], names: Mapping[int, str], inputs: Any) -> None:
    """One step of training: what learned before has a gradient, and so has the whole head.

    Args:
        wrapped: the wrapped model.
        learning: the names of the parameters that learned in the model as it was.
        names: the name that each of its parameters had, by the parameter's id.
        inputs: of the model.
    """
    wrapped.zero_grad(set_to_none=True)
    _objective(wrapped, inputs, 1.0).backward()  # type: ignore[no-untyped-call]
    for name, parameter in wrapped.head.named_parameters():
        if parameter.grad is None or not parameter.grad.isfinite().all():
            raise SweepError(f"no gradient in the head's {name}")
        # What a batch norm follows is free of its bias: that gradient is there, and 0.
        if name != "classifier.0.bias" and not parameter.grad.any():
            raise SweepError(f"a gradient of zeros in the head's {name}")
    after = {names.get(id(parameter)) for parameter in wrapped.parameters() if parameter.grad is not None}
    silent = sorted(name for name in learning - after if not name.startswith(wrapped.location.names))
    if silent:
        raise SweepError(f"no gradient in {silent[0]}, {len(silent)} parameters in all")
    torch.optim.Adam(wrapped.parameters(), lr=1e-4).step()


def _learning(model: nn.Module, inputs: Any) -> set[str]:
    """The names of the parameters that the model's scores teach."""
    scores = _scores(model(*inputs) if isinstance(inputs, tuple) else model(**inputs))
    scores.square().sum().backward()  # type: ignore[no-untyped-call]
    names = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    return names


def _objective(wrapped: WrappedModel, inputs: Any, level: float) -> Tensor:
    """The whole objective in training mode; the neutral speech is the inputs' own, at another level."""
    parts = inputs if isinstance(inputs, tuple) else tuple(inputs.values())
    louder = tuple(level * part if isinstance(part, Tensor) and part.is_floating_point() else part for part in parts)
    neutral = louder if isinstance(inputs, tuple) else dict(zip(inputs, louder, strict=True))
    args, kwargs = (inputs, {}) if isinstance(inputs, tuple) else ((), dict(inputs))
    labels = torch.arange(BATCH_SIZE) % NUM_CLASSES
    loss: Tensor = wrapped.train()(*args, **kwargs, labels=labels, neutral=neutral).loss
    return loss


def _run(model: nn.Module, inputs: Any) -> Any:
    torch.manual_seed(0)  # speechbrain's pooling adds noise in evaluation, too
    with torch.no_grad():
        return model(*inputs) if isinstance(inputs, tuple) else model(**inputs)


def _tensors(output: Any) -> dict[str, Tensor]:
    """The tensors of an output by their place in it."""
    if isinstance(output, Tensor):
        return {"": output}
    parts = output.items() if isinstance(output, Mapping) else enumerate(output) if isinstance(output, tuple) else ()
    return {f"{name}.{rest}": tensor for name, part in parts for rest, tensor in _tensors(part).items()}


def _scores(output: Any) -> Tensor:
    """The class scores of an output."""
    return next(tensor for tensor in _tensors(output).values() if tensor.shape[-1] == NUM_CLASSES)


def _kind(scores: Tensor) -> str:
    """What a user takes the values for."""
    zero = torch.zeros(())
    if (scores <= 1e-6).all() and torch.allclose(scores.logsumexp(-1), zero, atol=1e-4):
        return LOG_PROBABILITIES
    if ((scores >= 0) & (scores <= 1)).all():
        return PROBABILITIES if torch.allclose(scores.sum(-1), zero + 1, atol=1e-4) else SIGMOID
    return LOGITS


def _same(output: Any, expected: Any, otherwise: str) -> None:
    if not torch.allclose(_scores(output), _scores(expected), rtol=1e-4, atol=1e-5):
        raise SweepError(f"{otherwise}: they differ by {(_scores(output) - _scores(expected)).abs().max():.2g}")
