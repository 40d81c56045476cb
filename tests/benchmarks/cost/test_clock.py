"""Turns, ratios and the memory that tensors take, against what is known beforehand."""

import torch

from benchmarks.cost.clock import Clock, in_turn, median_ratio
from benchmarks.cost.memory import growth, size

CPU = torch.device("cpu")


def test_each_is_measured_once_a_round_in_alternating_order_after_a_warm_up():
    order = []

    def measure(name):
        order.append(name)
        return len(order)

    found = in_turn({"a": lambda: measure("a"), "b": lambda: measure("b")}, 2)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert found == {"a": [3, 6], "b": [4, 5]}


def test_the_ratio_is_the_median_over_rounds():
    assert median_ratio([2.0, 30.0, 9.0], [1.0, 10.0, 1.0]) == 3.0


def test_marks_and_calls_measure_the_same_seconds(monkeypatch):
    now = iter([1.0, 3.5, 10.0, 12.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    clock = Clock(CPU)
    assert clock.between(clock.mark(), clock.mark()) == 2.5
    assert clock.seconds(lambda: None) == 2.5


def test_size_is_that_of_the_elements():
    assert size([torch.zeros(3, 5), torch.zeros(7, dtype=torch.bfloat16)]) == 74


def test_growth_is_the_peak_and_not_the_sum_of_what_a_call_allocates():
    def run():
        first = torch.empty(1_000_000)
        second = torch.empty(2_000_000)
        del first
        third = torch.empty(500_000)
        return second, third

    assert growth(run, CPU) == 12_000_000
    assert growth(run, CPU) == 12_000_000


def test_growth_counts_what_a_call_leaves_behind_and_not_what_was_there():
    kept = [torch.empty(1_000_000)]
    assert growth(lambda: kept.append(torch.empty(1000)), CPU) == 4000
    assert growth(kept.clear, CPU) == 0


def test_growth_sees_what_forward_keeps_for_backward():
    weight, x = torch.randn(1000, requires_grad=True), torch.randn(50, 1000)

    def run(steps):
        y = x * weight
        for _ in range(steps):
            y = y.exp()  # its result stays for backward
        y.sum().backward()

    more = growth(lambda: run(5), CPU) - growth(lambda: run(2), CPU)
    assert more == 3 * 4 * x.numel()
