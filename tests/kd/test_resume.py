"""A run that is killed goes on as if it had not been. Also a program: ``test_resume.py STATE_FILE WHAT WHEN``."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from kd.data.images import DataSplits, LabelledImages
from kd.resume import load_run, save_run
from kd.seeding import initialised_with
from kd.training import TrainingSettings, fit

SETTINGS = TrainingSettings(epochs=5, batch_size=8, accumulate=2, learning_rate=0.02, validate_every=2)
STEPS = 5 * 4  # 52 images in batches of 2 x 8, 5 epochs
SAVE_EVERY = 3


class Restless(nn.Module):
    """Everything that a run can forget: batch statistics, dropout, noise from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 3)),
        )
        self.noise = nn.Identity()
        self.noise.generator = None
        self.passes = 0

    def reseed(self, seed):
        self.noise.generator = torch.Generator().manual_seed(seed)

    def forward(self, images):
        self.passes += self.training
        return self.body(images + 0.1 * torch.randn(images.shape, generator=self.noise.generator))


def data() -> DataSplits:
    generator = torch.Generator().manual_seed(0)
    parts = []
    for count in (52, 21, 6):
        labels = torch.arange(count) % 3
        images = 0.5 * torch.rand(count, 1, 12, 16, generator=generator)
        images[labels == 0, :, 5:7, :] += 0.5
        images[labels == 1, :, :, 7:9] += 0.5
        parts.append(LabelledImages(images, labels))
    return DataSplits("bars", ("across", "upright", "none"), *parts)


def models() -> tuple[nn.Module, nn.Module]:
    """A student and its teacher."""
    with initialised_with(0):
        return Restless(), nn.Sequential(nn.Flatten(), nn.Linear(192, 3))


def trained(state_file: Path | None, *, settings: TrainingSettings = SETTINGS, seed: int = 3, **options):
    """Weights and history of a run."""
    torch.set_num_threads(1)
    model, teacher = models()
    options = {"seed": seed, "teacher": teacher, "state_file": state_file, "save_every": SAVE_EVERY} | options
    history = fit(model, data(), settings, progress=False, **options)
    return model.state_dict(), [{k: v for k, v in record.items() if k != "seconds"} for record in history], model


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def uninterrupted():
    weights, history, _ = trained(None)
    return weights, history


def killed(state_file: Path, what: str, when: int) -> None:
    """A run in a process of its own that ends by SIGKILL."""
    root = Path(__file__).parents[2]
    command = [sys.executable, __file__, str(state_file), what, str(when)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=100)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("what", ["in a step", "in a writing"])
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, uninterrupted, what):
    state_file = tmp_path / "run.pt"
    # A step after the first writing (3), or one of the writings after the first; another one on each run of the test.
    when = random.Random().randint(SAVE_EVERY + 1, STEPS) if what == "in a step" else random.Random().randint(2, 9)
    killed(state_file, what, when)
    weights, history, model = trained(state_file)
    assert model.passes < 2 * STEPS, when  # it went on instead of beginning again
    assert same(weights, uninterrupted[0]), when
    assert history == uninterrupted[1], when


@pytest.mark.parametrize("save_every", [1, 3, 100])
@pytest.mark.parametrize("stops", [(7,), (8,), (13, 2, 5), (16, 16), (39,)])  # 8 passes are an epoch
def test_it_can_be_interrupted_wherever_it_likes(tmp_path, uninterrupted, stops, save_every):
    for stop in (*stops, 41):  # passes until the next interruption
        model, teacher = models()
        model.body.register_forward_pre_hook(lambda module, inputs, m=model, s=stop: _raise(m.passes > s))
        ended = contextlib.suppress(KeyboardInterrupt) if stop < 41 else contextlib.nullcontext()
        with ended:
            history = fit(
                model,
                data(),
                SETTINGS,
                seed=3,
                teacher=teacher,
                state_file=tmp_path / "run.pt",
                save_every=save_every,
            )
    assert same(model.state_dict(), uninterrupted[0])
    assert [{k: v for k, v in record.items() if k != "seconds"} for record in history] == uninterrupted[1]


def _raise(whether: bool) -> None:
    if whether:
        raise KeyboardInterrupt


def test_a_finished_run_is_restored_and_not_repeated(tmp_path, uninterrupted):
    state_file, seen = tmp_path / "run.pt", []
    trained(state_file)
    weights, history, model = trained(state_file, on_epoch=seen.append)
    assert model.passes == 0
    assert seen == []
    assert same(weights, uninterrupted[0])
    assert history == uninterrupted[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "got seed 3 instead of 4"),
        ({"settings": SETTINGS.model_copy(update={"epochs": 6})}, "got epochs 5 instead of 6"),
        ({"teacher": None}, "got objective SoftTargets.* instead of labels_alone"),
    ],
)
def test_the_state_of_another_run_is_refused(tmp_path, change, message):
    state_file = tmp_path / "run.pt"
    trained(state_file)
    with pytest.raises(ValueError, match=f"must be of this run, {message}.* or delete it to start anew"):
        trained(state_file, **change)


@pytest.mark.parametrize("change", ["a weight", "a shape"])
def test_the_state_of_another_teachers_student_is_refused(tmp_path, uninterrupted, change):
    state_file = tmp_path / "run.pt"
    trained(state_file)
    same_one, other = models()[1], models()[1]
    if change == "a weight":
        with torch.no_grad():
            other[1].bias[2] = torch.nextafter(other[1].bias[2], torch.tensor(9.0))  # the least that a float can change
    else:
        other.append(nn.Identity()).append(nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="must be of a run with this teacher, got one with other weights"):
        trained(state_file, teacher=other)
    assert same(trained(state_file, teacher=same_one)[0], uninterrupted[0])
    saved = torch.load(state_file, weights_only=True)
    del saved["state"]["taught_by"]  # as states were before
    torch.save(saved, state_file)
    assert same(trained(state_file, teacher=other)[0], uninterrupted[0])


def test_the_state_of_another_network_is_refused(tmp_path):
    state_file = tmp_path / "run.pt"
    trained(state_file)
    model, teacher = models()
    for change, message in (
        (nn.Linear(36, 4), r"shape of body.6.weight \[3, 36\] instead of \[4, 36\]"),
        (nn.Linear(36, 3, bias=False), r"shape of body.6.bias \[3\] instead of None"),
    ):
        model.body[6] = change
        with pytest.raises(ValueError, match=message):
            fit(model, data(), SETTINGS, seed=3, teacher=teacher, state_file=state_file)


@pytest.mark.parametrize("content", [b"", b"weights", b"PK\x03\x04 half a zip"])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "run.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"run.pt must hold the state of a training run, got something else"):
        load_run(tmp_path / "run.pt", {})


def test_no_file_is_no_state(tmp_path):
    assert load_run(tmp_path / "run.pt", {}) is None


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Dangerous:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    save_run(tmp_path / "run.pt", {}, {"step": Dangerous()})
    with pytest.raises(ValueError, match="must hold the state of a training run"):
        load_run(tmp_path / "run.pt", {})
    assert not (tmp_path / "ran").exists()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(state_file: str, what: str, when: str) -> None:
    """Train until SIGKILL."""
    model, teacher = models()
    if what == "in a step":
        model.body.register_forward_pre_hook(lambda *_: _die() if model.passes > 2 * (int(when) - 1) else None)
    else:
        save, calls = torch.save, []

        def half(content, path):
            calls.append(path)
            if len(calls) < int(when):
                return save(content, path)
            Path(path).write_bytes(b"PK\x03\x04 half of it")
            return _die()

        torch.save = half
    torch.set_num_threads(1)
    fit(model, data(), SETTINGS, seed=3, teacher=teacher, state_file=state_file, save_every=SAVE_EVERY)


if __name__ == "__main__":
    main(*sys.argv[1:])
