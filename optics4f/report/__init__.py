"""One self-contained HTML page about a bench: text, tables, tabs, and pictures with physical axes; no network.

:class:`Report` is the page; :mod:`optics4f.report.of_bundle` writes the one of a mask bundle.
"""

from .layout import Report
from .pictures import Picture, colour_wheel, grey_picture, intensity_picture, phase_picture, signed_picture

__all__ = [
    "Picture",
    "Report",
    "colour_wheel",
    "grey_picture",
    "intensity_picture",
    "phase_picture",
    "signed_picture",
]
