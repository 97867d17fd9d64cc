"""Files that vendors' software shows: images, CSV, ``.lut``, packed bits, and marks that tell how they arrived.

Nothing is cropped, padded or rescaled: what does not fit is refused by name.
"""

from .dmd import pack_rows, read_alp, read_planes, unpack_rows, write_alp, write_planes
from .images import gray_image, read_gray, read_image_levels, write_gray, write_image
from .orientation import orientation_of, orientation_pattern, with_corner_mark
from .panel import Panel
from .tables import read_lut_codes, read_santec_csv, santec_gray, write_lut, write_santec_csv

__all__ = [
    "Panel",
    "gray_image",
    "orientation_of",
    "orientation_pattern",
    "pack_rows",
    "read_alp",
    "read_gray",
    "read_image_levels",
    "read_lut_codes",
    "read_planes",
    "read_santec_csv",
    "santec_gray",
    "unpack_rows",
    "with_corner_mark",
    "write_alp",
    "write_gray",
    "write_image",
    "write_lut",
    "write_planes",
    "write_santec_csv",
]
