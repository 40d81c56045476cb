"""The head: Table 1's sizes, equations 1 to 5 and 10, neutral references, and the ways models are run."""

import copy

import pytest
import torch
import torch.nn.functional as F

from backbones import CNNEncoder
from dsnet_plugin import (
    AttentionBlock,
    Classifier,
    ConfigError,
    DisentangleConfig,
    DisentangleHead,
    NeutralReferenceError,
    Projector,
    Restorer,
    ShapeError,
    calibration_loss,
    orthogonality_loss,
    reconstruction_loss,
)

D, N, CLASSES = 8, 6, 3
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
INDEX = torch.tensor([0, 1, 1, 0, 0, 1])
MASK = torch.tensor([True, False, True, True, False, True])


def features(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def make_head(train=True, **config):
    torch.manual_seed(0)
    return DisentangleHead(D, CLASSES, DisentangleConfig(**{"dropout": 0.0} | config)).train(train)


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: AttentionBlock(256), 98_880),
        (lambda: Projector(256), 98_880),
        (lambda: Restorer(256), 197_120),
        (lambda: Classifier(256, 4), 16_836),
        (lambda: DisentangleHead(256, 4), 411_716),
    ],
)
def test_parameters_are_table_1s(make, count):
    assert parameters(make()) == count


def test_whole_models_have_the_parameters_of_table_3():
    encoder, head = CNNEncoder(), DisentangleHead(256, 4)
    assert parameters(encoder, Classifier(256, 4)) == 1_227_140
    assert parameters(encoder, head) == 1_622_020
    assert parameters(encoder, head.p_er, head.classifier) == 1_326_020


@pytest.mark.parametrize(("width", "bottleneck"), [(768, 192), (100, 25), (2, 1), (1, 1)])
def test_widths_follow_in_features(width, bottleneck):
    head = DisentangleHead(width, 5)
    assert head.p_er.attention[0].out_features == head.p_ei.attention[0].out_features == bottleneck
    assert head.restorer[0].in_features == 2 * width
    assert head.eval()(features(2, width)).shape == (2, 5)


def test_widths_and_dropout_follow_the_configuration():
    head = DisentangleHead(D, CLASSES, DisentangleConfig(bottleneck=5, classifier_hidden=7, dropout=0.25))
    assert head.p_er.attention[0].out_features == 5
    assert head.classifier[0].out_features == 7
    assert head.classifier[3].p == 0.25


@pytest.mark.parametrize(("width", "classes"), [(0, 4), (-1, 4), (256, 0)])
def test_impossible_widths_are_refused(width, classes):
    with pytest.raises(ConfigError, match=f"in_features={width}, num_classes={classes}: expected"):
        DisentangleHead(width, classes)


# --- equations --------------------------------------------------------------------------------------------------------


def attention_by_hand(block, h):
    w1, w2, w3 = block.attention[0], block.attention[2], block.projection
    a = torch.sigmoid(F.linear(F.relu(F.linear(h, w1.weight, w1.bias)), w2.weight, w2.bias))
    return F.relu(F.linear(a * h + h, w3.weight, w3.bias))


def test_output_is_equations_1_2_and_5():
    head, h = make_head(), features(N, D)
    output = head(h, LABELS, features(N, D, seed=1))
    z_er, z_ei = attention_by_hand(head.p_er, h), attention_by_hand(head.p_ei, h)
    torch.testing.assert_close(output.z_er, z_er)
    torch.testing.assert_close(output.z_ei, z_ei)
    first, last = head.restorer[0], head.restorer[2]
    hidden = F.relu(F.linear(torch.cat([z_er, z_ei], 1), first.weight, first.bias))
    torch.testing.assert_close(output.h_hat, F.linear(hidden, last.weight, last.bias))


def test_logits_are_the_classifier_of_z_er():
    head, h = make_head(train=False), features(N, D)
    torch.nn.init.normal_(head.classifier[1].running_mean)
    linear, norm, last = head.classifier[0], head.classifier[1], head.classifier[4]
    x = F.linear(attention_by_hand(head.p_er, h), linear.weight, linear.bias)
    x = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(head(h), F.linear(F.relu(x), last.weight, last.bias))


VARIANTS = [
    {},
    {"alpha": 0.3, "beta": 0.2, "gamma": 3.0},
    {"orthogonality": "row_norm", "reconstruction_reduction": "mean", "calibration": "js"},
    {"orthogonality_reduction": "sum", "calibration": "js", "temperature": 0.1},
]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("config", VARIANTS)
def test_loss_is_the_weighted_sum_of_equation_10(config, train):
    head, h, h_n = make_head(train, **config), features(N, D), features(N, D, seed=1)
    output, c = head(h, LABELS, h_n), head.config
    expected = {
        "task": -output.logits.log_softmax(1)[range(N), LABELS].mean(),
        "orthogonality": orthogonality_loss(output.z_er, output.z_ei, c.orthogonality, c.orthogonality_reduction),
        "reconstruction": reconstruction_loss(h, output.h_hat, c.reconstruction_reduction),
        "calibration": calibration_loss(output.z_ei, h_n, c.calibration, c.temperature),
    }
    assert list(output.losses) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(output.losses[name], value)
    weights = (1, c.alpha, c.beta, c.gamma)
    torch.testing.assert_close(output.loss, sum(w * v for w, v in zip(weights, expected.values(), strict=True)))


@pytest.mark.parametrize(
    ("weight", "name"), [("alpha", "orthogonality"), ("beta", "reconstruction"), ("gamma", "calibration")]
)
def test_weight_zero_leaves_a_loss_out(weight, name):
    output = make_head(**{weight: 0.0})(features(N, D), LABELS, features(N, D, seed=1))
    assert set(output.losses) == {"task", "orthogonality", "reconstruction", "calibration"} - {name}
    torch.testing.assert_close(output.loss, sum(output.losses.values()))


# --- inference --------------------------------------------------------------------------------------------------------


def test_inference_runs_p_er_and_the_classifier_alone():
    head, ran = make_head(train=False), []
    for name, module in head.named_children():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    head(features(N, D))
    assert ran == ["p_er", "classifier"]


def test_inference_does_not_read_the_training_only_parameters():
    head, h = make_head(train=False), features(N, D)
    before = head(h)
    with torch.no_grad():
        for parameter in [*head.p_ei.parameters(), *head.restorer.parameters()]:
            parameter.fill_(float("nan"))
    assert torch.equal(head(h), before)


def test_evaluation_without_neutral_leaves_the_calibration_out():
    output = make_head(train=False)(features(N, D), LABELS)
    assert set(output.losses) == {"task", "orthogonality", "reconstruction"}


def test_evaluation_takes_a_batch_of_one():
    head = make_head(train=False)
    assert head(features(1, D)).shape == (1, CLASSES)
    assert head(features(1, D), LABELS[:1], features(1, D, seed=1)).loss.isfinite()


# --- training ---------------------------------------------------------------------------------------------------------


def test_every_parameter_and_both_features_receive_a_gradient():
    head, h, h_n = make_head(), features(N, D).requires_grad_(), features(N, D, seed=1).requires_grad_()
    head(h, LABELS, h_n).loss.backward()
    for name, tensor in [*head.named_parameters(), ("h", h), ("h_n", h_n)]:
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        # The batch norm takes the mean out again, so that the bias before it has a gradient of rounding alone.
        assert name == "classifier.0.bias" or tensor.grad.abs().max() > 0, name


def test_h_is_not_detached_as_the_target_of_the_reconstruction():
    head, h = make_head(reconstruction_reduction="sum"), features(N, D).requires_grad_()
    for parameter in head.restorer.parameters():
        parameter.data.zero_()  # h_hat is 0 whatever h: what gradient there is comes through the target, 2 h / N
    (gradient,) = torch.autograd.grad(head(h, LABELS, features(N, D, seed=1)).losses["reconstruction"], h)
    torch.testing.assert_close(gradient, 2 * h.detach() / N)


def test_h_n_is_not_detached_as_the_target_of_the_calibration():
    head, h_n = make_head(alpha=0, beta=0), features(N, D, seed=1).requires_grad_()
    output = head(features(N, D), LABELS, h_n)
    (gradient,) = torch.autograd.grad(output.losses["calibration"], h_n)
    twin = h_n.detach().requires_grad_()
    (expected,) = torch.autograd.grad(calibration_loss(output.z_ei.detach(), twin), twin)
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient, expected)


def test_a_training_batch_of_one_is_refused():
    with pytest.raises(ShapeError, match=r"batch of 1.*drop_last"):
        make_head()(features(1, D))


# --- neutral references -----------------------------------------------------------------------------------------------


def run(neutral, index=None, mask=None, **config):
    """The loss, and its gradients on the references and on the head."""
    head, neutral = make_head(**config), neutral.clone().requires_grad_()
    loss = head(features(N, D), LABELS, neutral, index, mask).loss
    loss.backward()
    return loss.detach(), neutral.grad, [p.grad for p in head.parameters()]


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("index", [INDEX, torch.stack([INDEX, 2 * INDEX], dim=1)])
def test_k_distinct_references_equal_n_expanded_ones(index, mask):
    distinct = features(3, D, seed=1)
    columns = index.reshape(N, -1)
    expanded = torch.stack([distinct[row].mean(0) for row in columns])
    loss, grad, head_grads = run(distinct, index, mask)
    expected_loss, expanded_grad, expected_head_grads = run(expanded, None, mask)
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(head_grads, expected_head_grads)
    gathered = torch.zeros_like(grad)
    for row, references in enumerate(columns.tolist()):
        for reference in references:
            gathered[reference] += expanded_grad[row] / len(references)
    torch.testing.assert_close(grad, gathered)


def test_masked_rows_are_left_out_of_the_calibration_whatever_their_reference():
    head, h, h_n = make_head(), features(N, D), features(N, D, seed=1)
    h_n[~MASK] = float("nan")
    output = head(h, LABELS, h_n, neutral_mask=MASK)
    torch.testing.assert_close(output.losses["calibration"], calibration_loss(output.z_ei[MASK], h_n[MASK]))
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("neutral", [None, features(N, D, seed=1)])
def test_a_mask_of_all_false_keeps_the_calibration_at_a_connected_zero(neutral):
    head = make_head(alpha=0, beta=0)
    output = head(features(N, D), LABELS, neutral, neutral_mask=torch.zeros(N, dtype=torch.bool))
    assert output.losses["calibration"] == 0
    output.loss.backward()
    assert all((p.grad == 0).all() for p in head.p_ei.parameters())


@pytest.mark.parametrize("mask", [None, MASK])
def test_training_without_neutral_says_what_to_do(mask):
    with pytest.raises(NeutralReferenceError, match=r"neutral= is missing.*gamma=0"):
        make_head()(features(N, D), LABELS, neutral_mask=mask)


def test_references_of_no_speaker_in_the_batch_are_as_none():
    """What NeutralReferences.batch gives for a batch of speakers without neutral speech goes straight in."""
    nothing = torch.zeros(N, dtype=torch.int64)
    losses = make_head()(features(N, D), LABELS, features(0, D), nothing, nothing.bool()).losses
    assert losses["calibration"] == 0


def test_a_float64_head_passes_the_gradient_check_as_a_whole():
    head = make_head(dropout=0.0).double()
    h, h_n = features(N, D).double().requires_grad_(), features(N, D, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda h, h_n: head(h, LABELS, h_n).loss, (h, h_n))


def test_training_without_calibration_needs_no_neutral():
    assert "calibration" not in make_head(gamma=0)(features(N, D), LABELS).losses


# --- errors -----------------------------------------------------------------------------------------------------------

H = features(N, D)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"h": features(N, D + 1)}, r"h has shape \(6, 9\); this head expects \(N, 8\)"),
        ({"h": features(N, D, 1)}, r"h has shape \(6, 8, 1\)"),
        (
            {"labels": LABELS[:5]},
            r"labels are torch.int64 of shape \(5,\); expected one class index a row of h, \(6,\)",
        ),
        ({"labels": F.one_hot(LABELS)}, r"labels are torch.int64 of shape \(6, 3\)"),
        ({"labels": LABELS.float()}, r"labels are torch.float32 of shape \(6,\)"),
        ({"labels": LABELS + 1}, r"labels lie in 1\.\.3; expected 0\.\.2: check num_classes"),
        ({"labels": LABELS - 1}, r"labels lie in -1\.\.1; expected 0\.\.2"),
        ({"neutral": H[:2]}, "2 neutral rows for 6 rows of h: .* neutral_index"),
        ({"neutral": H[:, :4]}, r"neutral has shape \(6, 4\); expected \(N or K, 8\)"),
        (
            {"neutral": H[:2], "neutral_index": INDEX[:5]},
            r"neutral_index is torch.int64 of shape \(5,\); expected torch.int64 of shape \(6,\) or \(6, k\)",
        ),
        ({"neutral": H[:2], "neutral_index": INDEX.reshape(N, 1, 1)}, r"of shape \(6, 1, 1\)"),
        ({"neutral": H[:2], "neutral_index": INDEX + 2}, r"neutral_index lie in .*; expected 0\.\.1"),
        ({"neutral": H[:2], "neutral_index": INDEX[:, None][:, :0]}, r"of shape \(6, 0\)"),
        ({"neutral": H[:2], "neutral_index": INDEX.bool()}, "neutral_index is torch.bool"),
        ({"neutral": H[:2], "neutral_index": INDEX.tolist()}, "neutral_index is a list; expected torch.int64 of shape"),
        (
            {"neutral_mask": MASK[:5]},
            r"neutral_mask is torch.bool of shape \(5,\); expected torch.bool of shape \(6,\), one a row of h",
        ),
        (
            {"neutral_mask": MASK.tolist()},
            r"neutral_mask is a list; expected torch.bool of shape \(6,\)",
        ),
    ],
)
def test_shapes_and_labels_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ShapeError, match=message):
        make_head()(**{"h": H, "labels": LABELS, "neutral": H} | arguments)


# --- how models are run -----------------------------------------------------------------------------------------------


def test_a_deepcopy_is_independent():
    head = make_head()
    twin, before = copy.deepcopy(head), copy.deepcopy(head.state_dict())
    twin(features(N, D), LABELS, features(N, D, seed=1)).loss.backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    torch.testing.assert_close(head.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in head.parameters())
    assert not torch.equal(head.restorer[0].weight, twin.restorer[0].weight)


def test_the_state_dict_carries_all_that_inference_needs():
    head = make_head()
    head(features(N, D))  # moves the batch-norm statistics
    other = DisentangleHead(D, CLASSES)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.eval()(H), head.eval()(H))


# "eager" runs the captured graphs as they are: with fullgraph a break is an error, and no compiler is needed.
@pytest.mark.parametrize("config", VARIANTS)
@pytest.mark.parametrize("train", [True, False])
def test_compiles_without_graph_breaks_to_the_same_numbers(train, config):
    torch._dynamo.reset()
    arguments = (H, LABELS, features(2, D, seed=1), INDEX, MASK)
    expected_head, head = make_head(train, **config), make_head(train, **config)
    compiled = torch.compile(head, fullgraph=True, backend="eager")
    output, expected = compiled(*arguments), expected_head(*arguments)
    torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(output.losses, expected.losses)
    output.loss.backward()
    expected.loss.backward()
    torch.testing.assert_close([p.grad for p in head.parameters()], [p.grad for p in expected_head.parameters()])
    torch.testing.assert_close(compiled(H), expected_head(H))


@pytest.mark.parametrize("strict", [True, False])
def test_inference_exports_for_any_batch_size(strict):
    head = make_head(train=False)
    program = torch.export.export(head, (H,), strict=strict, dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.testing.assert_close(program.module()(H[:4]), head(H[:4]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_losses_in_float32_and_near_full_precision(dtype):
    arguments = (H, LABELS, features(N, D, seed=1))
    head, expected = make_head(), make_head()(*arguments)
    with torch.autocast("cpu", dtype):
        output = head(*arguments)
    assert output.z_er.dtype == dtype
    assert output.loss.dtype == torch.float32
    for name, value in output.losses.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected.losses[name], rtol=0.1, atol=0.02)
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_head_in_half_precision_computes_every_loss_in_float32(dtype):
    output = make_head().to(dtype)(H.to(dtype), LABELS, features(N, D, seed=1).to(dtype))
    assert output.logits.dtype == dtype
    assert all(value.dtype == torch.float32 for value in (output.loss, *output.losses.values()))
