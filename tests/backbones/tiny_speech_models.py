"""Random speech models of a few thousand parameters, written as ``save_pretrained`` writes real ones."""

import pytest

transformers = pytest.importorskip("transformers")

CONVOLUTIONS = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (5, 4), "num_feat_extract_layers": 2}
LAYERS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
POSITIONS = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}

WAV2VEC2_KIN = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
FAMILIES = (*WAV2VEC2_KIN, "whisper", "audio-spectrogram-transformer")


def save_tiny(folder, family, processor=None, **config):
    """Writes a model of the family and its processor into the folder; ``processor`` and ``config`` change settings."""
    if family == "whisper":
        settings = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24}
        settings |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24, "vocab_size": 20}
        settings |= {"num_mel_bins": 8, "max_source_positions": 100, "max_target_positions": 8}
        settings |= dict.fromkeys(["pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"], 1)
        made = transformers.WhisperFeatureExtractor(**{"feature_size": 8, "chunk_length": 2, **(processor or {})})
    elif family == "audio-spectrogram-transformer":
        settings = {**LAYERS, "patch_size": 8, "max_length": 100, "num_mel_bins": 16}
        settings |= {"frequency_stride": 4, "time_stride": 4}
        made = transformers.ASTFeatureExtractor(**{"num_mel_bins": 16, "max_length": 100, **(processor or {})})
    else:
        settings = {**CONVOLUTIONS, **LAYERS, **POSITIONS}
        if family == "data2vec-audio":
            settings |= {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5}
        made = transformers.Wav2Vec2FeatureExtractor(**{"return_attention_mask": True, **(processor or {})})
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(family, **(settings | config)))
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
