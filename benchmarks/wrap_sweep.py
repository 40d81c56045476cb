"""Wraps everything at hand without naming its classifier: ``python -m benchmarks.wrap_sweep``.

One architecture of each timm family, the twelve audio-classification classes of transformers, ten torchvision models, all
with random weights. Each must give the right width, keep its output type, give every new parameter a gradient in one
training step, and strip to the same logits. Prints a Markdown table and a total; the exit status is 1 if a model fails.
"""

import argparse
import copy
import gc
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.output.formats import terminal
from benchmarks.output.table import Table
from dsnet_plugin import DisentangleConfig, Location, locate, wrap

NUM_CLASSES = 4
BATCH_SIZE = 2
IMAGE_SIZE = 96
"""Height and width in pixels for the models that take images of any size; the others get their own."""

TIMM_MODELS = (
    *("beit_base_patch16_224", "botnet26t_256", "mobileone_s0", "resnet50_clip", "cait_xxs24_224", "coat_lite_tiny"),
    *("convit_tiny", "convmixer_768_32", "convnext_atto", "cpubone_nano", "crossvit_tiny_240", "csatv2"),
    *("cs3darknet_s", "cspnext_tiny", "davit_tiny", "deit_tiny_distilled_patch16_224", "densenet121", "dla46_c"),
    *("dpn48b", "edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0", "efficientnet_b0"),
    *("efficientvim_m1", "efficientvit_b0", "efficientvit_m0", "eva02_tiny_patch14_224", "fasternet_t0", "fastvit_t8"),
    *("focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_050", "hardcorenas_a", "hgnetv2_b0", "hiera_tiny_224"),
    *("hrnet_w18_small", "iformer_t", "inception_next_atto", "inception_resnet_v2", "inception_v3", "inception_v4"),
    *("lcnetv2_small", "levit_128s", "lowformer_b0", "mambaout_femto", "maxvit_rmlp_pico_rw_256", "poolformer_s12"),
    *("mixer_s32_224", "mobilenetv3_small_050", "mobilenetv5_base", "mobilevit_xxs", "mvitv2_tiny"),
    *("naflexvit_base_patch16_gap", "nasnetalarge", "nest_tiny", "nextvit_small", "eca_nfnet_l0"),
    *("pit_ti_distilled_224", "pnasnet5large", "pvt_v2_b0", "rdnet_tiny", "regnetx_002", "repghostnet_050"),
    *("repvit_m0_9", "res2net50_14w_8s", "resnest14d", "resnet18", "resnetv2_18", "rexnet_100", "selecsls42"),
    *("legacy_seresnet18", "sequencer2d_s", "shvit_s1", "skresnet18", "starnet_s050", "swiftformer_xs"),
    *("swin_tiny_patch4_window7_224", "swinv2_cr_tiny_ns_224", "swinv2_tiny_window8_256", "tiny_vit_5m_224"),
    *("tnt_s_patch16_224", "tresnet_m", "twins_svt_small", "vgg11", "visformer_tiny", "vit_tiny_patch16_224"),
    *("vit_tiny_r_s16_p8_224", "vit_relpos_small_patch16_224", "samvit_base_patch16_224", "vitamin_small_224"),
    *("volo_d1_224", "ese_vovnet19b_slim_dw", "legacy_xception", "xception41", "xcit_nano_12_p16_224"),
)
"""Of every family (a module of ``timm.models``) the smallest, or one with a head that is odd."""

TIMM_OPTIONS: dict[str, dict[str, Any]] = {"volo_d1_224": {"use_aux_head": False}}
"""Its auxiliary head's logits would be added to those of the head, and nothing trains them."""

REFUSED = ("efficientvim_m1",)
"""Features of four stages in four classifiers, never joined in one row: ``wrap`` refuses it, and says so."""

TORCHVISION_MODELS = {  # the width of the features in front of the classifier block
    "alexnet": 9216,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "mnasnet0_5": 1280,
    "mobilenet_v3_small": 576,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "shufflenet_v2_x0_5": 1024,
    "swin_t": 768,
    "vgg11": 25088,
    "vit_b_32": 768,
}

NARROWED = ("alexnet", "vgg11")
"""Flattened maps, too wide for a head: their features are narrowed first, as the refusal says."""


class SweepError(Exception):
    """A wrapped model is not what it should be."""


@dataclass(frozen=True)
class Subject:
    """A model to wrap.

    Args:
        family: of the model.
        model: with random weights.
        inputs: of its forward.
        width: the width of its features, from another source.
        by_example: whether an example tells the classifier.
        config: of the head.
    """

    family: str
    model: nn.Module
    inputs: Mapping[str, Tensor]
    width: int
    by_example: bool = False
    config: DisentangleConfig | None = None


def timm_subject(name: str) -> Subject:
    """A timm model; the width is that of the features of the model without its classifier."""
    import timm

    model: Any = timm.create_model(name, num_classes=NUM_CLASSES, **TIMM_OPTIONS.get(name, {}))
    config = model.pretrained_cfg
    size = config["input_size"][-1] if config.get("fixed_input_size") else IMAGE_SIZE
    images = torch.randn(BATCH_SIZE, 3, size, size)
    bare = copy.deepcopy(model).eval()
    bare.reset_classifier(0)
    with torch.no_grad():
        width = bare(images).shape[-1]
    return Subject(type(model).__module__.rpartition(".")[2], model, {"x": images}, width)


def torchvision_subject(name: str) -> Subject:
    """A torchvision model; its classifier is found by an example."""
    models: Any = importlib.import_module("torchvision.models")
    model = models.get_model(name, num_classes=NUM_CLASSES)
    size = 224 if name.startswith(("vit", "swin")) else IMAGE_SIZE
    images = torch.randn(BATCH_SIZE, 3, size, size)
    config = DisentangleConfig(narrow_to=256 if name in NARROWED else None)
    return Subject("torchvision", model, {"x": images}, TORCHVISION_MODELS[name], True, config)


def transformers_names() -> list[str]:
    """The model types with an audio-classification class."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES as NAMES

    return list(NAMES)


def transformers_subject(name: str) -> Subject:
    """An audio-classification model of a type, with two small layers; the width is that of its configuration."""
    import transformers

    small: dict[str, Any] = {
        "hidden_size": 32,
        "output_hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    small |= {"intermediate_size": 48, "classifier_proj_size": 40, "num_labels": NUM_CLASSES}
    inputs = {"input_values": torch.randn(BATCH_SIZE, 4000)}
    if name == "whisper":
        small = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
        small |= {"num_mel_bins": 8, "max_source_positions": 50, "classifier_proj_size": 40}
        small |= {"vocab_size": 20, "num_labels": NUM_CLASSES}
        small |= dict.fromkeys(["pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"], 1)
        inputs = {"input_features": torch.randn(BATCH_SIZE, 8, 100)}
    elif name == "wav2vec2-bert":
        small |= {"feature_projection_input_dim": 16}
        inputs = {"input_features": torch.randn(BATCH_SIZE, 50, 16)}
    elif name == "audio-spectrogram-transformer":
        small |= {"num_mel_bins": 32, "max_length": 64}
        inputs = {"input_values": torch.randn(BATCH_SIZE, 64, 32)}
    else:
        small |= {"conv_dim": (16, 16, 16), "conv_kernel": (10, 8, 4), "conv_stride": (5, 4, 2)}
        small |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "mask_time_prob": 0.0}
        if name == "data2vec-audio":
            small |= {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2}
    config = transformers.AutoConfig.for_model(name, **small)
    auto: Any = transformers.AutoModelForAudioClassification
    model = auto.from_config(config)
    width = config.hidden_size if name == "audio-spectrogram-transformer" else config.classifier_proj_size
    return Subject("transformers", model, inputs, width)


def check(subject: Subject) -> Location:
    """Wraps the model without naming its classifier, and checks what the sweep promises of it.

    Raises:
        SweepError: what is not as it should be.
    """
    model, inputs = subject.model.eval(), subject.inputs
    example = inputs if subject.by_example else None
    location = locate(model, example=example)
    classifier = model.get_submodule(location.names[0])
    before = _run(model, inputs)

    wrapped = wrap(model, example=example, config=subject.config)
    if wrapped.head.in_features != subject.width:
        raise SweepError(f"a head of width {wrapped.head.in_features}, the features have {subject.width}")
    seen: list[Tensor] = []
    handle = wrapped.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    after = _run(wrapped, inputs)
    handle.remove()
    if type(after) is not type(before):
        raise SweepError(f"gives a {type(after).__name__} in the place of a {type(before).__name__}")
    if _logits(after).shape != (BATCH_SIZE, NUM_CLASSES) or _logits(before).shape != _logits(after).shape:
        raise SweepError(f"gives logits of shape {tuple(_logits(after).shape)}")
    if isinstance(classifier, nn.Linear) and not location.behind:
        with torch.no_grad():
            _same(classifier(seen[0]), _logits(before), "the head is not given what the classifier was")

    stripped = wrapped.strip()
    _same(_logits(_run(stripped, inputs)), _logits(after), "the stripped model gives other logits")
    del stripped

    wrapped.train()
    labels = torch.arange(BATCH_SIZE) % NUM_CLASSES
    wrapped(**inputs, labels=labels, neutral=dict(inputs)).loss.backward()
    for name, parameter in wrapped.head.named_parameters():
        if parameter.grad is None or not parameter.grad.isfinite().all():
            raise SweepError(f"no gradient in {name}")
        # What a batch norm follows is free of its bias: that gradient is there, and 0.
        if name != "classifier.0.bias" and not parameter.grad.any():
            raise SweepError(f"a gradient of zeros in {name}")
    if not any(p.grad is not None and bool(p.grad.any()) for p in wrapped.unwrap().parameters()):
        raise SweepError("no gradient in the model behind the head")
    return location


def _run(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    with torch.no_grad():
        return model(**inputs)


def _logits(output: Any) -> Tensor:
    logits: Tensor = output if isinstance(output, Tensor) else output["logits"]
    return logits


def _same(found: Tensor, expected: Tensor, otherwise: str) -> None:
    if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise SweepError(f"{otherwise}: they differ by {(found - expected).abs().max():.2g}")


@dataclass(frozen=True)
class Row:
    """A line of the table; ``error`` is empty for a model that passed."""

    family: str
    model: str
    place: str
    width: str
    error: str
    seconds: float

    def cells(self) -> list[str]:
        """As the table shows them."""
        return [self.family, self.model, self.place, self.error or "ok", self.width, f"{self.seconds:.1f}"]


def sweep(kind: str, name: str, make: Callable[[str], Subject]) -> Row:
    """Makes a model, checks it, and says how it went."""
    started = time.perf_counter()
    torch.manual_seed(0)
    subject = None
    try:
        subject = make(name)
        place = check(subject)
        found, error = (place.name + (" (behind)" if place.behind else ""), str(place.in_features)), ""
    except Exception as raised:  # any failure is a row of the table
        found, error = ("", ""), f"{type(raised).__name__}: {' '.join(str(raised).split())[:150]}"
    return Row(subject.family if subject else kind, name, *found, error, time.perf_counter() - started)


def subjects(kinds: list[str]) -> Iterator[tuple[str, str, Callable[[str], Subject]]]:
    """Kind, name and maker of every model of the sweep."""
    makers: dict[str, tuple[Callable[[], Any], Callable[[str], Subject]]] = {
        "timm": (lambda: TIMM_MODELS, timm_subject),
        "transformers": (transformers_names, transformers_subject),
        "torchvision": (lambda: TORCHVISION_MODELS, torchvision_subject),
    }
    for kind in kinds:
        names, make = makers[kind]
        yield from ((kind, name, make) for name in names())


def main() -> int:
    """Prints the table and the total; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("timm", "transformers", "torchvision"), action="append", help="all if unset")
    parser.add_argument("--only", help="the models whose name contains this")
    options = parser.parse_args()
    rows: list[Row] = []
    total: dict[str, list[Row]] = {}
    for kind, name, make in subjects(options.kind or ["timm", "transformers", "torchvision"]):
        if options.only and options.only not in name:
            continue
        row = sweep(kind, name, make)
        rows.append(row)
        total.setdefault(kind, []).append(row)
        print(f"{len(rows):3} {kind} {name}: {row.error or 'ok'}", file=sys.stderr, flush=True)
        gc.collect()
    print(
        terminal(
            Table(["family", "model", "the head's place", "result", "D", "seconds"], [r.cells() for r in rows], left=4)
        )
    )
    parts = []
    for kind, its_rows in total.items():
        good = [row for row in its_rows if not row.error]
        families = f" ({len({row.family for row in good})} families)" if kind == "timm" else ""
        parts.append(f"{kind} {len(good)} of {len(its_rows)}{families}")
    failed = [row for row in rows if row.error]
    refused = [row for row in failed if row.model in REFUSED and row.error.startswith("HeadNotFoundError")]
    print(f"\nTotal: {len(rows) - len(failed)} of {len(rows)} models work: {', '.join(parts)}.")
    print(f"Of the others, {len(refused)} refused with an error that says why, {len(failed) - len(refused)} failed.")
    return int(len(failed) > len(refused))


if __name__ == "__main__":
    sys.exit(main())
