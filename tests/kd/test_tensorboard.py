"""Curves: each number of each epoch, or an install line."""

import sys

import pytest

from kd.tensorboard import tensorboard
from kd.training import EpochRecord


def record(epoch: int, accuracy: float | None) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        loss=1 / epoch,
        train_accuracy=0.5,
        validation_accuracy=accuracy,
        validation_loss=None if accuracy is None else 2.0,
        validation_mean_iou=None,
        seconds=3.0,
        restored=False,
    )


def test_each_number_that_there_is_gets_a_curve(tmp_path, curves):
    write = tensorboard(tmp_path)
    write(record(1, None))
    write(record(2, 0.75))
    assert curves == [
        *(str(tmp_path), ("loss", 1.0, 1), ("train_accuracy", 0.5, 1), ("seconds", 3.0, 1), "flushed"),
        *(("loss", 0.5, 2), ("train_accuracy", 0.5, 2), ("validation_accuracy", 0.75, 2), ("validation_loss", 2.0, 2)),
        *(("seconds", 3.0, 2), "flushed"),
    ]


def test_tensorboard_can_read_it(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write = tensorboard(tmp_path)
    for epoch in (1, 2, 3):
        write(record(epoch, 0.25 * epoch))
    seen = events.EventAccumulator(str(tmp_path)).Reload()
    points = [(point.step, point.value) for point in seen.Scalars("validation_accuracy")]
    assert points == [(1, 0.25), (2, 0.5), (3, 0.75)]


def test_without_tensorboard_the_message_names_the_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"tensorboard must be installed, got none. Run: pip install tensorboard"):
        tensorboard(tmp_path)
