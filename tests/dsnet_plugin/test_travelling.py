"""A labelled call reaches its own head and no other: in threads, in DataParallel's replicas, in other processes, after pickle."""

import io
import pickle
import threading

import pytest
import torch
from torch import nn

from dsnet_plugin import DisentangleConfig, DisentangleOutput, WrapError, wrap
from tests.dsnet_plugin.data_parallel import replicas_of
from tests.dsnet_plugin.model_kinds import BINS, CLASSES, FRAMES, Block, PaddedSpeech, speech

STILL = DisentangleConfig(dropout=0.0)
Y = torch.tensor([0, 1, 2, 3, 1, 0])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return wrap(Block(), head="decision", config=STILL).eval()


def batch(seed, rows=6):
    return {"features": speech(rows, seed), "labels": Y[:rows], "neutral": speech(rows, seed + 100)}


def test_two_threads_on_one_model_get_the_losses_of_their_own_batches(model):
    expected = [model(**batch(seed)).loss for seed in range(8)]
    found, together = [None] * 8, threading.Barrier(8)

    def ask(seed):
        together.wait()
        for _ in range(5):
            found[seed] = model(**batch(seed)).loss

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(found, expected)


def test_replicas_of_data_parallel_compute_the_losses_of_their_share(model):
    shares = [batch(seed, rows=3) for seed in (0, 1)]
    outputs = [None, None]

    def run(i, replica):
        outputs[i] = replica(**shares[i])

    threads = [threading.Thread(target=run, args=item) for item in enumerate(replicas_of(model, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for output, share in zip(outputs, shares, strict=True):
        assert isinstance(output, DisentangleOutput)
        torch.testing.assert_close(output.losses, model(**share).losses)
    (outputs[0].loss + outputs[1].loss).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_place_that_is_not_confirmed_yet_is_refused_in_a_replica():
    tree = wrap(Block(), num_classes=CLASSES, config=STILL)
    with pytest.raises(WrapError, match="run the model once before"):
        replicas_of(tree, 1)[0](**batch(0))
    tree(speech())
    replicas_of(tree, 1)[0](**batch(0)).loss.backward()


def test_an_index_that_data_parallel_would_deal_out_apart_from_its_references_is_refused(model):
    (replica,) = replicas_of(model, 1)
    with pytest.raises(WrapError, match=r"DataParallel deals out the references apart.*DistributedDataParallel"):
        replica(speech(3), labels=Y[:3], neutral=speech(2), neutral_index=torch.tensor([0, 1, 0]))


@pytest.mark.parametrize("by", ["pickle", "torch.save"])
@pytest.mark.parametrize("stepped", [False, True])
def test_a_wrapped_model_is_pickled_whole(model, by, stepped):
    if stepped:
        model.train()(**batch(0)).loss.backward()
        torch.optim.SGD(model.parameters(), 0.1).step()
        model.eval()
    if by == "pickle":
        again = pickle.loads(pickle.dumps(model))
    else:
        content = io.BytesIO()
        torch.save(model, content)
        content.seek(0)
        again = torch.load(content, weights_only=False)
    torch.testing.assert_close(again(**batch(1)).losses, model(**batch(1)).losses, rtol=0, atol=0)
    assert again.head is again.model.decision.head is not model.head
    assert again.forward.__func__.__signature__ == model.forward.__func__.__signature__
    assert again.unwrap()(speech()).shape == (6, CLASSES)


def _loss_in_another_process(rank, model, path):
    torch.save(model(**batch(rank)).loss.detach(), f"{path}/{rank}.pt")


def test_a_wrapped_model_is_sent_to_spawned_processes(model, tmp_path):
    torch.multiprocessing.spawn(_loss_in_another_process, (model, str(tmp_path)), nprocs=1)
    torch.testing.assert_close(torch.load(tmp_path / "0.pt"), model(**batch(0)).loss.detach())


class Passing(nn.Module):
    """Passes on whatever it is given, as PEFT's models do."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


def test_the_inputs_of_a_model_inside_wrappers_show_through():
    model = wrap(Passing(Passing(PaddedSpeech())), num_classes=CLASSES, config=STILL)
    shown = list(model.forward.__func__.__signature__.parameters)
    assert shown[:4] == ["self", "features", "lengths", "labels"]
    assert {"neutral_features", "neutral_lengths"} < set(shown)
    lengths = torch.tensor([12, 7, 5, 12, 3, 12])
    found = model(speech(), lengths, labels=Y, neutral=(speech(seed=1), lengths))
    same = model(speech(), lengths, labels=Y, neutral={"features": speech(seed=1), "lengths": lengths})
    torch.testing.assert_close(found.loss, same.loss)


def without_a_gru():
    """A model that the compiler takes whole."""
    made = Block()
    made.encoder = nn.Sequential(nn.Flatten(), nn.Linear(FRAMES * BINS, 18), nn.ReLU())
    return made


@pytest.mark.parametrize("told", [{"head": "decision"}, {"example": speech()}])
def test_a_place_that_is_told_compiles_whole_and_one_from_the_module_tree_after_its_first_pass(told):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = wrap(without_a_gru(), num_classes=CLASSES, config=STILL, **told).eval()
    inputs = {**batch(0), "neutral": {"features": speech(seed=100)}}
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(**inputs).loss, model(**inputs).loss)
    tree = wrap(without_a_gru(), num_classes=CLASSES, config=STILL).eval()
    tree(speech())
    torch.testing.assert_close(torch.compile(tree, fullgraph=True, backend="eager")(**inputs).loss, tree(**inputs).loss)
    torch._dynamo.reset()
