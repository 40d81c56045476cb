import pytest

from benchmarks.complexity import PAPER_TABLE_3, measure


def macs(convolutions, linears=()):
    """THOP's rule by hand: multiplications of convolutions and linear layers, 4 for each batch-norm element."""
    return sum(out * time * mel * inputs * k * k for inputs, out, k, time, mel in convolutions) + sum(
        inputs * outputs for inputs, outputs in linears
    )


FRAMES = [(600, 80), (300, 40), (150, 20), (75, 10)]
CHANNELS = [3, 32, 64, 128, 256]
ENCODER = (
    macs([(CHANNELS[i], CHANNELS[i + 1], 5, *FRAMES[i]) for i in range(4)])
    + 4 * (3 * 600 * 80 + sum(CHANNELS[i + 1] * FRAMES[i][0] * FRAMES[i][1] for i in range(4)))
    + 2 * macs([(256, 256, 1, 37, 1)])
)
CLASSIFIER = macs([], [(256, 64), (64, 4)]) + 4 * 64
ATTENTION = macs([], [(256, 64), (64, 256), (256, 256)])
RESTORER = macs([], [(512, 256), (256, 256)])


@pytest.mark.parametrize(
    ("name", "training", "inference"),
    [
        ("baseline", (1_227_140, ENCODER + CLASSIFIER), (1_227_140, ENCODER + CLASSIFIER)),
        (
            "dsnet",
            (1_622_020, 2 * ENCODER + CLASSIFIER + 2 * ATTENTION + RESTORER),
            (1_326_020, ENCODER + CLASSIFIER + ATTENTION),
        ),
    ],
)
def test_counts_are_those_of_the_formulas(name, training, inference):
    found = measure(name)
    assert (found.training_parameters, found.training_macs) == training
    assert (found.inference_parameters, found.inference_macs) == inference


@pytest.mark.parametrize("name", PAPER_TABLE_3)
def test_macs_round_to_the_papers_table_3_and_parameters_are_within_a_hundredth(name):
    found, paper = measure(name).in_table_3_units(), PAPER_TABLE_3[name]
    assert [round(value, 2) for value in found[1::2]] == list(paper[1::2])
    assert found[0::2] == pytest.approx(paper[0::2], abs=0.01)
