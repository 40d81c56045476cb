"""A wrapped model in a plain PyTorch loop, and under Lightning."""

import lightning
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from dsnet_plugin import NeutralCollator, WrapError, wrap
from tests.dsnet_plugin.speech_rows import extractor, rows, wrapped


def batches(size=8):
    return DataLoader(rows(16), batch_size=size, collate_fn=NeutralCollator(extractor()))


def logits(model):
    batch = NeutralCollator(extractor())(rows(5, seed=2))
    with torch.no_grad():
        return model.eval()(batch["input_values"], attention_mask=batch["attention_mask"]).logits


def train(model, epochs=6, precision=None, after=lambda: None):
    """The mean loss of each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    epoch_losses = []
    for _ in range(epochs):
        losses = []
        for batch in batches():
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
                loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            after()
        epoch_losses.append(sum(losses) / len(losses))
    return epoch_losses


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("precision", [None, "bf16"])
def test_the_loss_falls_in_a_plain_loop_and_under_autocast(precision):
    model = wrapped().train()
    losses = train(model, precision=precision)
    assert losses[-1] < 0.9 * losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients(model).values())


def test_autocast_runs_the_model_in_bfloat16_and_the_objective_in_float32():
    model, batch = wrapped().train(), next(iter(batches()))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**batch)
    assert output.logits.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32


def test_accumulated_gradients_are_the_sum_of_those_of_each_batch():
    model, expected = wrapped().train(), {}
    loader = list(batches(size=4))
    for accumulate in (False, True):
        torch.manual_seed(0)  # of the head's dropout
        model.zero_grad()
        for batch in loader:
            (model(**batch).loss / len(loader)).backward()
            if not accumulate:
                for name, gradient in gradients(model).items():
                    expected[name] = expected.get(name, 0) + gradient
                model.zero_grad()
    torch.testing.assert_close(gradients(model), expected, rtol=1e-4, atol=1e-7)


def test_an_average_of_weights_is_a_model_of_its_own_that_follows_the_trained_one():
    model = wrapped().train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    start = logits(average)
    model.train()
    train(model, epochs=2, after=lambda: average.update_parameters(model))
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    averaged = logits(average)
    assert not torch.allclose(averaged, start)
    assert not torch.allclose(averaged, logits(model))
    train(average.module.train(), epochs=1)
    torch.testing.assert_close(model.state_dict(), trained, rtol=0, atol=0)


def test_a_copy_in_mid_training_has_a_head_of_its_own():
    """What an average does: the copy's objective comes from the copy's head, though the head is also known by a slot."""
    model = wrapped().train()
    average = AveragedModel(model)
    average.module(**next(iter(batches()))).loss.backward()
    assert all(gradient is None for gradient in gradients(model).values())
    assert all(gradient is not None for gradient in gradients(average.module).values())


class Lit(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model, self.losses = wrapped(), []

    def training_step(self, batch, _):
        output = self.model(**batch)
        self.losses.append(output.loss.item())
        return output.loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.model(**batch).loss, batch_size=len(batch["labels"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lightning_trains_validates_and_reads_its_checkpoint_back(tmp_path):
    lit = Lit()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(lit, batches(), batches())
    assert len(lit.losses) == 4
    assert sum(lit.losses[2:]) < sum(lit.losses[:2])
    assert trainer.callback_metrics["val_loss"].isfinite()
    path = trainer.checkpoint_callback.best_model_path
    again = Lit.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    assert not torch.allclose(logits(again.model), logits(wrapped()))
    torch.testing.assert_close(logits(again.model), logits(lit.model), rtol=0, atol=0)


def test_neutral_speech_without_labels_in_training_is_refused_and_not_left_out_in_silence():
    model = wrap(torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 3)), head="1").train()
    x = torch.randn(4, 6)
    with pytest.raises(WrapError, match="no labels in training"):
        model(x, neutral=x)
    assert model.eval()(x, neutral=x).shape == (4, 3)
