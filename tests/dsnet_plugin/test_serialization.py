"""Saving and loading a head: all of it or nothing, and never pickle."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from dsnet_plugin import (
    CheckpointError,
    ConfigError,
    DisentangleConfig,
    DisentangleHead,
    load_pretrained,
    save_pretrained,
)
from dsnet_plugin.serialization import CONFIG_NAME, WEIGHTS_NAME, load_tensors, write_bytes

D, CLASSES = 8, 3


@pytest.fixture
def head():
    """A head after three training steps, so that its batch-norm buffers have moved."""
    torch.manual_seed(0)
    head = DisentangleHead(
        D, CLASSES, DisentangleConfig(alpha=0.5, bottleneck=3, classifier_hidden=5, calibration="js")
    )
    optimizer = torch.optim.Adam(head.parameters())
    for _ in range(3):
        head(torch.rand(6, D) + 1, torch.randint(CLASSES, (6,)), torch.rand(6, D)).loss.backward()
        optimizer.step()
    return head


@pytest.fixture
def saved(head, tmp_path):
    save_pretrained(head, tmp_path / "new" / "folder")
    return tmp_path / "new" / "folder"


def change_record(folder, **changes):
    record = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps(record | changes))


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS_NAME)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_NAME)


def test_a_loaded_head_is_the_saved_one_with_its_buffers(head, saved):
    loaded, h = load_pretrained(saved), torch.rand(4, D)
    assert not loaded.training
    assert loaded.config == head.config
    assert loaded.state_dict()["classifier.1.num_batches_tracked"] == 3
    torch.testing.assert_close(loaded.state_dict(), head.state_dict(), rtol=0, atol=0)
    assert torch.equal(loaded(h), head.eval()(h))


def test_a_folder_holds_json_and_safetensors_alone(saved):
    assert sorted(path.name for path in saved.iterdir()) == [WEIGHTS_NAME, CONFIG_NAME]
    record = json.loads((saved / CONFIG_NAME).read_text())
    assert (record["in_features"], record["num_classes"], record["config"]["version"]) == (D, CLASSES, 1)


def test_saving_again_replaces_and_takes_a_string(head, saved):
    torch.nn.init.zeros_(head.classifier[4].weight)
    save_pretrained(head, str(saved))
    assert (load_pretrained(str(saved)).classifier[4].weight == 0).all()


@pytest.mark.parametrize("name", [CONFIG_NAME, WEIGHTS_NAME])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"no {name} in .*expected a folder that save_pretrained wrote"):
        load_pretrained(saved)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_truncated_weights_are_refused(saved, size):
    path = saved / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=f"{WEIGHTS_NAME} is damaged"):
        load_pretrained(saved)


def test_a_pickle_in_place_of_the_weights_is_refused(head, saved):
    torch.save(head.state_dict(), saved / WEIGHTS_NAME)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_pretrained(saved)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"config": {}, "in_features": null}'])
def test_a_record_that_is_not_a_heads_is_refused(saved, text):
    (saved / CONFIG_NAME).write_bytes(text)
    with pytest.raises(CheckpointError, match=f"{CONFIG_NAME} is not a head's record"):
        load_pretrained(saved)


@pytest.mark.parametrize(
    ("config", "message"), [({"version": 9}, "version=9"), ({"delta": 1}, "unknown settings delta")]
)
def test_settings_of_another_release_are_named(saved, config, message):
    change_record(saved, config=config)
    with pytest.raises(ConfigError, match=message):
        load_pretrained(saved)


def test_a_record_of_another_shape_names_the_tensors_and_both_shapes(saved):
    change_record(saved, num_classes=CLASSES + 1)
    with pytest.raises(CheckpointError, match="belongs to another DisentangleHead") as caught:
        load_pretrained(saved)
    caught.match(r"classifier\.4\.weight .*\(3, 5\) for \(4, 5\)")
    caught.match(r"classifier\.4\.bias .*\(3,\) for \(4,\)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("restorer.0.bias"), r"1 missing \(restorer\.0\.bias\)"),
        (lambda tensors: tensors.pop("classifier.1.running_var"), r"1 missing \(classifier\.1\.running_var\)"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), r"1 surplus \(extra\)"),
    ],
)
def test_missing_and_surplus_tensors_are_named(saved, change, message):
    change_weights(saved, change)
    with pytest.raises(CheckpointError, match=f"{WEIGHTS_NAME} belongs to another DisentangleHead: {message}"):
        load_pretrained(saved)


def test_a_state_that_does_not_fit_changes_nothing(head):
    before = {name: value.clone() for name, value in head.state_dict().items()}
    tensors = {name: value + 1 for name, value in before.items()} | {"surplus": torch.zeros(1)}
    del tensors["p_er.projection.bias"]
    tensors["restorer.2.bias"] = torch.zeros(D + 1)
    with pytest.raises(CheckpointError, match=r"^here belongs to another DisentangleHead") as caught:
        load_tensors(head, tensors, "here")
    for problem in (
        r"missing \(p_er\.projection\.bias\)",
        r"surplus \(surplus\)",
        r"restorer\.2\.bias \(9,\) for \(8,\)",
    ):
        caught.match(problem)
    torch.testing.assert_close(head.state_dict(), before, rtol=0, atol=0)


def test_a_long_list_of_problems_is_cut_and_counted(head):
    with pytest.raises(CheckpointError, match=rf"{len(head.state_dict())} missing \(.*, .* and \d+ more\)"):
        load_tensors(head, {}, "here")


@pytest.mark.parametrize("width", ["8", 8.7, 10**10, float("inf"), None, -1])
def test_a_record_of_impossible_widths_is_refused(tmp_path, width):
    save_pretrained(DisentangleHead(8, 3), tmp_path)
    record = json.loads((tmp_path / "dsnet_config.json").read_text())
    (tmp_path / "dsnet_config.json").write_text(json.dumps({**record, "in_features": width}))
    with pytest.raises(CheckpointError, match="expected whole numbers"):
        load_pretrained(tmp_path)


def test_a_head_comes_back_in_the_dtype_it_was_saved_in(tmp_path):
    save_pretrained(DisentangleHead(8, 3).half(), tmp_path)
    assert load_pretrained(tmp_path).p_er.projection.weight.dtype == torch.float16


def test_a_save_that_fails_leaves_the_head_that_was_there(tmp_path, monkeypatch):
    head = DisentangleHead(8, 3)
    save_pretrained(head, tmp_path)
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(DisentangleHead(8, 3), tmp_path)
    monkeypatch.undo()
    assert torch.equal(load_pretrained(tmp_path).p_er.projection.weight, head.p_er.projection.weight)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["dsnet.safetensors", "dsnet_config.json"]


def test_threads_that_write_one_file_at_once_all_succeed_and_leave_nothing_beside_it(tmp_path):
    content = bytes(200_000)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: write_bytes(tmp_path / "file", content, durable=False), range(2_000)))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", content)]
