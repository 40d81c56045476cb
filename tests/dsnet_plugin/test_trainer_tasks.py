"""Other tasks and adapters under transformers' own Trainer: class weights, regression, LoRA before and after wrapping."""

import peft
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import nn

from dsnet_plugin import NeutralCollator, concordance_loss, load_pretrained, wrap
from tests.dsnet_plugin.speech_rows import bare, extractor, rows

WEIGHT = torch.tensor([0.2, 0.8])
LORA = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
INSIDE = "base_model.model.classifier"


def trainer(folder, model, made=None, **settings):
    arguments = {
        "save_strategy": "no",
        "num_train_epochs": 2,
        "use_cpu": True,
        "learning_rate": 1e-2,
        "report_to": "none",
    }
    arguments |= {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 6, "disable_tqdm": True}
    return transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder), dataloader_pin_memory=False, **(arguments | settings)
        ),
        train_dataset=made or rows(16),
        eval_dataset=(made or rows(6, seed=1))[:6],
        data_collator=NeutralCollator(extractor()),
    )


def batch_of(made):
    return NeutralCollator(extractor())(made)


def logits(model):
    batch = batch_of(rows(5, seed=2))
    with torch.no_grad():
        return model.eval()(batch["input_values"], attention_mask=batch["attention_mask"]).logits


def rated(count, outputs):
    """Rows with ratings in place of classes."""
    for row in rows(count):
        ratings = [0.2 + 0.6 * row["labels"] + 0.05 * i for i in range(outputs)]
        yield row | {"labels": ratings if outputs > 1 else ratings[0]}


def test_the_trainer_reports_a_loss_with_class_weights(tmp_path):
    model = wrap(bare(), criterion=nn.CrossEntropyLoss(weight=WEIGHT))
    made = trainer(tmp_path, model)
    made.train()
    batch = batch_of(rows(6, seed=1))
    with torch.no_grad():
        output, objective = model.eval()(**batch, return_objective=True)
        expected = F.cross_entropy(output.logits, batch["labels"], WEIGHT) + sum(
            loss for name, loss in objective.losses.items() if name != "task"
        )
    assert made.evaluate()["eval_loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_trainer_trains_regression_with_a_concordance_loss(tmp_path, outputs):
    made = list(rated(16, outputs))
    model = wrap(bare(), num_classes=outputs, criterion=concordance_loss)
    batch = batch_of(made)

    def task():
        with torch.no_grad():
            return float(model.eval()(**batch, return_objective=True)[1].losses["task"])

    before = task()
    runner = trainer(tmp_path, model, made, num_train_epochs=15, learning_rate=3e-2)
    runner.train()
    assert task() < 0.8 * before
    predicted = torch.as_tensor(runner.predict(made[:6]).predictions)
    assert predicted.shape == (6, outputs)


def moved(model, before):
    """Which kinds of parameters training changed."""
    changed = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
    return {kind for kind in ("lora_", "head", "base_layer") if any(kind in name for name in changed)}


def state_of(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_lora_before_wrapping_trains_with_the_head_and_both_are_saved(tmp_path):
    def adapted():
        torch.manual_seed(0)
        return peft.get_peft_model(bare(), peft.LoraConfig(**LORA))

    model = wrap(adapted(), head=INSIDE)
    before = state_of(model)
    trainer(tmp_path, model, remove_unused_columns=False).train()
    assert moved(model, before) == {"lora_", "head"}
    expected = logits(model)
    model.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(logits(load_pretrained(tmp_path / "saved", adapted())), expected, rtol=0, atol=0)


def test_lora_after_wrapping_trains_with_the_head_and_both_are_saved_and_merged(tmp_path):
    model = peft.get_peft_model(wrap(bare()), peft.LoraConfig(**LORA, modules_to_save=["head"]))
    before = state_of(model)
    trainer(tmp_path, model).train()
    assert moved(model, before) == {"lora_", "head"}
    expected = logits(model)
    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(wrap(bare(seed=0)), tmp_path / "adapter")
    torch.testing.assert_close(logits(again), expected, rtol=0, atol=0)
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged), expected)
    merged.save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(load_pretrained(tmp_path / "merged", bare())), logits(merged), rtol=0, atol=0)
    torch.testing.assert_close(logits(merged.strip()), logits(merged))


def test_a_head_that_an_adapter_froze_is_told_in_training():
    model = peft.get_peft_model(wrap(bare()), peft.LoraConfig(**LORA)).train()
    with pytest.warns(UserWarning, match=r'frozen and learns nothing.*modules_to_save=\["head"\]'):
        model(**batch_of(rows(4)))


class Int8Linear(nn.Linear):
    """As a quantised layer holds its weight: in whole numbers, frozen."""

    def __init__(self, *widths):
        super().__init__(*widths)
        whole = (self.weight * 127).round().to(torch.int8)
        self.weight = nn.Parameter(whole, requires_grad=False)

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype) / 127, self.bias)


def test_a_quantised_classifier_gets_a_head_that_trains_and_comes_back(tmp_path):
    def made():
        torch.manual_seed(0)
        return nn.Sequential(Int8Linear(6, 8), nn.ReLU(), Int8Linear(8, 3))

    model = wrap(made(), head="2").train()
    assert {parameter.dtype for parameter in model.head.parameters()} == {torch.float32}
    x = torch.randn(6, 6)
    model(x, labels=torch.arange(6) % 3, neutral=x).loss.backward()
    assert all(parameter.grad is not None for parameter in model.head.parameters())
    model.save_pretrained(tmp_path)
    expected = model.eval()(x)
    torch.testing.assert_close(load_pretrained(tmp_path, made())(x), expected, rtol=0, atol=0)
    back = model.unwrap()
    assert back[2].weight.dtype == torch.int8
    assert torch.equal(back(x), made()(x))
