"""What tests of curves share."""

import sys
from types import ModuleType

import pytest


@pytest.fixture
def curves(monkeypatch) -> list:
    """All that is given to TensorBoard, which need not be installed: folders, (name, value, step), "flushed"."""
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            written.append("flushed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return written
