"""What the tests of optics4f share."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # `pytest` alone does not put the repository on the path, `python -m pytest` does
    sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)  # the tests run side by side; many threads each would only wait for one another


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20)
