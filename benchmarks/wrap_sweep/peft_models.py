"""Adapters of peft on an audio-classification class of transformers: wrapped when they are in it already."""

from typing import Any

from benchmarks.wrap_sweep.subject import Library, Subject
from benchmarks.wrap_sweep.transformers_models import transformers_subject

BASES = ("wav2vec2", "whisper", "audio-spectrogram-transformer")
TARGETS = ["q_proj", "v_proj", "query", "value"]
"""The projections of attention, by the names that the classes give them."""
ADAPTERS: dict[str, dict[str, Any]] = {
    "LoraConfig": {"r": 4},
    "LoHaConfig": {"r": 4},
    "LoKrConfig": {"r": 4},
    "VeraConfig": {"r": 4},
    "OFTConfig": {"oft_block_size": 4},
    "BOFTConfig": {"boft_block_size": 4},
    "IA3Config": {"feedforward_modules": []},
    "HRAConfig": {"r": 4},
    "FourierFTConfig": {"n_frequency": 8},
}


def names() -> list[str]:
    """Each adapter on one class, and low-rank adapters on all three."""
    import peft  # noqa: F401

    return [
        f"{adapter} {base}" for base in BASES for adapter in ADAPTERS if base == "wav2vec2" or adapter == "LoraConfig"
    ]


def peft_subject(name: str) -> Subject:
    """A transformers model under an adapter."""
    import peft

    adapter, base = name.split()
    under = transformers_subject(base)
    config = getattr(peft, adapter)(target_modules=TARGETS, **ADAPTERS[adapter])
    model: Any = peft.get_peft_model(under.model, config)
    return Subject("peft", model, under.inputs, under.width)


LIBRARY = Library(names, peft_subject)
