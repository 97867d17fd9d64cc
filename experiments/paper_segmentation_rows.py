"""The rows of a segmentation table: as those of a classification table, with a U-Net and a decoder of camera maps."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from kd.data.images import DataSplits
from kd.readout import SegmentationDecoder
from kd.seeding import initialised_with
from kd.students import OpticalStudent
from kd.teachers import UNetTeacher

from .paper_rows import PAPER_ROWS, Build
from .paper_settings import PaperSettings


class MapReadout(nn.Module):
    """Maps of a front end, at the camera's pixels, to the class of every pixel of the image.

    Every row has the same: digital maps are averaged over the areas of the camera's pixels, which costs additions
    alone, and camera frames are turned back by 180 degrees, for a 4f system turns the image.

    Args:
        decoder: Takes maps of the camera's shape.
        shape: Height and width of the camera [pixels].
        turned: Whether the maps are camera frames.

    Shape:
        - Input ``(B, channels, height, width)``, output that of ``decoder``.
    """

    def __init__(self, decoder: nn.Module, shape: tuple[int, int], *, turned: bool = False) -> None:
        super().__init__()
        self.decoder = decoder
        self.shape = shape
        self.turned = turned

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps.flip((-2, -1)) if self.turned else adaptive_avg_pool2d(maps, self.shape)
        return self.decoder(maps)

    def extra_repr(self) -> str:
        return f"shape={self.shape}, turned={self.turned}"


def map_readout(settings: PaperSettings, data: DataSplits, channels: int, *, turned: bool = False) -> MapReadout:
    """The electronics behind every student: the same for all rows of a table."""
    models, size = settings.models, tuple(data.train.images.shape[-2:])
    options = {"width": models.hidden, "root": models.root, "coordinates": models.coordinates}
    options |= {"dilations": models.dilations}
    decoder = SegmentationDecoder(channels, len(data.classes), size=size, **options)
    return MapReadout(decoder, settings.bench.camera.shape, turned=turned)


def _teacher(settings: PaperSettings, data: DataSplits, seed: int) -> nn.Module:
    with initialised_with(seed):
        return UNetTeacher(data.train.images.shape[1], len(data.classes), width=settings.models.teacher_width)


def _with_decoder(name: str) -> Build:
    """The student of that name, with a decoder in place of the readout of a classification table."""

    def build(settings: PaperSettings, data: DataSplits, seed: int) -> nn.Module:
        model = PAPER_ROWS[name].build(settings, data, seed)
        channels = data.train.images.shape[1] if name.startswith("readout_only") else settings.bench.slm.masks
        with initialised_with(seed):
            model.readout = map_readout(settings, data, channels, turned=isinstance(model, OpticalStudent))
        return model

    return build


SEGMENTATION_ROWS = {
    name: replace(row, build=_teacher, about="U-Net, digital")
    if name == "teacher"
    else replace(row, build=_with_decoder(name), about=row.about.replace("readout", "decoder"))
    for name, row in PAPER_ROWS.items()
    if name != "readout_full"  # a decoder has as many parameters for maps of any size
}
