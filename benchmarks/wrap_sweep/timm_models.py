"""One architecture of each timm family."""

import copy
from typing import Any

import torch

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject

IMAGE_SIZE = 96
"""Height and width in pixels for the models that take images of any size; the others get their own."""

MODELS = (
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

OPTIONS: dict[str, dict[str, Any]] = {"volo_d1_224": {"use_aux_head": False}}
"""Its auxiliary head's logits would be added to those of the head, and nothing trains them."""


def timm_subject(name: str) -> Subject:
    """A timm model; the width is that of the features of the model without its classifier."""
    import timm

    model: Any = timm.create_model(name, num_classes=NUM_CLASSES, **OPTIONS.get(name, {}))
    config = model.pretrained_cfg
    size = config["input_size"][-1] if config.get("fixed_input_size") else IMAGE_SIZE
    images = torch.randn(BATCH_SIZE, 3, size, size)
    bare = copy.deepcopy(model).eval()
    bare.reset_classifier(0)
    with torch.no_grad():
        width = bare(images).shape[-1]
    return Subject(type(model).__module__.rpartition(".")[2], model, {"x": images}, width)


def names() -> tuple[str, ...]:
    """The names of the models."""
    import timm  # noqa: F401

    return MODELS


LIBRARY = Library(names, timm_subject, refused=frozenset({"efficientvim_m1"}))
"""efficientvim_m1 has features of four stages in four classifiers, never joined in one row."""
