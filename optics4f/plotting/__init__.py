"""Figures of planes, masks, PSFs and results: pure functions, axes in, axes out. The only importer of matplotlib.

Planes are drawn as the data lie, row 0 at the top: y runs downwards, as ``Grid.coordinates`` has it.
"""

from .camera import plot_convolution, plot_frames, plot_photon_transfer, plot_residuals
from .canvas import png
from .cost import plot_costs, plot_scaling
from .design import plot_convergence, plot_image, plot_kernels, plot_spots
from .light import plot_amplitude, plot_field, plot_intensity, plot_masks, plot_phase, plot_planes
from .psf import plot_mtf, plot_otf, plot_psf, plot_psfs
from .results import plot_ablation, plot_confusion, plot_curves

__all__ = [
    "plot_ablation",
    "plot_amplitude",
    "plot_confusion",
    "plot_convergence",
    "plot_convolution",
    "plot_costs",
    "plot_curves",
    "plot_field",
    "plot_frames",
    "plot_image",
    "plot_intensity",
    "plot_kernels",
    "plot_masks",
    "plot_mtf",
    "plot_otf",
    "plot_phase",
    "plot_photon_transfer",
    "plot_planes",
    "plot_psf",
    "plot_psfs",
    "plot_residuals",
    "plot_scaling",
    "plot_spots",
    "png",
]
