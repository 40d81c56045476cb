import json
import shutil

import pytest
import torch

from backbones import create_encoder, hf_loading
from backbones.hf_encoder import _standardise
from dsnet_plugin import ConfigError, DSNetError, ShapeError
from tests.backbones.tiny_speech_models import CONVOLUTIONS, FAMILIES, WAV2VEC2_KIN, save_tiny

transformers = pytest.importorskip("transformers")

LENGTHS = (9_000, 4_000, 6_777, 4_000)
KINDS = [(family, {}) for family in FAMILIES]
KINDS += [(family, {"feat_extract_norm": "layer"}) for family in ("wav2vec2", "hubert", "wavlm")]
KINDS += [("wav2vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True})]
KINDS += [("hubert", {"feat_extract_norm": "layer", "conv_pos_batch_norm": True})]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tiny model of a family, made once for each."""
    made = {}

    def of(family, **config):
        key = f"{family}{config}"
        if key not in made:
            torch.manual_seed(0)
            made[key] = save_tiny(tmp_path_factory.mktemp(family), family, **config)
        return made[key]

    return of


def batch(lengths=LENGTHS):
    """Speech-like noise of several lengths, padded with what must not matter."""
    torch.manual_seed(1)
    loudness = torch.linspace(0.05, 0.3, len(lengths))[:, None]
    waveform = torch.randn(len(lengths), max(lengths)) * loudness + 0.02
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return waveform.masked_fill(~mask, 7.0), mask


@pytest.mark.parametrize("pooling", ["mean", "mean_std", "attention"])
@pytest.mark.parametrize(("family", "config"), KINDS)
def test_an_utterance_has_the_same_features_alone_and_in_a_padded_batch(folder, family, config, pooling):
    torch.manual_seed(0)
    encoder = create_encoder(f"hf/{folder(family, **config)}", pooling=pooling, layer_weights=pooling == "attention")
    waveform, mask = batch()
    with torch.no_grad():
        h = encoder.eval()({"waveform": waveform, "mask": mask})
        alone = torch.cat([encoder(waveform[i : i + 1, :n]) for i, n in enumerate(LENGTHS)])
    assert encoder.input_kind == "waveform"
    assert h.shape == (4, encoder.num_features) == (4, 32 if pooling == "mean_std" else 16)
    assert torch.allclose(h, alone, atol=1e-5)
    assert (h[0] - h[1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", WAV2VEC2_KIN)
def test_the_mean_is_that_of_the_models_own_last_hidden_state(folder, family):
    encoder = create_encoder(f"hf/{folder(family)}").eval()
    model = transformers.AutoModel.from_pretrained(folder(family)).eval()
    processor = transformers.AutoFeatureExtractor.from_pretrained(folder(family))
    wave = batch()[0][0]
    values = processor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        expected = model(values).last_hidden_state.mean(1)
        assert torch.allclose(encoder(wave[None]), expected, atol=1e-5)


def whispers_own(folder, positions=None):
    """Whisper's encoder as transformers has it; of so many positions, with the weights of the longer one."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    if positions is None:
        return model.get_encoder()
    config = transformers.AutoConfig.from_pretrained(folder, max_source_positions=positions)
    shorter = transformers.AutoModel.from_config(config).get_encoder().eval()
    weights = model.get_encoder().state_dict()
    shorter.load_state_dict(weights | {"embed_positions.weight": weights["embed_positions.weight"][:positions]})
    return shorter


# 2 s are all that the tiny model hears; half a second is 25 positions of 320 samples; 6,777 samples begin 22 of them.
@pytest.mark.parametrize(("samples", "positions", "own"), [(32_000, None, 100), (50_000, None, 100), (6_777, 25, 22)])
def test_whispers_features_are_the_mean_over_the_own_frames_of_as_many_positions_as_half_seconds_need(
    folder, samples, positions, own
):
    encoder = create_encoder(f"hf/{folder('whisper')}").eval()
    processor = transformers.AutoFeatureExtractor.from_pretrained(folder("whisper"))
    torch.manual_seed(3)
    wave = 0.1 * torch.randn(samples)
    length = {"max_length": 8_000} if positions else {}
    values = processor(wave.numpy(), sampling_rate=16_000, return_tensors="pt", **length).input_features
    with torch.no_grad():
        expected = whispers_own(folder("whisper"), positions)(values).last_hidden_state[:, :own].mean(1)
        assert torch.allclose(encoder(wave[None]), expected, atol=1e-5)


def test_whispers_hidden_states_are_those_of_transformers(folder):
    encoder = create_encoder(f"hf/{folder('whisper')}", layer_weights=True, pooling="mean_std").eval()
    processor = transformers.AutoFeatureExtractor.from_pretrained(folder("whisper"))
    torch.manual_seed(3)
    wave = 0.1 * torch.randn(32_000)
    values = processor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        output = whispers_own(folder("whisper"))(values, output_hidden_states=True)
        states = [*output.hidden_states[:-1], output.last_hidden_state]
        expected = torch.stack([torch.cat([s.mean(1), s.std(1, correction=0)], 1) for s in states], 1)
        assert torch.allclose(encoder.pooled_states(wave[None]), expected, atol=1e-5)
        assert torch.allclose(encoder(wave[None]), expected.mean(1), atol=1e-5)  # weights begin equal
    assert encoder.num_features == 32


def test_asts_features_are_the_mean_over_the_patches_that_begin_within_the_utterance(folder):
    family = "audio-spectrogram-transformer"
    encoder = create_encoder(f"hf/{folder(family)}").eval()
    model = transformers.AutoModel.from_pretrained(folder(family)).eval()
    processor = transformers.AutoFeatureExtractor.from_pretrained(folder(family))
    wave = batch()[0][2, :6_777]
    values = processor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        patches = model(values).last_hidden_state[:, 2:].reshape(1, 3, 24, 16)  # frequency, time
        expected = patches[:, :, :10].mean((1, 2))  # 40 frames, one patch every 4
        assert torch.allclose(encoder(wave[None]), expected, atol=1e-5)


def test_standardising_on_the_device_equals_the_real_processor():
    waveform, mask = batch()
    processor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    rows = [row[: int(own.sum())].numpy() for row, own in zip(waveform, mask, strict=True)]
    expected = processor(rows, sampling_rate=16_000, padding=True, return_tensors="pt")
    assert torch.equal(expected.attention_mask.bool(), mask)
    assert torch.allclose(_standardise(waveform, mask).masked_fill(~mask, 0), expected.input_values, atol=1e-5)


def test_a_processor_that_does_not_normalise_leaves_the_loudness_in(tmp_path):
    wave = batch()[0][:1]
    plain = save_tiny(tmp_path / "plain", "wavlm", {"do_normalize": False}, feat_extract_norm="layer")
    normed = save_tiny(tmp_path / "normed", "wavlm", feat_extract_norm="layer")
    for path, same in ((plain, False), (normed, True)):
        encoder = create_encoder(f"hf/{path}").eval()
        assert torch.allclose(encoder(wave), encoder(0.01 * wave), atol=1e-3) == same


def gradients(encoder):
    waveform, mask = batch()
    h = encoder.train()({"waveform": waveform, "mask": mask})
    torch.manual_seed(2)
    (h * torch.randn_like(h)).sum().backward()
    return {name: value.grad for name, value in encoder.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("layer_weights", [False, True])
@pytest.mark.parametrize(("family", "config"), KINDS)
def test_every_parameter_that_is_not_frozen_receives_a_gradient(folder, family, config, layer_weights):
    encoder = create_encoder(f"hf/{folder(family, **config)}", pooling="attention", layer_weights=layer_weights)
    found = gradients(encoder)
    lacking = [name for name, gradient in found.items() if gradient is None or not gradient.isfinite().all()]
    assert not lacking
    assert {name for name, value in encoder.named_parameters() if not value.requires_grad} <= {
        "model.masked_spec_embed"
    }


def test_layer_weights_start_as_the_mean_of_all_hidden_states_and_can_choose_one(folder):
    encoder = create_encoder(f"hf/{folder('wav2vec2')}", layer_weights=True).eval()
    wave = batch()[0][:1]
    assert encoder.layer_weights.shape == (3,)
    with torch.no_grad():
        values = _standardise(wave)
        states = encoder.model(values, output_hidden_states=True).hidden_states
        assert torch.allclose(encoder(wave), torch.stack(states).mean(0).mean(1), atol=1e-6)
        encoder.layer_weights[1] = 50
        assert torch.allclose(encoder(wave), states[1].mean(1), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_freezing_the_feature_extractor_leaves_the_layers_to_train(folder, family):
    encoder = create_encoder(f"hf/{folder(family)}", freeze="feature_extractor")
    frozen = {name for name, value in encoder.named_parameters() if not value.requires_grad}
    fronts = ("feature_extractor.", "conv1.", "conv2.", "embeddings.patch_embeddings.", "masked_spec_embed")
    assert frozen
    assert all(name.removeprefix("model.").startswith(fronts) for name in frozen)
    assert all(gradient is not None for gradient in gradients(encoder).values())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_is_frozen_as_a_whole_has_no_gradient_and_stays_in_eval_mode(folder, family):
    encoder = create_encoder(f"hf/{folder(family)}", freeze="all", pooling="attention", layer_weights=True)
    assert encoder.training
    assert not any(module.training for module in encoder.model.modules())
    found = gradients(encoder)
    assert encoder.pool.training
    assert not any(module.training for module in encoder.model.modules())
    assert all(name == "layer_weights" or name.startswith("pool.") for name in found)
    assert all(gradient is not None for gradient in found.values())


@pytest.mark.parametrize("family", ["wav2vec2", "whisper", "audio-spectrogram-transformer"])
def test_gradient_checkpointing_computes_layers_twice_and_changes_no_gradient(folder, family):
    source, calls = f"hf/{folder(family, hidden_dropout=0.0, dropout=0.0)}", []
    still = {"hidden_dropout", "attention_dropout", "feat_proj_dropout", "dropout", "activation_dropout"}
    found = []
    for checkpointing in (False, True):
        encoder = create_encoder(source, gradient_checkpointing=checkpointing)
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            for name in still & set(vars(module)):
                if isinstance(vars(module)[name], float):
                    setattr(module, name, 0.0)
        first = next(
            module for name, module in encoder.named_modules() if name.endswith("layers.0") and "conv" not in name
        )
        probe = next(m for m in first.modules() if isinstance(m, torch.nn.Linear))
        count = []
        probe.register_forward_hook(lambda *_, count=count: count.append(1))
        found.append(gradients(encoder))
        calls.append(len(count))
    assert calls[1] == 2 * calls[0]
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-5), name


def test_neither_spec_augment_nor_layer_drop_disturbs_training_on_short_utterances(tmp_path):
    quiet = dict.fromkeys(["hidden_dropout", "attention_dropout", "feat_proj_dropout", "activation_dropout"], 0.0)
    source = save_tiny(tmp_path, "wav2vec2", mask_time_prob=0.9, mask_time_length=100, layerdrop=0.9, **quiet)
    encoder = create_encoder(f"hf/{source}")
    wave = batch()[0][:2, :400]
    assert torch.allclose(encoder.train()(wave), encoder.eval()(wave), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_blueprint_gives_the_same_encoder_without_the_folder(folder, family, tmp_path):
    source = tmp_path / "moved"
    shutil.copytree(folder(family), source)
    encoder = create_encoder(f"hf/{source}").eval()
    record = json.loads(json.dumps(encoder.blueprint))
    shutil.rmtree(source)
    again = create_encoder(f"hf/{source}", record=record).eval()
    again.load_state_dict(encoder.state_dict())
    wave = batch()[0][:2]
    assert torch.equal(again(wave), encoder(wave))
    assert again.blueprint == encoder.blueprint


def test_half_precision_weights_are_trained_in_float32(folder, tmp_path):
    transformers.AutoModel.from_pretrained(folder("wav2vec2")).half().save_pretrained(tmp_path)
    transformers.AutoFeatureExtractor.from_pretrained(folder("wav2vec2")).save_pretrained(tmp_path)
    encoder = create_encoder(f"hf/{tmp_path}")
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def as_pickle(path):
    torch.save(transformers.AutoModel.from_pretrained(path).state_dict(), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()


def fewer_weights(path):
    transformers.AutoModel.from_pretrained(path, num_hidden_layers=1).save_pretrained(path)
    edit_json(path / "config.json", num_hidden_layers=2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "config.json").unlink(), "no config.json; expected one that save_pretrained wrote"),
        (lambda p: (p / "preprocessor_config.json").unlink(), r"cannot load its processor \(preprocessor_config.json"),
        (lambda p: (p / "model.safetensors").unlink(), r"cannot load its weights \(model.safetensors\)"),
        (as_pickle, r"cannot load its weights \(model.safetensors\)"),
        (fewer_weights, r"its weights lack \d+ tensors of a wav2vec2 model, such as encoder.layers.1"),
        (lambda p: edit_json(p / "config.json", model_type="bert"), "is a 'bert' model; expected .*wav2vec2, .*wavlm"),
        (lambda p: edit_json(p / "config.json", model_type="none_such"), "cannot load its configuration: .*none_such"),
        (lambda p: edit_json(p / "preprocessor_config.json", sampling_rate=8000), "takes 8000 Hz; expected 16000 Hz"),
        (
            lambda p: edit_json(
                p / "preprocessor_config.json", feature_extractor_type="ASTFeatureExtractor", num_mel_bins=16
            ),
            "processor is a ASTFeatureExtractor; expected a Wav2Vec2FeatureExtractor",
        ),
    ],
)
def test_a_folder_that_is_not_a_speech_model_is_refused_with_what_was_seen(folder, tmp_path, spoil, message):
    path = tmp_path / "model"
    shutil.copytree(folder("wav2vec2"), path)
    spoil(path)
    with pytest.raises(ConfigError, match=message):
        create_encoder(f"hf/{path}")


def test_a_folder_that_is_not_there_is_refused_without_asking_the_hub(tmp_path):
    with pytest.raises(ConfigError, match="no such folder; expected one that save_pretrained wrote, or a hub id"):
        create_encoder(f"hf/{tmp_path / 'absent'}")


@pytest.mark.parametrize(
    ("family", "processor", "message"),
    [
        ("whisper", {"chunk_length": 1}, "gives 100 frames and its model takes 200"),
        ("audio-spectrogram-transformer", {"max_length": 90}, r"\(90, 16\) and its model takes \(100, 16\)"),
    ],
)
def test_a_processor_of_another_length_than_the_models_is_refused(tmp_path, family, processor, message):
    save_tiny(tmp_path, family, processor)
    with pytest.raises(ConfigError, match=message):
        create_encoder(f"hf/{tmp_path}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "pooling='max': expected one of 'mean', 'mean_std', 'attention'"),
        ({"freeze": "some"}, "freeze='some': expected one of 'none', 'feature_extractor', 'all'"),
        ({"depth": 3}, "has no option 'depth'; it takes freeze"),
        ({"record": {"config": {"model_type": "wav2vec2"}}}, "cannot build it: 'processor'"),
    ],
)
def test_options_that_do_not_exist_are_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        create_encoder(f"hf/{folder('wav2vec2')}", **options)


def gapped(mask):
    mask[0, 3] = False
    return mask


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (lambda w, m: w[0], r"waveforms of shape \(9000,\); expected \(N, samples\)"),
        (lambda w, m: {"waveform": w, "mask": m[:, 1:]}, r"mask of shape \(4, 8999\) for waveforms of \(4, 9000\)"),
        (lambda w, m: {"waveform": w, "mask": gapped(m)}, "a mask with gaps"),
        (lambda w, m: {"waveform": w, "mask": m.flip(1)}, "a mask with gaps"),
        (lambda w, m: w[:, :44], "an utterance of 44 samples; this model needs at least 45"),
    ],
)
def test_inputs_of_another_shape_are_refused(folder, inputs, message):
    encoder = create_encoder(f"hf/{folder('wav2vec2')}")
    with pytest.raises(ShapeError, match=message):
        encoder(inputs(*batch()))


def test_the_shortest_utterance_that_is_taken_has_one_frame(folder):
    encoder = create_encoder(f"hf/{folder('wav2vec2')}").eval()
    kernels, strides = CONVOLUTIONS["conv_kernel"], CONVOLUTIONS["conv_stride"]
    assert encoder.min_samples == (kernels[1] - 1) * strides[0] + kernels[0] == 45
    assert encoder.model.feature_extractor(torch.zeros(1, 45)).shape[2] == 1


def test_an_encoder_exports_for_any_batch_size_and_length(folder):
    encoder = create_encoder(f"hf/{folder('wav2vec2')}", pooling="attention", layer_weights=True).eval()
    sizes = {0: torch.export.Dim("rows", min=2, max=64), 1: torch.export.Dim("samples", min=400, max=160_000)}
    program = torch.export.export(encoder, (batch()[0],), dynamic_shapes=(sizes,), strict=False).module()
    other = batch((5_000, 5_000, 5_000))[0]
    assert torch.allclose(program(other), encoder(other), atol=1e-5)


def test_without_transformers_the_error_names_the_extra(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(hf_loading, "import_module", absent)
    with pytest.raises(DSNetError, match=r"pip install 'dsnet_plugin\[transformers\]'"):
        create_encoder("hf/someone/something")


def test_bars_of_transformers_do_not_run_across_the_callers(folder, capfd):
    from transformers.utils import logging

    logging.enable_progress_bar()
    create_encoder(f"hf/{folder('wav2vec2')}")
    assert "Loading weights" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled()  # the caller's own stay as they were
