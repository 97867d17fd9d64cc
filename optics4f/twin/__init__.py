"""A simulation that learns from measurements: numbers of a bench fitted to its camera frames."""

from .files import FitRun, run_fit, toml_text, twin_content
from .fitting import Estimate, TwinFit, fit
from .model import TwinModel
from .parameters import GROUPS, USUAL

__all__ = [
    "GROUPS",
    "USUAL",
    "Estimate",
    "FitRun",
    "TwinFit",
    "TwinModel",
    "fit",
    "run_fit",
    "toml_text",
    "twin_content",
]
