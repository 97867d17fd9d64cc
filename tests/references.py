"""Closed forms that the tests compare with: numpy and scipy only, nothing of the code under test."""

import math

import numpy as np
from scipy.integrate import quad


def gaussian_beam(y: np.ndarray, x: np.ndarray, wavelength: float, waist: float, distance: float) -> np.ndarray:
    """Paraxial Gaussian beam without its carrier, by width, wavefront radius and Gouy phase (Siegman 1986)."""
    rayleigh = math.pi * waist**2 / wavelength
    width = waist * math.sqrt(1 + (distance / rayleigh) ** 2)
    curvature = distance / (distance**2 + rayleigh**2)
    r_squared = np.asarray(y) ** 2 + np.asarray(x) ** 2
    phase = math.pi / wavelength * r_squared * curvature - math.atan(distance / rayleigh)
    return waist / width * np.exp(-r_squared / width**2 + 1j * phase)


def gaussian_behind_lens(waist: float, wavelength: float, focal_length: float) -> tuple[float, float]:
    """Distance and radius [m] of the new waist behind a lens that stands at the old one (Siegman 1986)."""
    ratio = focal_length / (math.pi * waist**2 / wavelength)
    return focal_length / (1 + ratio**2), waist * ratio / math.sqrt(1 + ratio**2)


def circular_aperture_on_axis(radius: float, wavelength: float, distance: float) -> float:
    """Intensity on the axis behind a circular opening in a plane wave, exact Rayleigh-Sommerfeld of the first kind."""
    edge = math.hypot(distance, radius)
    return abs(1 - distance / edge * np.exp(2j * math.pi / wavelength * (edge - distance))) ** 2


def rectangle_focus(position: np.ndarray, width: float, scale: float) -> np.ndarray:
    """One axis of the focal field of an opening: ``a sinc(a x / s) / sqrt(s)``, ``s`` wavelength times f."""
    return width * np.sinc(width * np.asarray(position) / scale) / math.sqrt(scale)


def encircled_sinc(low: float, high: float) -> float:
    """Share of ``sinc(u)**2`` between two values of u; its integral over all u is 1."""
    return quad(lambda u: np.sinc(u) ** 2, low, high, limit=400)[0]


def blaze_efficiency(levels: int) -> float:
    """First-order efficiency of a blazed grating of equal phase steps (Dammann 1970): sinc(1 / L)^2."""
    return float(np.sinc(1 / levels) ** 2)


def fourier_lens_by_sum(
    data: np.ndarray, inputs: tuple[np.ndarray, np.ndarray], outputs: tuple[np.ndarray, np.ndarray], scale: float
) -> np.ndarray:
    """Field one focal length behind a lens, the Fourier integral summed term by term on square samples."""
    area = (inputs[1][1] - inputs[1][0]) ** 2
    result = np.zeros((len(outputs[0]), len(outputs[1])), dtype=complex)
    for i, v in enumerate(outputs[0]):
        for j, u in enumerate(outputs[1]):
            kernel = np.exp(-2j * math.pi * (v * inputs[0][:, None] + u * inputs[1][None, :]) / scale)
            result[i, j] = (data * kernel).sum() * area / (1j * scale)
    return result


def pixels_by_points(
    intensity: np.ndarray, sample_pitch: float, shape: tuple[int, int], pixel_pitch: float, points: int = 200
) -> np.ndarray:
    """Mean over each camera pixel of samples that are little squares, counted on a lattice of points in the pixel."""

    def owners(pixels: int, samples: int) -> np.ndarray:
        inside = ((np.arange(points) + 0.5) / points - 0.5) * pixel_pitch
        positions = (np.arange(pixels) - pixels // 2)[:, None] * pixel_pitch + inside
        return np.floor(positions / sample_pitch + 0.5).astype(int) + samples // 2

    rows, columns = (owners(p, s) for p, s in zip(shape, intensity.shape, strict=True))
    return np.array([[intensity[np.ix_(r, c)].mean() for c in columns] for r in rows])
