"""The parts of a bench: illumination, lens, pupil, SLM, camera."""

from .aperture import Pupil
from .camera import Camera
from .lens import Lens
from .slm import SLM, AmplitudeSLM
from .source import Illumination

__all__ = ["SLM", "AmplitudeSLM", "Camera", "Illumination", "Lens", "Pupil"]
