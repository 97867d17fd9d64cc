"""Three ways to compute a 4f bench, each a test of the others."""

from .angular_spectrum import AngularSpectrumRoute
from .fourier_lens import FourierLensRoute
from .psf import PSFRoute

__all__ = ["AngularSpectrumRoute", "FourierLensRoute", "PSFRoute"]
