import copy

import pytest
import torch
from torch import nn

from backbones import create_encoder
from backbones.stages import StageReader, stage_output, stages

TIMM = {
    "resnet18": [(64, 1), (128, 1), (256, 1), (512, 1)],
    "mobilenetv3_small_100": [(16, 1), (24, 1), (48, 1), (576, 1)],
    "convnext_atto": [(40, 1), (80, 1), (160, 1), (320, 1)],
    "vit_tiny_patch16_224": [(192, -1)] * 4,
    "swin_tiny_patch4_window7_224": [(96, -1), (192, -1), (384, -1), (768, -1)],
}
HF = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "whisper", "audio-spectrogram-transformer")
EXPECTED = {
    "cnn": [(32, 1), (64, 1), (128, 1), (256, 1)],
    **{f"timm/{name}": expected for name, expected in TIMM.items()},
    **{f"hf/{family}": [(16, -1)] * 2 for family in HF},
}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes an encoder by its name; ``hf/FAMILY`` is a tiny random model of two layers."""

    def of(name, **options):
        package, _, rest = name.partition("/")
        if package == "timm":
            pytest.importorskip("timm")
        if package == "hf":
            pytest.importorskip("transformers")
            from tests.backbones.tiny_speech_models import save_tiny

            name = f"hf/{save_tiny(tmp_path_factory.mktemp(rest), rest, **options.pop('config', {}))}"
        torch.manual_seed(0)
        return create_encoder(name, **options)

    return of


def inputs(encoder, rows=3):
    torch.manual_seed(1)
    if encoder.input_kind == "lmfb":
        return torch.randn(rows, 3, 64, 80)
    return torch.randn(rows, 8_000) * 0.1


@pytest.mark.parametrize("name", EXPECTED)
def test_every_stage_has_its_channels_where_it_says_and_gradients_reach_it(make, name):
    encoder = make(name).train()
    reader = StageReader(encoder)
    shapes = []
    for stage in reader.stages:
        stage.module.register_forward_hook(lambda m, i, output: shapes.append(stage_output(output).shape))
    h, means = reader(inputs(encoder))
    assert [(stage.channels, stage.dim) for stage in reader.stages] == EXPECTED[name]
    assert [shape[stage.dim] for shape, stage in zip(shapes, reader.stages, strict=True)] == [
        stage.channels for stage in reader.stages
    ]
    assert h.shape == (3, encoder.num_features)
    assert [(tuple(mean.shape), mean.dtype) for mean in means] == [
        ((3, stage.channels), torch.float32) for stage in reader.stages
    ]
    for stage, mean in zip(reader.stages, means, strict=True):
        found = torch.autograd.grad(mean.square().sum(), list(stage.module.parameters()), retain_graph=True)
        assert sum(float(gradient.abs().sum()) for gradient in found) > 0


@pytest.mark.parametrize("name", ["cnn", "timm/swin_tiny_patch4_window7_224", "hf/wav2vec2"])
def test_a_mean_is_that_of_the_stages_output_over_all_but_rows_and_channels(make, name):
    encoder = make(name).eval()
    reader, outputs = StageReader(encoder), []
    for stage in reader.stages:
        stage.module.register_forward_hook(lambda m, i, output: outputs.append(stage_output(output)))
    _, means = reader(inputs(encoder))
    for stage, mean, output in zip(reader.stages, means, outputs, strict=True):
        by_hand = output.movedim(stage.dim, 1).flatten(2).mean(2)
        assert torch.allclose(mean, by_hand, atol=1e-5)
        assert by_hand.std(0).max() > 1e-4


def test_of_many_blocks_of_one_resolution_four_evenly_spaced_ones_are_taken(make):
    vit = make("timm/vit_tiny_patch16_224")
    assert [stage.module for stage in stages(vit)] == [vit.model.blocks[i] for i in (2, 5, 8, 11)]
    deep = make("hf/wav2vec2", config={"num_hidden_layers": 6})
    assert [stage.module for stage in stages(deep)] == [deep.model.encoder.layers[i] for i in (0, 2, 3, 5)]


def test_an_encoder_without_known_stages_has_none():
    class Own(nn.Module):
        num_features = 4
        input_kind = "lmfb"

        def forward(self, inputs):
            return inputs.mean((1, 2))[:, :4]

    reader = StageReader(Own())
    h, means = reader(torch.ones(2, 3, 16, 80))
    assert stages(Own()) == means == []
    assert h.shape == (2, 4)


def test_a_timm_model_without_feature_info_or_with_a_wrong_one_has_no_such_stages(make):
    encoder = make("timm/resnet18")
    encoder.model.feature_info[-1]["num_chs"] = 7
    encoder.model.feature_info[-2]["module"] = "not there"
    assert [stage.channels for stage in stages(encoder)] == [64, 128]
    del encoder.model.feature_info
    assert stages(encoder) == []


@pytest.mark.parametrize(
    ("shape", "output_fmt", "dim"), [((8, 8), None, -1), ((8, 5, 8), "NHWC", -1), ((8, 5, 8), None, 1)]
)
def test_where_another_dimension_is_as_wide_tokens_have_channels_last_and_images_as_the_model_says(
    make, shape, output_fmt, dim
):
    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.stage = nn.Unflatten(1, shape)
            self.feature_info = [{"module": "stage", "num_chs": 8, "reduction": 4}]
            self.output_fmt = output_fmt

        def forward(self, x):
            return self.stage(x.flatten(1)[:, : torch.Size(shape).numel()]).flatten(1)

    encoder = make("timm/resnet18")
    encoder.model = Toy()
    assert [(stage.channels, stage.dim) for stage in stages(encoder)] == [(8, dim)]


@pytest.mark.parametrize("training", [True, False])
def test_looking_for_stages_leaves_modes_statistics_and_hooks_as_they_were(make, training):
    encoder = make("timm/resnet18").train(training)
    encoder.model.layer2.eval()
    modes = [module.training for module in encoder.modules()]
    before = copy.deepcopy(encoder.state_dict())
    stages(encoder)
    assert [module.training for module in encoder.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert not any(module._forward_hooks for module in encoder.modules())


def test_rows_are_in_the_batchs_order_where_a_model_sees_one_length_at_a_time(make):
    encoder = make("hf/wav2vec2").eval()
    reader = StageReader(encoder)
    lengths = [9_000, 4_000, 6_777, 4_000, 9_000]
    torch.manual_seed(1)
    waveform = torch.randn(5, 9_000) * torch.linspace(0.05, 0.3, 5)[:, None] + 0.02
    mask = torch.arange(9_000) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        _, means = reader({"waveform": waveform, "mask": mask})
        alone = [reader(waveform[i : i + 1, :length])[1] for i, length in enumerate(lengths)]
    for stage, mean in enumerate(means):
        by_hand = torch.cat([row[stage] for row in alone])
        assert torch.allclose(mean, by_hand, atol=1e-5)
        assert torch.pdist(by_hand).min() > 1e-3
    assert encoder.rows is None


def test_an_error_within_a_pass_leaves_no_rows_behind(make):
    encoder = make("hf/wav2vec2").eval()
    hook = encoder.model.encoder.layers[0].register_forward_hook(lambda *_: 1 / 0)
    mask = torch.arange(5_000) < torch.tensor([[5_000], [4_000]])
    with pytest.raises(ZeroDivisionError):
        encoder({"waveform": torch.randn(2, 5_000), "mask": mask})
    assert encoder.rows is None
    hook.remove()


@pytest.mark.parametrize("name", ["cnn", "hf/wav2vec2"])
def test_reading_changes_no_feature_and_holds_nothing_outside_of_a_call(make, name):
    encoder = make(name).eval()
    x = inputs(encoder)
    plain = encoder(x)
    names = list(encoder.state_dict())
    reader = StageReader(encoder)
    assert torch.equal(reader(x)[0], plain)
    assert list(encoder.state_dict()) == names
    encoder(x)
    assert reader._outputs is None
    with pytest.raises(Exception, match="shape"):
        reader(x[..., :1, None])
    assert reader._outputs is None


def test_a_copy_of_what_holds_encoder_and_reader_reads_from_the_copied_encoder(make):
    holder = nn.Module()
    holder.encoder = make("cnn").eval()
    holder.reader = StageReader(holder.encoder)
    twin = copy.deepcopy(holder)
    assert twin.reader.encoder is twin.encoder is not holder.encoder
    with torch.no_grad():
        for parameter in twin.encoder.parameters():
            parameter.mul_(2)
    x = inputs(twin.encoder)
    own, others = twin.reader(x)[1], holder.reader(x)[1]
    assert [len(found) for found in (own, others)] == [4, 4]
    own[0].sum().backward()
    assert twin.encoder.blocks[0][0].weight.grad is not None
    assert holder.encoder.blocks[0][0].weight.grad is None
    assert not torch.allclose(own[0], others[0])


@pytest.mark.parametrize("name", ["cnn", "timm/resnet18"])
def test_a_compiled_encoder_is_read_in_every_step_and_compiled_once_a_mode(make, name):
    graphs = []

    def eager(graph, example_inputs):
        graphs.append(graph)
        return graph

    encoder = make(name, **({"dropout": 0.0} if name == "cnn" else {}))
    readers = [StageReader(copy.deepcopy(encoder)), StageReader(encoder)]
    encoder.compile(backend=eager, fullgraph=True)
    for step in range(3):
        x = inputs(encoder) + step
        encoder.train(), readers[0].encoder.train()
        (_, expected), (_, found) = (reader(x) for reader in readers)
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(expected, found, strict=True))
        torch.stack([mean.sum() for mean in found]).sum().backward()
        encoder.eval(), readers[0].encoder.eval()
        encoder(x)
    assert len(graphs) == 2


def test_checkpointed_layers_are_read_once_and_with_gradients(make):
    plain = make("hf/wav2vec2").train()
    checkpointed = make("hf/wav2vec2", gradient_checkpointing=True).train()
    checkpointed.load_state_dict(plain.state_dict())
    gradients = []
    for encoder in (plain, checkpointed):
        encoder.model.config.hidden_dropout = 0.0
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        for layer in encoder.model.encoder.layers:
            layer.attention.dropout = 0.0
        _, means = StageReader(encoder)(inputs(encoder))
        sum(mean.square().sum() for mean in means).backward()
        gradients.append(encoder.model.encoder.layers[0].attention.q_proj.weight.grad)
    assert torch.allclose(*gradients, atol=1e-6)
    assert float(gradients[0].abs().max()) > 0
