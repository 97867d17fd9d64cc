"""Differentiable physical optics of a 4f system: from illumination to camera counts."""

__version__ = "0.1.0"
