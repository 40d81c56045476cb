"""The audio-classification classes of transformers, with two small layers each."""

from typing import Any

import torch

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject


def names() -> list[str]:
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
        small |= {
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 2,
            "mask_time_prob": 0.0,
            "layerdrop": 0.0,
        }
        if name == "data2vec-audio":
            small |= {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2}
    config = transformers.AutoConfig.for_model(name, **small)
    auto: Any = transformers.AutoModelForAudioClassification
    model = auto.from_config(config)
    width = config.hidden_size if name == "audio-spectrogram-transformer" else config.classifier_proj_size
    return Subject("transformers", model, inputs, width)


LIBRARY = Library(names, transformers_subject)
