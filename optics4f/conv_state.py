"""State of a module whose calibration is left out of it while nothing is calibrated."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Calibrated(nn.Module):
    """Factors that are saved where they are not 1, and are 1 where nothing was saved.

    Attributes:
        CALIBRATION: Names of the buffers with these factors, which are registered as not persistent.
    """

    CALIBRATION: ClassVar[tuple[str, ...]] = ()

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self.CALIBRATION:
            buffer: Tensor = getattr(self, name)
            if (buffer != 1).any():
                destination[prefix + name] = buffer if keep_vars else buffer.detach()

    def _load_from_state_dict(self, state: dict, prefix: str, *rest: object) -> None:
        for name in self.CALIBRATION:
            buffer: Tensor = getattr(self, name)
            found = state.pop(prefix + name, torch.ones_like(buffer))
            if found.shape != buffer.shape:
                raise ValueError(f"{prefix}{name} must have shape {tuple(buffer.shape)}, got {tuple(found.shape)}.")
            with torch.no_grad():
                buffer.copy_(found)
        super()._load_from_state_dict(state, prefix, *rest)
