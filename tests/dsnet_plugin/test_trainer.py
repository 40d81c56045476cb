"""A wrapped model under transformers' own Trainer, with TrainingArguments as a user writes them."""

import math

import pytest
import torch
import transformers
from safetensors.torch import load_file

from dsnet_plugin import NeutralCollator, load_pretrained, recompute_batch_norm
from tests.dsnet_plugin.speech_rows import CLASSES, bare, extractor, rows, wrapped

ROWS, BATCH = 16, 8


class Seen(NeutralCollator):
    """The collator, which remembers the columns that the Trainer left."""

    columns = frozenset()

    def __call__(self, rows):
        self.columns = frozenset(rows[0])
        return super().__call__(rows)


class StopAfterOneEpoch(transformers.TrainerCallback):
    """What a killed job leaves behind, with the schedule of the whole one."""

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop = True


class FitStatistics(transformers.TrainerCallback):
    """As docs/choosing.md has it, with all batches."""

    def on_epoch_end(self, args, state, control, model, train_dataloader, **kwargs):
        recompute_batch_norm(model, ({"input_values": batch["input_values"]} for batch in train_dataloader))


def accuracy(prediction):
    assert prediction.predictions.shape == (len(prediction.label_ids), CLASSES)
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def trainer(folder, model=None, train=None, **settings):
    arguments = {"eval_strategy": "epoch", "save_strategy": "epoch", "num_train_epochs": 2, "use_cpu": True}
    arguments |= {"per_device_train_batch_size": BATCH, "report_to": "none", "learning_rate": 1e-2}
    arguments |= {"disable_tqdm": True, "dataloader_pin_memory": False}
    return transformers.Trainer(
        model=model or wrapped(),
        args=transformers.TrainingArguments(output_dir=str(folder), **(arguments | settings)),
        train_dataset=train or rows(ROWS),
        eval_dataset=rows(6, seed=1),
        data_collator=Seen(extractor()),
        compute_metrics=accuracy,
    )


def logits(model, made=None):
    batch = NeutralCollator(extractor())(made or rows(5, seed=2))
    with torch.no_grad():
        return model.eval()(batch["input_values"], attention_mask=batch["attention_mask"]).logits


def history(trained, key):
    return [entry[key] for entry in trained.state.log_history if key in entry]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two epochs of two steps, without a break."""
    made = trainer(tmp_path_factory.mktemp("whole"), logging_steps=1)
    made.train()
    return made


def test_neutral_columns_survive_and_unused_ones_go(trained):
    assert trained.args.remove_unused_columns
    assert trained.data_collator.columns == {"input_values", "labels", "neutral_input_values"}


def test_a_missing_reference_column_fails_the_training_so_that_the_columns_are_used(tmp_path):
    plain = [{name: r[name] for name in ("input_values", "labels")} for r in rows(ROWS)]
    with pytest.raises(ValueError, match="neutral= is missing"):
        trainer(tmp_path, train=plain).train()


def test_eval_loss_and_metrics_are_reported_and_finite(trained):
    assert all(math.isfinite(value) for value in history(trained, "eval_loss"))
    assert len(history(trained, "eval_loss")) == len(history(trained, "eval_accuracy")) == 2


def test_eval_loss_is_the_whole_objective_with_its_calibration(tmp_path):
    """As the head alone computes it from the features that its two passes are given."""
    made = trainer(tmp_path, per_device_eval_batch_size=6)
    model, batch, features = made.model.eval(), NeutralCollator(extractor())(rows(6, seed=1)), []
    handle = model.model.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.no_grad():
        for prefix in ("", "neutral_"):
            model(batch[f"{prefix}input_values"], attention_mask=batch[f"{prefix}attention_mask"])
        handle.remove()
        index, mask = batch["neutral_index"], batch["neutral_mask"]
        expected = model.head(features[0], batch["labels"], features[1], index, mask)
    assert len(features[1]) == 2
    assert expected.losses["calibration"] > 0
    assert made.evaluate()["eval_loss"] == pytest.approx(float(expected.loss), rel=1e-5)
    assert float(expected.loss) != pytest.approx(float(expected.losses["task"]), rel=1e-3)


def test_predictions_are_the_logits(trained):
    unseen = rows(5, seed=2)
    predicted = trained.predict(unseen).predictions
    torch.testing.assert_close(torch.as_tensor(predicted), logits(trained.model, unseen), rtol=0, atol=1e-5)


def test_two_epochs_are_one_and_a_resumed_one(trained, tmp_path):
    broken_off = trainer(tmp_path)
    broken_off.add_callback(StopAfterOneEpoch())
    broken_off.train()
    assert broken_off.state.global_step == ROWS // BATCH
    resumed = trainer(tmp_path, model=wrapped(seed=1))
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == trained.state.global_step == 2 * ROWS // BATCH
    expected, start = trained.model.state_dict(), wrapped().state_dict()
    torch.testing.assert_close(resumed.model.state_dict(), expected, rtol=0, atol=1e-6)
    weight = "model.classifier.head.p_er.projection.weight"
    assert not torch.allclose(expected[weight], start[weight], atol=1e-3)


def test_the_best_model_is_loaded_at_the_end(tmp_path):
    # A rate that makes the second epoch worse than the first.
    made = trainer(tmp_path, load_best_model_at_end=True, learning_rate=1.0, warmup_steps=0)
    made.train()
    losses = history(made, "eval_loss")
    best = losses.index(min(losses))
    assert made.state.best_model_checkpoint.endswith(f"checkpoint-{(best + 1) * ROWS // BATCH}")
    stored = load_file(f"{made.state.best_model_checkpoint}/model.safetensors")
    torch.testing.assert_close(made.model.state_dict(), stored, rtol=0, atol=0)
    other = load_file(f"{tmp_path}/checkpoint-{(2 - best) * ROWS // BATCH}/model.safetensors")
    assert any(not torch.equal(other[name], stored[name]) for name in stored)


def test_a_model_read_from_the_trainers_checkpoint_predicts_the_same(trained):
    again = wrapped(seed=1)
    again.load_state_dict(load_file(f"{trained.args.output_dir}/checkpoint-4/model.safetensors"))
    torch.testing.assert_close(logits(again), logits(trained.model), rtol=0, atol=0)


def test_a_saved_and_loaded_model_predicts_the_same(trained, tmp_path):
    trained.model.save_pretrained(tmp_path)
    again = load_pretrained(tmp_path, bare(seed=1))
    torch.testing.assert_close(logits(again), logits(trained.model), rtol=0, atol=0)


def test_accumulated_batches_scale_the_loss_like_one_batch(tmp_path):
    """The Trainer divides by the steps only where the model does not: half a step twice is no step of twice the loss."""
    settings = {"num_train_epochs": 1, "logging_steps": 1, "eval_strategy": "no", "save_strategy": "no"}
    losses = []
    for steps in (1, 2):
        made = trainer(tmp_path, gradient_accumulation_steps=steps, **settings)
        made.train()
        losses += history(made, "loss")[:1]
    assert losses[1] < 1.5 * losses[0]


def test_freezing_through_the_wrapped_model_reaches_the_feature_encoder(tmp_path):
    model = wrapped()
    model.freeze_feature_encoder()
    before = {name: value.clone() for name, value in model.state_dict().items() if "feature_extractor" in name}
    trainer(tmp_path, model, num_train_epochs=1, save_strategy="no").train()
    assert before
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), name


def test_a_callback_gives_evaluation_the_statistics_of_the_training_rows(tmp_path):
    made = trainer(tmp_path, num_train_epochs=1)
    made.add_callback(FitStatistics())
    made.train()
    norm = made.model.head.classifier[1]
    seen = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = NeutralCollator(extractor())(rows(ROWS))
    with torch.no_grad():
        made.model.eval()(batch["input_values"])
    torch.testing.assert_close(norm.running_mean, seen[0].mean(0), rtol=1e-3, atol=1e-4)
