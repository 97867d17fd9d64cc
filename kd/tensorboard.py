"""Curves of a training run in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kd.extras import extra
from kd.training import EpochRecord

_INSTALL = "Run: pip install tensorboard"  # of no extra: few ask for it, and it is large


def tensorboard(folder: str | Path) -> Callable[[EpochRecord], None]:
    """What ``fit`` calls with each epoch, to be looked at with ``tensorboard --logdir FOLDER``.

    Args:
        folder: Where the events go; a resumed run adds to them.

    Returns:
        For ``fit(..., on_epoch=tensorboard(folder))``; each epoch can be seen when it has ended.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    extra("tensorboard", "tensorboard", _INSTALL)  # torch's own message names no install
    writer = extra("torch.utils.tensorboard", "tensorboard", _INSTALL).SummaryWriter(str(folder))

    def write(record: EpochRecord) -> None:
        for name, value in record.items():
            if name not in ("epoch", "restored") and value is not None:
                writer.add_scalar(name, value, record["epoch"])
        writer.flush()

    return write
