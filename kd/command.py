"""What ``python -m kd`` does: train one model from a file, evaluate it, hand its masks to the bench."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kd.checkpoints import checkpoint_facts, load_checkpoint, save_checkpoint
from kd.data.catalogue import DATASETS, load
from kd.data.images import DataSplits
from kd.data.places import data_root, filled
from kd.digest import digest
from kd.distributed import agreed, rank, torchrun
from kd.evaluation import Evaluation, evaluate
from kd.extras import extra
from kd.recipe import OPTICAL, Plan, plan_from
from kd.tensorboard import tensorboard
from kd.training import fit
from optics4f.bundle import Bundle, frames_of, predict_frames, write_bundle
from optics4f.console import counting
from optics4f.files import written_whole

EVALUATION_SEED = 0  # of the camera noise that images to judge by see


@dataclass(frozen=True)
class Outcome:
    """One trained model.

    Attributes:
        checkpoint: Its file.
        facts: Test and validation accuracy, the epoch that was kept, seconds; JSON values.
        reported: Whether this process is the one that speaks for all.
        resumed: What it found of an earlier run: nothing, a state to go on from, or the finished model.
    """

    checkpoint: Path
    facts: dict[str, Any]
    reported: bool
    resumed: Literal["nothing", "state", "model"]


def run_training(plan: Plan, out: Path, *, curves: Path | None = None) -> Outcome:
    """Train one model, alone or as one of the processes of ``torchrun``; read the test set once.

    Args:
        plan: What to train.
        out: Folder for ``ROW-SEED.safetensors`` and ``ROW-SEED.json``. A run that was killed goes on from
            ``ROW-SEED.state``; one that has ended is not done again.
        curves: Folder of TensorBoard's logs; this run's go into ``ROW-SEED`` below it.

    Raises:
        ValueError: A defect of the file, or results of another one, or of another teacher's student, in the folder.
        ImportError: ``curves`` without TensorBoard.
        FileNotFoundError: The images, or the teacher's checkpoint, are not there.
        FloatingPointError: The loss is no longer finite.
    """
    kept = out / f"{plan.row}-{plan.seed}.safetensors"
    state = kept.with_suffix(".state")
    table, config = plan.recipe.data, {"toml": plan.text, "row": plan.row}
    with torchrun() as device:
        ended, begun = agreed((kept.exists() and not state.exists(), state.exists()))
        if ended:
            return Outcome(kept, _ended(kept, config, plan), rank() == 0, "model")
        data = load(table.name, **table.options)
        model = plan.build(data).to(device)
        teacher = _teacher(plan, data)
        taught = {} if teacher is None else {"teacher": digest(teacher.state_dict())}
        history = fit(
            model,
            data,
            plan.recipe.schedule(plan.row),
            seed=plan.seed,
            teacher=None if teacher is None else teacher.to(device),
            objective=plan.objective(),
            label=plan.row,
            on_epoch=None if curves is None or rank() else tensorboard(curves / kept.stem),
            state_file=state,
        )
        best = next(record for record in history if record["restored"])
        facts = None
        if rank() == 0:
            found = evaluate(model, data.test, seed=EVALUATION_SEED)
            facts = {
                "data": data.name,
                "test_accuracy": found.accuracy,
                "test_loss": found.loss,
                "validation_accuracy": best["validation_accuracy"],
                "epoch": best["epoch"],
                "seconds": sum(record["seconds"] for record in history),
                "taught": teacher is not None,
                **taught,
            }
            with written_whole(kept.with_suffix(".json")) as part:
                part.write_text(json.dumps(facts | {"history": history}, indent=2) + "\n", encoding="utf-8")
            save_checkpoint(kept, model, config=config, seed=plan.seed, metrics=facts)
            state.unlink(missing_ok=True)
        return Outcome(kept, agreed(facts), rank() == 0, "state" if begun else "nothing")


def _ended(kept: Path, config: dict[str, str], plan: Plan) -> dict[str, Any]:
    facts = checkpoint_facts(kept)
    advice = "Choose another --out, or remove it to train anew."
    if (facts["config"], facts["seed"]) != (config, plan.seed):
        raise ValueError(f"{kept} must be of this configuration, got another one's. {advice}")
    taught_by, path = facts["metrics"].get("teacher"), plan.recipe.teacher.checkpoint
    # Older checkpoints do not say by whom they were taught.
    if taught_by is not None and path.exists() and _digest_in(path) != taught_by:
        raise ValueError(f"{kept} must be taught by {path}, got the student of a teacher with other weights. {advice}")
    return facts["metrics"]


def _digest_in(path: Path) -> str:
    return digest(extra("safetensors.torch", "safetensors").load_file(path))


def _teacher(plan: Plan, data: DataSplits) -> nn.Module | None:
    """The trained teacher, where the row has one."""
    path = plan.recipe.teacher.checkpoint
    if not plan.taught:
        return None
    if not path.exists():
        raise FileNotFoundError(
            f"{path} must be the checkpoint of the teacher, got no such file. Train it with --row teacher, or remove "
            "teacher.checkpoint."
        )
    return trained(path, data)[0]


def planned(path: Path) -> Plan:
    """What a checkpoint of :func:`run_training` was trained from.

    Raises:
        ValueError: Not such a file.
    """
    facts = checkpoint_facts(path)
    config = facts["config"]
    if not isinstance(config, dict) or config.keys() != {"toml", "row"}:
        raise ValueError(f"{path} must be a checkpoint of `python -m kd train`, got one that another program wrote.")
    text = config["toml"]
    return plan_from(tomllib.loads(text), text, source=str(path), row=config["row"], seed=facts["seed"])


def trained(path: Path, data: DataSplits) -> tuple[nn.Module, Plan]:
    """The model of a checkpoint of :func:`run_training`, and its plan."""
    plan = planned(path)
    model = plan.build(data)
    load_checkpoint(path, model)
    return model, plan


def run_evaluation(path: Path, split: Literal["test", "validation", "train"]) -> tuple[Evaluation, DataSplits]:
    """A trained model on the images of one split.

    Raises:
        ValueError: Not a checkpoint of :func:`run_training`.
        FileNotFoundError: The images are not there.
    """
    table = planned(path).recipe.data
    data = load(table.name, **table.options)
    model, _ = trained(path, data)
    images = getattr(data, split)
    with counting(f"{data.name}, {split}", len(images)) as progress:
        return evaluate(model, images, seed=EVALUATION_SEED, progress=progress), data


@torch.no_grad()
def run_export(path: Path, out: Path, images: int) -> Bundle:
    """The masks of a trained student as a bundle, with the frames predicted for the first test images.

    Raises:
        ValueError: A checkpoint without masks.
        RuntimeError: The frames simulated from the levels are not those of the masks in memory.
    """
    plan = planned(path)
    if plan.row not in OPTICAL:
        raise ValueError(f"{path} must be of a row with masks, {' or '.join(OPTICAL)}, got {plan.row}.")
    data = load(plan.recipe.data.name, **plan.recipe.data.options)
    model, _ = trained(path, data)
    front, bench = model.front_end, plan.recipe.bench
    shown = front.shown(data.test.images[:images])[:, 0]
    levels = front.bench.slm.levels()
    frames, quiet = predict_frames(bench, levels, shown, EVALUATION_SEED)
    if not torch.equal(frames, frames_of(front.bench, bench, shown, EVALUATION_SEED)[0]):
        raise RuntimeError("the exported levels do not give the frames of the trained masks.")
    bundle = Bundle(levels, plan.text, shown, frames, quiet, EVALUATION_SEED)
    write_bundle(out, bundle)
    return bundle


def fetch_data(name: str) -> None:
    """Fetch a data set whose owner allows it, where it is not there yet, and read it once.

    Raises:
        ValueError: An unknown name, or one that must be fetched by hand.
        OSError: Its server cannot be reached.
    """
    if name not in DATASETS or not DATASETS[name].fetchable:
        known = [known for known, entry in DATASETS.items() if entry.fetchable]
        advice = f" {DATASETS[name].advice}" if name in DATASETS else ""
        raise ValueError(f"download must be one of {', '.join(known)}, got {name!r}.{advice}")
    load(name, download=True)


def known_data() -> list[dict[str, Any]]:
    """Every data set: name, what it is, where it is looked for, whether it is there, how to get it; JSON values."""
    base, rows = data_root(), []
    for name, entry in DATASETS.items():
        places = [base / folder for folder in entry.folders]
        rows.append(
            {
                "name": name,
                "title": entry.title,
                "task": entry.task,
                "looked_for": [str(place) for place in places],
                "there": not places or any(map(filled, places)),
                "how_to_get": entry.how_to_get(name) or "Nothing to do.",
                "terms": entry.terms,
            }
        )
    return rows
