import csv

import pytest
from PIL import Image

from benchmarks.training.curves import panels, write_curves
from benchmarks.training.story import Epoch


def training(number, losses=("task",)):
    return [
        Epoch(
            epoch=epoch,
            train={"total": number + epoch, **dict.fromkeys(losses, 0.5)},
            validation=dict.fromkeys(losses, 0.25),
            validation_uar=50.0 + epoch,
            gradient_norms=dict.fromkeys(losses, 1.5),
            learning_rate=1e-3,
        )
        for epoch in (1, 2)
    ]


def test_every_number_of_every_epoch_is_in_the_csv(tmp_path):
    write_curves(tmp_path, {"seed-0/fold-00": training(0), "seed-0/fold-03": training(3)})
    with (tmp_path / "curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["training"], row["epoch"], float(row["train_total"])) for row in rows] == [
        *(("seed-0/fold-00", "1", 1.0), ("seed-0/fold-00", "2", 2.0)),
        *(("seed-0/fold-03", "1", 4.0), ("seed-0/fold-03", "2", 5.0)),
    ]
    numbers = {"train_task": 0.5, "validation_task": 0.25, "gradient_norms_task": 1.5, "learning_rate": 1e-3}
    assert all(float(row[name]) == value for row in rows for name, value in numbers.items())


def test_the_picture_is_a_picture_even_of_one_epoch(tmp_path):
    Image.open(write_curves(tmp_path, {"fold-00": training(0)[:1]})).verify()


@pytest.mark.parametrize("losses", [("task",), ("task", "calibration")])
def test_there_is_a_panel_for_each_loss_and_one_for_the_validation_uar(losses):
    expected = ["total loss", *(f"{name} loss" for name in losses), "validation UAR (%)"]
    assert panels([training(0, losses)]) == expected
