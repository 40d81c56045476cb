"""The task's loss: a criterion of the user's in a head and in a wrapped model, and labels in every form."""

import copy
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from dsnet_plugin import ConfigError, DisentangleConfig, DisentangleHead, ShapeError, WrapError, concordance_loss, wrap
from dsnet_plugin.task import TaskLoss
from tests.dsnet_plugin.ser_models import AttentionCNN, TwoHeads, speech

LOGITS = torch.linspace(-3, 3, 24).sin().mul(2).reshape(6, 4)
Y = torch.tensor([0, 1, 2, 3, 1, 0])
SOFT = torch.linspace(0, 5, 24).cos().reshape(6, 4).softmax(1)
SEVERAL = (SOFT > 0.25).long()
WEIGHT = torch.tensor([0.1, 0.4, 0.2, 0.3])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def focal(logits, labels, gamma=2.0):
    log_p = F.log_softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return (-((1 - log_p.exp()) ** gamma) * log_p).mean()


CRITERIA = {
    "class weights": (nn.CrossEntropyLoss(weight=WEIGHT), Y, lambda: F.cross_entropy(LOGITS, Y, WEIGHT)),
    "label smoothing": (
        nn.CrossEntropyLoss(label_smoothing=0.2),
        Y,
        lambda: 0.8 * F.cross_entropy(LOGITS, Y) + 0.2 * -F.log_softmax(LOGITS, 1).mean(),
    ),
    "focal": (focal, Y, lambda: ((1 - (p := LOGITS.softmax(1)[range(6), Y])) ** 2 * -p.log()).mean()),
    "soft labels": (nn.CrossEntropyLoss(), SOFT, lambda: -(SOFT * F.log_softmax(LOGITS, 1)).sum(1).mean()),
    "ignored labels": (
        nn.CrossEntropyLoss(),
        torch.tensor([0, -100, 2, 3, -100, 0]),
        lambda: F.cross_entropy(LOGITS[[0, 2, 3, 5]], Y[[0, 2, 3, 5]]),
    ),
    "several labels": (
        nn.BCEWithLogitsLoss(),
        SEVERAL,
        lambda: torch.mean(F.softplus(LOGITS) - SEVERAL * LOGITS),
    ),
    "a library's focal loss of several labels": (
        partial(sigmoid_focal_loss, reduction="mean"),
        SEVERAL,
        lambda: sigmoid_focal_loss(LOGITS, SEVERAL.float(), reduction="mean"),
    ),
    "concordance": (concordance_loss, SOFT.double(), lambda: concordance_loss(LOGITS, SOFT)),
    "integers of one column": (nn.CrossEntropyLoss(), Y[:, None].to(torch.int32), lambda: F.cross_entropy(LOGITS, Y)),
    "a list of lists": (nn.MSELoss(), SOFT.tolist(), lambda: (LOGITS - SOFT).square().mean()),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_is_computed_as_by_hand(name):
    criterion, labels, by_hand = CRITERIA[name]
    torch.testing.assert_close(TaskLoss(4, criterion)(LOGITS, labels), by_hand())


@pytest.mark.parametrize("name", CRITERIA)
def test_a_model_wrapped_with_a_criterion_trains_on_the_whole_objective(name):
    criterion, labels, _ = CRITERIA[name]
    model = wrap(AttentionCNN(), head="emotion", criterion=copy.deepcopy(criterion)).train()
    output = model(speech(), labels=labels, neutral=speech(seed=1))
    assert set(output.losses) == {"task", "orthogonality", "reconstruction", "calibration"}
    torch.testing.assert_close(output.losses["task"], TaskLoss(4, criterion)(output.logits, labels))
    torch.testing.assert_close(output.loss, sum(output.losses.values()))
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("labels", [Y[:6] / 3, (Y / 3)[:, None], (Y / 3).tolist(), Y])
def test_one_regression_output_takes_labels_of_n_and_of_n_by_1_and_never_broadcasts(labels):
    prediction = LOGITS[:, :1]
    expected = (prediction[:, 0] - torch.as_tensor(labels).flatten()).square().mean()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(TaskLoss(1, nn.MSELoss())(prediction, labels), expected)


@pytest.mark.parametrize("outputs", [1, 3])
def test_regression_by_concordance_learns(outputs):
    model = wrap(nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2)), outputs, "2", criterion=concordance_loss)
    x = torch.randn(64, 5)
    y = torch.stack([x[:, 0], 2 * x[:, 1] + 3, x[:, 2] - x[:, 3]], 1)[:, :outputs]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        model(x, labels=y, neutral=x[:1], neutral_index=torch.zeros(64, dtype=torch.int64)).loss.backward()
        optimizer.step()
    prediction = model.eval()(x)
    assert prediction.shape == (64, outputs)
    assert concordance_loss(prediction, y) < 0.2


@pytest.mark.parametrize("labels", [Y.to(torch.int32), Y[:, None], Y.tolist(), Y.to(torch.uint8), Y[:, None].tolist()])
def test_class_indices_of_any_integer_type_a_column_or_a_list_are_the_same(labels):
    torch.testing.assert_close(TaskLoss(4)(LOGITS, labels), F.cross_entropy(LOGITS, Y), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Y.float(), r"labels are torch.float32 of shape \(6,\); expected one class index a row.*criterion="),
        (SOFT, r"labels are torch.float32 of shape \(6, 4\); expected one class index a row.*criterion="),
        (Y > 1, "labels are torch.bool"),
        (Y[:5], r"of shape \(5,\)"),
        (Y[None], r"of shape \(1, 6\)"),
        (Y + 1, r"labels lie in 1\.\.4; expected 0\.\.3"),
        (["joy"] * 6, "labels cannot be made a tensor .*; expected numbers"),
        ([[0], [1, 2]], "labels cannot be made a tensor"),
    ],
)
def test_labels_that_are_no_class_indices_are_refused_in_one_line(labels, message):
    with pytest.raises(ShapeError, match=message) as caught:
        TaskLoss(4)(LOGITS, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("criterion", "labels", "message"),
    [
        (nn.MSELoss(), SOFT[:5], r"labels have shape \(5, 4\); expected a row for each of the 6 rows"),
        (nn.MSELoss(), torch.tensor(1.0), r"labels have shape \(\)"),
        (nn.CrossEntropyLoss(reduction="none"), Y, r"CrossEntropyLoss gave shape \(6,\); expected a scalar"),
        (lambda logits, labels: 3.0, Y, r"gave a float; expected a scalar"),
    ],
)
def test_a_criterion_and_labels_that_do_not_fit_are_named(criterion, labels, message):
    with pytest.raises(ShapeError, match=message):
        TaskLoss(4, criterion)(LOGITS, labels)


@pytest.mark.parametrize(
    ("classes", "criterion", "message"),
    [
        (4, nn.CrossEntropyLoss, "expected a function of logits and labels"),
        (4, "mse", "criterion='mse'"),
        (1, None, "num_classes=1 has no default criterion"),
        (0, nn.MSELoss(), "or with a criterion 1 output"),
    ],
)
def test_what_cannot_be_a_criterion_is_refused_before_the_model_is_touched(classes, criterion, message):
    model = AttentionCNN()
    place = model.emotion
    with pytest.raises(ConfigError, match=message):
        DisentangleHead(8, classes, criterion=criterion)
    if classes:
        with pytest.raises(ConfigError, match=message):
            wrap(model, num_classes=classes, head="emotion", criterion=criterion)
    assert model.emotion is place


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_class_weights_move_with_the_model_and_keep_their_precision(dtype):
    weight = torch.tensor([1 / 3, 0.2, 0.3, 0.7])
    head = DisentangleHead(8, 4, DisentangleConfig(dropout=0), nn.CrossEntropyLoss(weight=weight)).to(dtype).eval()
    output = head(torch.randn(6, 8, dtype=dtype), Y)
    kept = head.task_loss.criterion.weight
    torch.testing.assert_close(kept, weight.to(kept.dtype), rtol=0, atol=0)
    torch.testing.assert_close(
        output.losses["task"].float(), F.cross_entropy(output.logits.float(), Y, weight), rtol=1e-5, atol=1e-6
    )
    assert head.to("meta").task_loss.criterion.weight.is_meta


def test_what_a_criterion_learns_is_among_the_models_parameters():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, logits, labels):
            return F.cross_entropy(self.scale * logits, labels)

    model = wrap(AttentionCNN(), head="emotion", criterion=Scaled())
    model(speech(), labels=Y, neutral=speech(seed=1)).loss.backward()
    assert any(p is model.head.task_loss.criterion.scale and p.grad for p in model.parameters())
    assert not any("task_loss" in name for name, _ in model.strip().named_parameters())
    removed = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.strip().parameters())
    assert removed == model.status().training_only


# --- loops that compute the task's loss themselves


def test_a_loop_of_ones_own_has_the_models_output_and_the_three_losses_beside_it():
    model = wrap(TwoHeads(), head="emotion_head", config=DisentangleConfig(dropout=0)).train()
    output, objective = model(speech(), neutral=speech(seed=1), return_objective=True)
    assert type(output) is dict
    assert output.keys() == {"emotion", "gender"}
    assert set(objective.losses) == {"orthogonality", "reconstruction", "calibration"}
    torch.testing.assert_close(objective.loss, sum(objective.losses.values()))
    loss = F.cross_entropy(output["emotion"], Y) + F.cross_entropy(output["gender"], Y % 2) + objective.loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_ones_own_loop_and_labels_give_the_same_gradients():
    model = wrap(AttentionCNN(), head="emotion", config=DisentangleConfig(dropout=0, alpha=0.5, gamma=2.0)).train()
    other = copy.deepcopy(model)
    loss = model(speech(), labels=Y, neutral=speech(seed=1)).loss
    loss.backward()
    output, objective = other(speech(), neutral=speech(seed=1), return_objective=True)
    beside = F.cross_entropy(output, Y) + objective.loss
    beside.backward()
    torch.testing.assert_close(beside, loss)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_with_labels_the_pair_is_the_models_output_and_the_whole_objective():
    model = wrap(TwoHeads(), head="emotion_head").train()
    output, objective = model(speech(), labels=Y, neutral=speech(seed=1), return_objective=True)
    assert output["emotion"] is objective.logits
    assert "task" in objective.losses


def test_training_without_labels_says_that_the_losses_are_left_out_and_evaluation_does_not():
    bare = AttentionCNN()
    model = wrap(bare, head="emotion").train()
    for called in (model, bare):  # wrapping is in place: the model that a loop still holds is wrapped, too
        with pytest.warns(UserWarning, match="none of the three losses; pass labels=, or return_objective=True"):
            F.cross_entropy(called(speech()), Y).backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.no_grad():
            model(speech())
        model(speech(), labels=Y, neutral=speech(seed=1))
        model(speech(), neutral=speech(seed=1), return_objective=True)
        model.eval()(speech())
    with pytest.raises(WrapError, match=r"no labels in training.*criterion=.*return_objective=True"):
        model.train()(speech(), neutral=speech(seed=1))


def test_the_pair_compiles_without_a_graph_break_and_gives_the_same():
    model = wrap(AttentionCNN(), head="emotion", config=DisentangleConfig(dropout=0)).train()
    # Of its own, since the neutral pass uses the running statistics, which each labelled pass moves.
    expected = copy.deepcopy(model)(speech(), neutral=speech(seed=1), return_objective=True)
    found = torch.compile(model, fullgraph=True, backend="eager")(
        speech(), neutral=speech(seed=1), return_objective=True
    )
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1].losses, expected[1].losses)
