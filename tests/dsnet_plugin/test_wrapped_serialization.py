"""Saving and loading a wrapped model: what training changed comes back, and nothing else is taken or touched."""

import itertools
import json

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dsnet_plugin import (
    CheckpointError,
    DisentangleHead,
    HeadNotFoundError,
    ShapeError,
    WrapError,
    load_pretrained,
    save_pretrained,
    wrap,
)
from dsnet_plugin.serialization import CONFIG_NAME, WEIGHTS_NAME

X = torch.linspace(-1, 1, 6 * 10).reshape(6, 10).cos()
IMAGES = torch.linspace(-9, 9, 6 * 3 * 32 * 32).reshape(6, 3, 32, 32).cos()
Y = torch.tensor([0, 1, 2, 0, 1, 2])


class Net(nn.Module):
    """Two layers, a batch normalisation, and a classifier named fc."""

    def __init__(self, width=8, layers=2, features=8, classes=3):
        super().__init__()
        widths = [10, *[width] * (layers - 1), features]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))
        self.norm = nn.BatchNorm1d(features)
        self.fc = nn.Linear(features, classes)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.fc(self.norm(x))


class Other(Net):
    """The same with its classifier under another name."""

    def __init__(self):
        super().__init__()
        self.out = self.__dict__["_modules"].pop("fc")

    def forward(self, x):
        return self.out(x)


class Tied(nn.Module):
    """One layer under two names."""

    def __init__(self):
        super().__init__()
        self.first = self.second = nn.Linear(10, 10)
        self.fc = nn.Linear(10, 3)

    def forward(self, x):
        return self.fc(self.second(self.first(x).relu()))


def trained(model, x=X, steps=2):
    model = (wrap(model, example=x[:1]) if hasattr(model, "get_classifier") else wrap(model, head="fc")).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        model(x, labels=Y, neutral=x.flip(0)).loss.backward()
        optimizer.step()
    return model


def freeze(module):
    module.requires_grad_(False)


def seeded(make, seed, *args, **kwargs):
    torch.manual_seed(seed)
    return make(*args, **kwargs)


def net(seed=0, **changes):
    return seeded(Net, seed, **changes)


def base_of(model, **changes):
    """A model made anew, with the first layer that the trained one had."""
    made = net(**changes)
    made.layers[0].load_state_dict(model.model.layers[0].state_dict())
    return made


@pytest.fixture
def saved(tmp_path):
    """A model that trained with its first layer frozen, and its folder."""
    model = net()
    freeze(model.layers[0])
    model = trained(model)
    model.save_pretrained(tmp_path)
    return model, tmp_path


def stored(folder):
    return load_file(folder / WEIGHTS_NAME)


def change_place(folder, **changes):
    record = json.loads((folder / CONFIG_NAME).read_text())
    record["model"] |= changes
    (folder / CONFIG_NAME).write_text(json.dumps(record))


def refuses(folder, model, error, message):
    """Loading raises, and the given model is as it was: its modules, modes, weights."""
    modules, modes = dict(model.named_modules()), {name: part.training for name, part in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(error, match=message) as caught:
        load_pretrained(folder, model)
    assert dict(model.named_modules()) == modules
    assert {name: part.training for name, part in model.named_modules()} == modes
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    return caught


def test_all_that_training_changed_comes_back_in_a_model_made_anew(tmp_path):
    model = trained(net())
    save_pretrained(model, tmp_path)
    again = load_pretrained(tmp_path, net(seed=1))
    assert not any(part.training for part in again.modules())
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(again(X), model.eval()(X), rtol=0, atol=0)
    assert again.head.config == model.head.config


def test_batch_norm_statistics_come_back_though_all_parameters_are_frozen(tmp_path):
    model = net()
    freeze(model)
    model = trained(model)
    model.save_pretrained(tmp_path)
    again = load_pretrained(tmp_path, net())
    assert model.model.norm.running_mean.abs().sum() > 0
    assert torch.equal(again.model.norm.running_mean, model.model.norm.running_mean)
    assert torch.equal(again.model.norm.running_var, model.model.norm.running_var)
    assert again.model.norm.num_batches_tracked == model.model.norm.num_batches_tracked > 0


def test_a_layer_that_asks_which_version_of_it_was_saved_comes_back(tmp_path):
    """torchvision's MNASNet asks, and takes a file that does not say for a damaged one."""

    class Versioned(Net):
        _version = 2

        def _load_from_state_dict(self, state, prefix, metadata, *rest):
            assert metadata.get("version") == 2
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    torch.manual_seed(0)
    model = wrap(Versioned(), head="fc").eval()
    save_pretrained(model, tmp_path)
    assert torch.equal(load_pretrained(tmp_path, Versioned())(X), model(X))


def test_frozen_parameters_are_not_saved_and_come_from_the_given_model(saved):
    model, folder = saved
    assert not {"model.layers.0.weight", "model.layers.0.bias"} & stored(folder).keys()
    assert {"model.layers.1.weight", "model.norm.running_var"} < stored(folder).keys()
    given = base_of(model, seed=1)
    given_weight = given.layers[0].weight
    again = load_pretrained(folder, given)
    assert again.model.layers[0].weight is given_weight
    assert torch.equal(again.model.layers[1].weight, model.model.layers[1].weight)
    torch.testing.assert_close(again(X), model.eval()(X), rtol=0, atol=0)


def test_a_frozen_head_is_saved_all_the_same(tmp_path):
    model = trained(net())
    freeze(model)
    model.save_pretrained(tmp_path)
    names = {name for name in stored(tmp_path) if "head" in name}
    assert {name.partition("head.")[2] for name in names} == set(model.head.state_dict())


def test_a_frozen_layer_under_two_names_is_not_saved_under_either(tmp_path):
    model = seeded(Tied, 0)
    freeze(model.first)
    model = trained(model)
    model.save_pretrained(tmp_path)
    assert not [name for name in stored(tmp_path) if "first" in name or "second" in name]
    refuses(tmp_path, seeded(Tied, 1), CheckpointError, "4 of 4 parameters that it leaves to the model differ")
    given = seeded(Tied, 1)
    given.first.load_state_dict(model.first.state_dict())
    torch.testing.assert_close(load_pretrained(tmp_path, given)(X), model.eval()(X))


def test_a_trained_layer_under_two_names_comes_back(tmp_path):
    model = trained(seeded(Tied, 0))
    model.save_pretrained(tmp_path)
    again = load_pretrained(tmp_path, seeded(Tied, 1))
    assert again.model.first is again.model.second
    assert torch.equal(again.model.first.weight, model.model.first.weight)


def deit(seed):
    small = {"img_size": 32, "num_classes": 3, "embed_dim": 24, "depth": 1, "num_heads": 2}
    return seeded(timm.create_model, seed, "deit_tiny_distilled_patch16_224", **small)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_head_behind_its_model_comes_back(tmp_path, frozen):
    model, given = deit(0), deit(1)
    if frozen:
        freeze(model.blocks)
        given.blocks.load_state_dict(model.blocks.state_dict())
    model = trained(model, IMAGES)
    assert model.location.behind
    model.save_pretrained(tmp_path)
    assert any("blocks" in name for name in stored(tmp_path)) != frozen
    assert torch.equal(load_pretrained(tmp_path, given)(IMAGES), model.eval()(IMAGES))


def test_a_model_with_a_head_behind_is_left_as_it_was_by_a_file_that_does_not_fit(tmp_path):
    trained(deit(0), IMAGES).save_pretrained(tmp_path)
    tensors = stored(tmp_path)
    del tensors["model.backbone.norm.weight"]
    save_file(tensors, tmp_path / WEIGHTS_NAME)
    refuses(tmp_path, deit(1), CheckpointError, r"1 missing \(model\.backbone\.norm\.weight\)")
    refuses(tmp_path, net(), HeadNotFoundError, "has no module 'head'")


def test_a_classifier_of_other_classes_and_another_dtype_is_replaced(saved):
    model, folder = saved
    again = load_pretrained(folder, base_of(model, seed=1, classes=7).double())
    assert again(X.double()).shape == (6, 3)
    assert {value.dtype for value in again.parameters()} == {torch.float64}
    assert torch.equal(again.model.layers[1].weight, model.model.layers[1].weight.double())


def test_a_loaded_model_trains_on_and_is_saved_again(saved, tmp_path):
    _, folder = saved
    again = load_pretrained(folder, net()).train()
    again(X, labels=Y, neutral=X).loss.backward()
    assert all(parameter.grad is not None for parameter in again.parameters())
    again.save_pretrained(tmp_path / "again")
    assert stored(tmp_path / "again").keys() > stored(folder).keys()


# --- what was trained and is frozen, and the base that is not saved


def freeze_everything(model):
    freeze(model)


def freeze_some(model):
    freeze(model.model.layers)


def freeze_as_a_merge_does(model):
    """New values in the place of the old, frozen, without the optimiser and without autograd's notice."""
    freeze(model)
    weight = model.model.layers[0].weight
    weight.data = weight.data + 1


@pytest.mark.parametrize("settle", [freeze_everything, freeze_some, freeze_as_a_merge_does])
def test_what_was_trained_and_then_frozen_comes_back(tmp_path, settle):
    model = net()
    freeze(model.layers[0])
    model = trained(model)
    settle(model)
    model.save_pretrained(tmp_path)
    again = load_pretrained(tmp_path, net())
    torch.testing.assert_close(again(X), model.eval()(X), rtol=0, atol=0)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_loaded_model_that_is_frozen_and_saved_again_comes_back(saved, tmp_path):
    model, folder = saved
    again = load_pretrained(folder, net())
    freeze(again)
    again.save_pretrained(tmp_path / "again")
    assert stored(tmp_path / "again").keys() == stored(folder).keys()
    torch.testing.assert_close(load_pretrained(tmp_path / "again", net())(X), model.eval()(X), rtol=0, atol=0)


def test_another_base_is_refused_and_its_parameters_are_named(saved):
    message = (
        r"trained on another base: 2 of 2 .*model\.layers\.0\.bias, model\.layers\.0\.weight\); give the model with"
    )
    caught = refuses(saved[1], net(seed=1), CheckpointError, message)
    assert "\n" not in str(caught.value)
    other = net()
    with torch.no_grad():
        other.layers[0].weight[3, 4] += 1e-6
    refuses(saved[1], other, CheckpointError, r"1 of 2 parameters .*\(model\.layers\.0\.weight\)")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_base_is_known_in_another_precision_and_another_is_not(saved, dtype):
    load_pretrained(saved[1], net().to(dtype))
    refuses(saved[1], net(seed=1).to(dtype), CheckpointError, "another base")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_is_known_in_a_wider_one(tmp_path, dtype):
    model = net()
    freeze(model.layers)
    wrap(model.to(dtype), head="fc").save_pretrained(tmp_path)
    load_pretrained(tmp_path, net().to(dtype).float())
    refuses(tmp_path, net(seed=1), CheckpointError, "another base")


def test_a_base_on_the_meta_device_is_saved_whole_once_it_has_weights_and_refused_before(tmp_path):
    with torch.device("meta"):
        model = wrap(Net(), head="fc")
    freeze(model)
    with pytest.raises(CheckpointError, match="have no content"):
        model.save_pretrained(tmp_path)
    model.to_empty(device="cpu")
    model.load_state_dict({name: torch.full_like(value, 0.01) for name, value in model.state_dict().items()})
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(load_pretrained(tmp_path, net())(X), model.eval()(X), rtol=0, atol=0)


def test_saving_leaves_the_criterion_out_and_says_so_where_a_loss_is_asked(tmp_path):
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 0.3, 0.5]))
    model = wrap(net(), head="fc", criterion=criterion)
    model.save_pretrained(tmp_path)
    assert not [name for name in stored(tmp_path) if "task_loss" in name]
    again = load_pretrained(tmp_path, net(seed=1))
    torch.testing.assert_close(again(X), model.eval()(X), rtol=0, atol=0)
    with pytest.raises(CheckpointError, match=r"trained with the criterion CrossEntropyLoss.*criterion=\)"):
        again(X, labels=Y)
    with_loss = load_pretrained(tmp_path, net(seed=1), criterion=nn.CrossEntropyLoss(weight=torch.ones(3)))
    assert with_loss.head.task_loss.criterion.weight.sum() == 3
    with_loss(X, labels=Y)


def test_a_head_of_one_output_comes_back(tmp_path):
    head = DisentangleHead(8, 1, criterion=nn.MSELoss()).eval()
    save_pretrained(head, tmp_path)
    assert torch.equal(load_pretrained(tmp_path)(X[:, :8]), head(X[:, :8]))
    loss = load_pretrained(tmp_path, criterion=nn.MSELoss())(X[:, :8], labels=X[:, 0]).losses["task"]
    torch.testing.assert_close(loss, (head(X[:, :8])[:, 0] - X[:, 0]).square().mean())


def test_a_folder_holds_json_and_safetensors_alone_and_no_path(saved):
    _, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == [WEIGHTS_NAME, CONFIG_NAME]
    place = json.loads((folder / CONFIG_NAME).read_text())["model"]
    assert (place["class"], place["names"], place["behind"]) == ("Net", ["fc"], False)
    assert {name: of["shape"] for name, of in place["base"].items()} == {
        "model.layers.0.weight": [8, 10],
        "model.layers.0.bias": [8],
    }


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"features": 5}, ShapeError, "takes 8 features and fc of this Net is given 5"),
        ({"width": 5}, CheckpointError, r"layers\.1\.weight \(8, 8\) for \(8, 5\)"),
        ({"width": 5}, CheckpointError, r"layers\.0\.weight \(8, 10\) for \(5, 10\)"),  # frozen, and so not in the file
        ({"layers": 3}, CheckpointError, r"2 missing \(model\.layers\.2\.bias, model\.layers\.2\.weight\)"),
        ({"layers": 1}, CheckpointError, r"2 surplus \(model\.layers\.1\.bias, model\.layers\.1\.weight\)"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_another_width_or_depth_is_refused_and_leaves_the_model(saved, changes, error, message, training):
    refuses(saved[1], net(**changes).train(training), error, message)


def test_a_layer_that_the_file_lacks_is_not_left_at_random(saved):
    """Only what was frozen at saving may come from the given model."""
    caught = refuses(saved[1], net(layers=3), CheckpointError, "belongs to another")
    caught.match("of a Net and given a Net")


def test_another_architecture_is_refused_and_its_candidates_are_named(saved):
    refuses(saved[1], Other(), HeadNotFoundError, r"Other has no module 'fc'.*candidates: .*out \(8 to 3\)")


def test_a_wrapped_model_is_no_model_to_load_into(saved):
    model, folder = saved
    for given in (model, model.model):
        refuses(folder, given, WrapError, "wrapped already.*unwrap")


def test_an_interrupted_load_leaves_the_model(saved, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dsnet_plugin.serialization.check_tensors", stop)
    refuses(saved[1], net(), KeyboardInterrupt, "^$")


def test_a_wrapped_folder_without_a_model_and_a_head_with_one_are_told_apart(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds a wrapped model.*load_pretrained\(folder, model\)"):
        load_pretrained(saved[1])
    save_pretrained(DisentangleHead(8, 3), tmp_path / "head")
    refuses(tmp_path / "head", net(), CheckpointError, r"holds a head alone.*load_pretrained\(folder\)")


@pytest.mark.parametrize("size", [0, 5, 200, -1])
def test_truncated_weights_are_refused(saved, size):
    path = saved[1] / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:size])
    refuses(saved[1], net(), CheckpointError, f"{WEIGHTS_NAME} is damaged")


@pytest.mark.parametrize(
    "changes",
    [
        {"names": None},
        {"base": None},
        {"base": [1]},
        {"base": {"model.layers.0.weight": "wide"}},
        {"base": {"model.layers.0.weight": {"shape": [-1], "digests": {"float32": ""}}}},
        {"base": {"model.layers.0.weight": {"shape": [8, 10], "digests": {}}}},
        {"base": {"model.layers.0.weight": {"shape": [8, 10], "digests": {"load": ""}}}},
    ],
)
def test_a_damaged_place_is_refused(saved, changes):
    change_place(saved[1], **changes)
    refuses(saved[1], net(), CheckpointError, f"{CONFIG_NAME} is not a head's record")


@pytest.mark.parametrize("key", ["class", "names", "behind", "base", "num_classes"])
def test_a_place_that_lacks_an_entry_is_refused(saved, key):
    record = json.loads((saved[1] / CONFIG_NAME).read_text())
    del record["model"][key]
    (saved[1] / CONFIG_NAME).write_text(json.dumps(record))
    refuses(saved[1], net(), CheckpointError, f"{CONFIG_NAME} is not a head's record.*{key}")


def test_a_surplus_tensor_is_named(saved):
    save_file({**stored(saved[1]), "extra": torch.zeros(1)}, saved[1] / WEIGHTS_NAME)
    refuses(saved[1], net(), CheckpointError, r"1 surplus \(extra\)")


def test_what_is_neither_head_nor_wrapped_is_not_saved(tmp_path):
    with pytest.raises(WrapError, match=r"a DataParallel is no head and no wrapped model: save what wrap\(\) gave"):
        save_pretrained(nn.DataParallel(trained(net())), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_save_that_fails_leaves_the_model_that_was_there(saved, monkeypatch):
    model, folder = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    nn.init.zeros_(model.head.restorer[0].weight)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            model.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
