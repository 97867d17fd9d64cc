"""The table of a set of class maps: the same commands as for classification, with IoU in place of accuracy."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from kd.data.catalogue import DATASETS
from kd.data.images import DataSplits, SegmentedImages
from kd.evaluation import Evaluation, evaluate

from .paper import PaperTable, electronics, light, light_words, linear_words
from .paper_finish import finish_words
from .paper_pixels import pixel_words
from .paper_run import EVALUATION_SEED, RowTask, load_data, run_row
from .paper_segmentation_rows import SEGMENTATION_ROWS
from .paper_settings import PaperConfiguration, PaperSettings
from .paper_statistics import SCOPE, by_row, distilled, gap_closed, spread

FUNCTION = "experiments.paper_segmentation:segmentation_row"
MEASURES = {"test_miou": "mIoU", "car_iou": "car IoU"}


def segments(configuration: PaperConfiguration) -> bool:
    """Whether the labels of the configuration's data set are class maps."""
    known = DATASETS.get(configuration.settings.data.name)
    return known is not None and known.task == "segmentation"


def segmentation_row(config: str, row: str, seed: int, *, folder: str, settings: str | None = None) -> dict[str, Any]:
    """:func:`experiments.paper_run.paper_row` for the rows of ``SEGMENTATION_ROWS``.

    A class that is neither in the test images nor predicted has no IoU.
    """
    return run_row(CLASS_MAPS, config, row, seed, folder=folder, settings=settings)


def _load_maps(settings: PaperSettings) -> DataSplits:
    data = load_data(settings)
    if not isinstance(data.train, SegmentedImages):
        raise ValueError(f"data must have a class for every pixel, got {settings.data.name} with one for an image.")
    return data


def _measured(model: nn.Module, data: DataSplits) -> dict[str, Any]:
    found = scores(evaluate(model, data.test, seed=EVALUATION_SEED), data.classes)
    return {**found, "size": list(data.test.images.shape[1:])}


CLASS_MAPS = RowTask(SEGMENTATION_ROWS, _load_maps, ("validation_miou", "validation_mean_iou"), _measured, "decoder")


def scores(result: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """mIoU, IoU of each class and of cars, and the share of right pixels, over all test pixels at once."""
    iou = {name: None if value != value else value for name, value in zip(classes, result.iou.tolist(), strict=True)}
    found = {"test_miou": result.mean_iou, "test_pixel_accuracy": result.accuracy, "iou": iou}
    return found | ({"car_iou": iou["car"]} if iou.get("car") is not None else {})


def segmentation_lines(results: Sequence[Mapping]) -> list[dict[str, str]]:
    """IoU over the seeds, electronics, light."""
    lines = []
    for row, seeds in by_row(results).items():
        every = list(seeds.values())
        measured = {
            f"{title} [%]": spread([100 * r[measure] for r in every]) if all(measure in r for r in every) else ""
            for measure, title in (*MEASURES.items(), ("test_pixel_accuracy", "right pixels"))
        }
        lines.append(
            {
                "row": row,
                **measured,
                "seeds": str(len(every)),
                **electronics(every),
                **light(every),
                "what": SEGMENTATION_ROWS[row].about,
            }
        )
    return lines


def segmentation_words(results: Sequence[Mapping]) -> str:
    """What distillation brought, how much of the gap linear -> teacher is closed, and each class."""
    sentences = []
    for measure, title in MEASURES.items():
        if any(measure not in result for result in results):
            continue
        for taught in (row for row, made in SEGMENTATION_ROWS.items() if made.taught):
            told = distilled(results, taught, taught.removesuffix("_kd"), measure=measure, of=f" of {title}")
            sentences += [told] if told else []
        for row in filter(lambda name: name.startswith("physical"), SEGMENTATION_ROWS):
            gap = gap_closed(results, row, low="linear", measure=measure)
            if gap is not None:
                sentences.append(f"{title}: {row} closes {gap.words('from linear to teacher')}.")
    if sentences:
        sentences.append(SCOPE)
    return "\n".join(f"- {sentence}" for sentence in sentences) + _classes(results)


def _classes(results: Sequence[Mapping]) -> str:
    """Mean IoU of every class in a line a row."""
    lines = []
    for row, seeds in by_row(results).items():
        means = []
        for name in next(iter(seeds.values()))["iou"]:
            values = [r["iou"][name] for r in seeds.values() if r["iou"][name] is not None]
            means.append(f"{name} {100 * statistics.fmean(values):.1f}" if values else f"{name} -")
        lines.append(f"- {row}: " + ", ".join(means))
    return "\n\nIoU of each class [%]:\n\n" + "\n".join(lines) if lines else ""


def segmentation_method(configuration: PaperConfiguration, results: Sequence[Mapping]) -> str:
    """How the numbers were made."""
    bench, models = configuration.settings.bench, configuration.settings.models
    counts = results[0]["images"] if results else {}
    channels, height, width = results[0]["size"] if results else (0, *bench.object.shape)
    root = f"root of the signal from {models.root:g} on, " if models.root else ""
    hidden = "row and column of each pixel as two more maps, " if models.coordinates else ""
    steps = models.dilations or [1] * len(models.hidden)
    hidden += "".join(
        f"3 x 3 {f'with taps {step} pixels apart ' if step > 1 else ''}to {maps} maps, ReLU, "
        for maps, step in zip(models.hidden, steps, strict=True)
    )
    return (
        f"Simulated. {counts.get('train')} training images, {counts.get('validation')} that choose the epoch, "
        f"{counts.get('test')} that are read once, {height} x {width} pixels, "
        f"{'grey' if channels == 1 else f'{channels} colours'}; IoU over all labelled test pixels at that size. "
        f"Physical rows: {bench.slm.masks} phase masks of {bench.slm.shape[0]} x {bench.slm.shape[1]} pixels of the "
        f"{bench.slm.device} preset at its native pitch and levels, {bench.route} route, camera {bench.camera.device} "
        f"({bench.camera.shape[0]} x {bench.camera.shape[1]} binned pixels) with shot noise, read noise and ADC; its "
        f"square law is a nonlinearity that linear rows lack. Digital kernels have {models.kernel_size} x "
        f"{models.kernel_size} taps, masks may spread over the whole image. Every student has the same decoder on "
        f"maps of the camera's size: {root}{hidden}1 x 1 to the classes, enlarged. {_balance(configuration.settings)}"
        f"{linear_words(results)}{light_words(results)}{finish_words(configuration.settings, results)}"
        f"{pixel_words(configuration.settings, results, MEASURES)}"
        f"Mean and standard deviation over seeds. Settings: `experiments/configs/{configuration.path.name}`."
    )


def _balance(settings: PaperSettings) -> str:
    """How much rare classes count in training."""
    powers = {"teacher": settings.teacher.class_balance, "students": settings.student.class_balance}
    told = " and ".join(f"{power:g} for {who}" for who, power in powers.items() if power)
    return f"Losses weigh classes by median frequency to the power of {told}. " if told else ""


SEGMENTATION = PaperTable(FUNCTION, SEGMENTATION_ROWS, segmentation_lines, segmentation_words, segmentation_method)
