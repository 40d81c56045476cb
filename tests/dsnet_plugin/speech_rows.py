"""A tiny wav2vec2 with its extractor, and rows of synthetic speech with a neutral reference a speaker."""

import torch
import transformers

from dsnet_plugin import wrap

CLASSES = 2


def extractor(mask=True):
    return transformers.Wav2Vec2FeatureExtractor(return_attention_mask=mask)


def bare(seed=0, **changes):
    """A random Wav2Vec2ForSequenceClassification of some 7,000 parameters."""
    torch.manual_seed(seed)
    settings = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (5, 4), "num_feat_extract_layers": 2}
    settings |= {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    settings |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 12}
    settings |= {"num_labels": CLASSES, "mask_time_prob": 0.0, "layerdrop": 0.0}
    return transformers.Wav2Vec2ForSequenceClassification(transformers.Wav2Vec2Config(**(settings | changes)))


def wrapped(seed=0, **changes):
    return wrap(bare(seed, **changes))


def waveform(frequency, samples, seed):
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    return (torch.sin(torch.arange(samples) * frequency) + 0.1 * noise).tolist()


def rows(count=16, seed=0):
    """Two speakers of two classes, told by pitch; lengths differ, and the last row's speaker has no neutral speech."""
    made = []
    for i in range(count):
        label, speaker = i % CLASSES, i // CLASSES % 2
        made.append(
            {
                "input_values": waveform(0.1 + 0.6 * label, 400 + 40 * (i % 3), 100 * seed + i),
                "labels": label,
                "neutral_input_values": None if i == count - 1 else waveform(0.3 + 0.1 * speaker, 380, speaker),
                "speaker": f"speaker {speaker}",
            }
        )
    return made
