"""Batches, steps and gradients with which the methods that know speakers are tested."""

import torch

from backbones import CNNEncoder
from benchmarks.data.protocols import leave_one_speaker_out
from benchmarks.methods import METHODS
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.device import make_accelerator
from benchmarks.training.fit import fit, make_method
from benchmarks.training.identity import TrainingIdentity
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.conftest import FRAMES
from tests.benchmarks.in_memory import identity_of

SPEAKERS = 3


def make(name, seed=0, **config):
    """A method on the paper's encoder, for three speakers and four emotions."""
    torch.manual_seed(seed)
    return METHODS[name](CNNEncoder(), 4, **{"num_speakers": SPEAKERS, **config})


def batch(rows=6, target=0, frames=32, seed=0):
    """Random features of speakers in turn, each with a colour of its own; ``target`` rows of a further speaker."""
    torch.manual_seed(seed)
    colours = torch.randn(SPEAKERS + 1, 1, 1, 80)
    speakers = torch.arange(rows) % SPEAKERS
    found = {
        "inputs": torch.randn(rows, 3, frames, 80) + colours[speakers],
        "labels": torch.randint(4, (rows,)),
        "speakers": speakers,
    }
    if target:
        found["target"] = torch.randn(target, 3, frames, 80) + colours[SPEAKERS]
    return found


def adam_step(method, phase=None, progress=0.5, precision="fp32", learning_rate=1e-3):
    """The training loop's step."""
    step = AdamStep(method, make_adam(method, learning_rate), make_accelerator("cpu", precision))
    step.progress = progress
    step.phase = phase or step.phase
    return step


class Recording:
    """A step that moves nothing and keeps what it was given."""

    def __init__(self, phase="all", progress=0.5):
        self.phase, self.progress = phase, progress
        self.updates, self.watched = [], []

    def update(self, loss, *groups):
        self.updates.append((loss, [list(group) for group in groups]))

    def watch(self, losses):
        self.watched.append(dict(losses))


def snapshot(module):
    """Parameters and buffers by name, as they are now."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    """The names of the parameters and buffers that are no longer what they were."""
    return {name for name, value in module.state_dict().items() if not torch.equal(before[name], value)}


def gradient(loss, module):
    """The gradient of a loss on all parameters of a module, as one vector; zero where it does not reach."""
    parameters = list(module.parameters())
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, found, strict=True)]
    )


def move(module, direction, length):
    """Moves the parameters of a module by a vector of the given length."""
    torch.nn.utils.vector_to_parameters(
        torch.nn.utils.parameters_to_vector(module.parameters()).detach() + length * direction / direction.norm(),
        module.parameters(),
    )


def train(name, data, folder, **config):
    """A method trained for two epochs on a fold of the small corpus, and how that went."""
    settings = TrainingSettings(epochs=2, max_frames=FRAMES, batch_size=8)
    fold = leave_one_speaker_out(data.utterances)[1]
    method = make_method(name, config, data, fold, settings)
    identity = TrainingIdentity(identity_of(data), name, method.config(), "loso", fold.number, settings)
    return method, fit(method, data, fold, identity, folder, make_accelerator("cpu", "fp32"))
