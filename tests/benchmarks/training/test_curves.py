import csv

import pytest
from PIL import Image

from benchmarks.training.curves import panels, write_curves


def training(fold, losses=("task",)):
    return {
        "cell": {"fold": fold},
        "curves": [
            {
                "epoch": epoch,
                "train": {"total": fold + epoch, **dict.fromkeys(losses, 0.5)},
                "validation": dict.fromkeys(losses, 0.25),
                "validation_uar": 50.0 + epoch,
                "gradient_norms": dict.fromkeys(losses, 1.5),
                "learning_rate": 1e-3,
            }
            for epoch in (1, 2)
        ],
    }


def test_every_number_of_every_epoch_is_in_the_csv(tmp_path):
    write_curves(tmp_path, [training(0), training(3)])
    with (tmp_path / "curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["fold"], row["epoch"], float(row["train_total"])) for row in rows] == [
        *(("0", "1", 1.0), ("0", "2", 2.0), ("3", "1", 4.0), ("3", "2", 5.0)),
    ]
    numbers = {"train_task": 0.5, "validation_task": 0.25, "gradient_norms_task": 1.5, "learning_rate": 1e-3}
    assert all(float(row[name]) == value for row in rows for name, value in numbers.items())


def test_the_picture_is_a_picture_even_of_one_epoch(tmp_path):
    one = training(0)
    one["curves"] = one["curves"][:1]
    Image.open(write_curves(tmp_path, [one])).verify()


@pytest.mark.parametrize("losses", [("task",), ("task", "calibration")])
def test_there_is_a_panel_for_each_loss_and_one_for_the_validation_uar(losses):
    expected = ["total loss", *(f"{name} loss" for name in losses), "validation UAR (%)"]
    assert panels([training(0, losses)]) == expected
