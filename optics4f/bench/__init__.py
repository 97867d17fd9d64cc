"""Mask bundles on a bench: checks, vendors' images, objects of slmsuite, and what differs between two bundles."""

from .client import check_panel, export_images, show
from .difference import Difference, diff
from .far_field import camera_counts, far_field, panel_field, panel_of
from .slmsuite import SlmsuiteBench, to_slmsuite
from .summary import contact_sheet, summary, write_contact_sheet

__all__ = [
    "Difference",
    "SlmsuiteBench",
    "camera_counts",
    "check_panel",
    "contact_sheet",
    "diff",
    "export_images",
    "far_field",
    "panel_field",
    "panel_of",
    "show",
    "summary",
    "to_slmsuite",
    "write_contact_sheet",
]
