import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.methods.mmd import BANDWIDTHS, mean_squared_mmd

DOMAINS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])


def rows(domains=DOMAINS, width=3, dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(len(domains), width, dtype=dtype) + domains[:, None]


def by_hand(x, domains, scale=None):
    """The definition, in plain loops over rows."""
    x, domains, n = x.tolist(), domains.tolist(), len(x)
    distance = [[sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for q in x] for p in x]
    scale = scale or sum(map(sum, distance)) / (n * (n - 1))

    def kernel(first, second):
        pairs = [(i, j) for i in first for j in second if i != j]
        return sum(math.exp(-distance[i][j] / (b * scale)) for b in BANDWIDTHS for i, j in pairs) / len(pairs)

    found = []
    for domain in set(domains):
        own = [i for i in range(n) if domains[i] == domain]
        others = [i for i in range(n) if domains[i] != domain]
        found.append(kernel(own, own) - 2 * kernel(own, others) + kernel(others, others))
    return sum(found) / len(found)


def test_it_is_the_definition_in_plain_loops():
    assert BANDWIDTHS == (1 / 4, 1 / 2, 1, 2, 4)
    assert mean_squared_mmd(rows(), DOMAINS, 3).item() == pytest.approx(by_hand(rows(), DOMAINS), rel=1e-12)


def test_it_is_large_between_far_domains_and_zero_on_average_between_rows_of_one_kind():
    x, halves = rows(), torch.arange(2).repeat_interleave(len(DOMAINS))
    assert mean_squared_mmd(torch.cat([x, x + 100]), halves, 2) > 4
    generator = torch.Generator().manual_seed(0)
    pairs = torch.arange(12) // 2  # two rows a domain, as few as a speaker has in a batch
    found = torch.stack([mean_squared_mmd(torch.randn(12, 8, generator=generator), pairs, 6) for _ in range(400)])
    assert found.mean().abs() < 4 * found.std() / 400**0.5
    assert found.std() < 0.4


def test_domains_of_fewer_than_two_rows_are_left_out():
    names = torch.tensor([0, 4, 7])
    assert torch.allclose(mean_squared_mmd(rows(), names[DOMAINS], 9), mean_squared_mmd(rows(), DOMAINS, 3))
    alone = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
    with_it = [mean_squared_mmd(rows(), torch.where(alone == d, 0, 1), 2) for d in range(3)]
    one_sided = [by_hand(rows(), torch.where(alone == d, 0, 1)) for d in range(3)]
    assert [w.item() for w in with_it] == pytest.approx(one_sided)
    assert mean_squared_mmd(rows(), alone, 4).item() == pytest.approx(sum(one_sided) / 3)


def test_the_bandwidth_has_no_gradient():
    x = rows()
    distances = (x[:, None] - x).square().sum(2)
    scale = float(distances.sum() / (len(x) * (len(x) - 1)))
    found = torch.autograd.grad(mean_squared_mmd(x.requires_grad_(), DOMAINS, 3), x)[0]
    step = 1e-6
    for place in ((0, 0), (4, 2), (8, 1)):
        values = []
        for sign in (1, -1):
            moved = x.detach().clone()
            moved[place] += sign * step
            values.append(by_hand(moved, DOMAINS, scale))
        assert found[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize(
    ("x", "domains"),
    [
        (rows(dtype=torch.float32), torch.zeros(9, dtype=torch.int64)),
        (torch.ones(9, 3), DOMAINS),
        (torch.ones(1, 3), torch.tensor([2])),
    ],
    ids=["one domain", "rows alike", "one row"],
)
def test_where_there_is_nothing_to_compare_it_is_zero_with_gradients_of_zero(x, domains):
    x = x.clone().requires_grad_()
    found = mean_squared_mmd(x, domains, 3)
    assert found.abs() < 1e-6
    assert torch.autograd.grad(found, x)[0].abs().max() == 0


def test_under_autocast_it_is_computed_in_float32():
    x = rows(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mean_squared_mmd(x.bfloat16(), DOMAINS, 3)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(by_hand(x.bfloat16(), DOMAINS), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    domains=st.lists(st.integers(0, 3), min_size=2, max_size=12),
    scale=st.floats(1e-2, 1e3),
    seed=st.integers(0, 1000),
)
def test_it_knows_neither_the_unit_nor_the_order_of_rows(domains, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    domains = torch.tensor(domains)
    x = torch.randn(len(domains), 5, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(domains), generator=generator)
    found = mean_squared_mmd(x, domains, 4)
    assert torch.allclose(mean_squared_mmd(scale * x[order] + 1, domains[order], 4), found, atol=1e-9)
