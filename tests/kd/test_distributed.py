"""Two processes are one with the doubled batch. Also the program that ``torchrun`` starts: ``... FOLDER``."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from kd.data.images import IGNORED, DataSplits, LabelledImages, SegmentedImages
from kd.distributed import average_gradients, gathered, one_model, rank, summed, torchrun, world_size
from kd.seeding import initialised_with
from kd.training import TrainingSettings, fit

SETTINGS = TrainingSettings(epochs=4, batch_size=8, learning_rate=0.01, validate_every=1)
CASES = ("classes", "class maps", "accumulated")


def bars(count: int, seed: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = 0.5 * torch.rand(count, 1, 12, 16, generator=generator)
    images[labels == 0, :, 5:7, :] += 0.5
    images[labels == 1, :, :, 7:9] += 0.5
    return LabelledImages(images, labels)


def scenes(count: int, seed: int) -> SegmentedImages:
    """Light and dark noise; the lower half of some images is unknown, so that parts count differently much."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 12, 16, generator=generator)
    labels = (images[:, 0] + 0.3 * torch.rand(count, 12, 16, generator=generator) > 0.7).long()
    labels[torch.rand(count, generator=generator) < 0.5, 6:] = IGNORED
    return SegmentedImages(images, labels)


def case(name: str, seed: int = 0) -> tuple[nn.Module, nn.Module, DataSplits]:
    """Student, teacher and data; batch normalisation in both kinds, behind pooling and of maps."""
    with initialised_with(seed):
        # No offset before a normalisation: its gradient is rounding alone, which AdamW makes a step of.
        maps = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, momentum=0.2), nn.ReLU()]
        if name == "class maps":
            parts = (scenes(count, s) for s, count in enumerate((43, 10, 10)))
            return nn.Sequential(*maps, nn.Conv2d(4, 2, 1)), nn.Conv2d(1, 2, 1), DataSplits("s", ("a", "b"), *parts)
        parts = (bars(count, s) for s, count in enumerate((70, 21, 9)))
        head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)]
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
        return nn.Sequential(*maps, *head), teacher, DataSplits("b", ("across", "upright", "none"), *parts)


def trained(name: str, changes: dict, seed: int = 0, **options):
    model, teacher, data = case(name)
    if seed:  # another start, which process 0 must overrule
        model = case(name, seed)[0]
    settings = SETTINGS.model_copy(update=changes)
    return fit(model, data, settings, seed=0, teacher=teacher, progress=False, **options), model


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> dict:
    """What process 0 of two has to say."""
    folder, root = tmp_path_factory.mktemp("two"), Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    options = {"cwd": root, "env": environment, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([*command, __file__, str(folder)], **options) as process:
        try:
            _, errors = process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # torchrun and its workers
            raise
    assert process.returncode == 0, errors
    return json.loads((folder / "result.json").read_text()) | torch.load(folder / "weights.pt")


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one_with_the_doubled_batch(two_processes, name):
    torch.set_num_threads(1)
    history, model = trained(name, {"batch_size": 16, "accumulate": 2 if name == "accumulated" else 1})
    theirs = two_processes["histories"][name]
    assert [r["loss"] for r in theirs] == pytest.approx([r["loss"] for r in history], abs=1e-4)
    assert [r["validation_loss"] for r in theirs] == pytest.approx([r["validation_loss"] for r in history], abs=1e-4)
    assert history[0]["loss"] - history[-1]["loss"] > 0.02  # a curve, not a line
    for key, tensor in model.state_dict().items():
        if "num_batches" not in key:
            torch.testing.assert_close(two_processes["weights"][name][key], tensor, atol=1e-4, rtol=0)


def test_without_the_synchronised_statistics_the_curve_would_be_another(two_processes):
    theirs, alone = two_processes["histories"]["classes"], two_processes["own statistics"]
    assert max(abs(a["loss"] - b["loss"]) for a, b in zip(theirs, alone, strict=True)) > 1e-3


def test_both_processes_end_with_the_same_weights_and_only_one_reports(two_processes):
    assert two_processes["equal"] == [True] * len(CASES)
    assert two_processes["epochs seen"] == [4, 0]


def test_an_interrupted_run_of_two_processes_goes_on_bit_for_bit(two_processes):
    assert two_processes["resumed"] == [True, True]


def test_the_layers_are_given_back(two_processes):
    assert two_processes["patched"] == [False, False]


def test_alone_nothing_is_changed(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with torchrun() as device:
        assert (rank(), world_size()) == (0, 1)
        assert device.type in ("cpu", "cuda")
    model = nn.BatchNorm1d(2)
    with one_model(model):
        assert "forward" not in vars(model)
    assert summed(torch.tensor(3.0)) == 3
    assert gathered("a") == ["a"]


def test_the_mean_is_over_what_was_counted():
    weights = [nn.Parameter(torch.zeros(2, 1)), nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(1))]
    weights[0].grad, weights[2].grad = torch.tensor([[8.0], [4.0]]), torch.tensor([2.0])
    average_gradients(weights, torch.tensor(4))
    assert weights[0].grad.tolist() == [[2.0], [1.0]]
    assert weights[1].grad is None
    assert weights[2].grad.tolist() == [0.5]


# --- the program ------------------------------------------------------------------------------------------------------


def interrupted_and_resumed(folder: Path) -> bool:
    """Whether a run that stops in the middle of the second epoch ends with the weights of one that does not."""
    passes = []

    def stop(model, inputs):
        if model.training:  # process 0 validates besides
            passes.append(1)
        if len(passes) == 8:
            raise KeyboardInterrupt

    _, whole = trained("accumulated", {"accumulate": 2})
    for hook in (stop, None):
        model, teacher, data = case("accumulated")
        if hook:
            model.register_forward_pre_hook(hook)
        with contextlib.suppress(KeyboardInterrupt):
            settings = SETTINGS.model_copy(update={"accumulate": 2})
            common = {"teacher": teacher, "progress": False, "state_file": folder / "run.pt", "save_every": 1}
            fit(model, data, settings, seed=0, **common)
    return all(torch.equal(tensor, whole.state_dict()[key]) for key, tensor in model.state_dict().items())


def main(folder: Path) -> None:
    """Train all cases in this process and its like."""
    torch.set_num_threads(1)
    with torchrun():
        histories, weights, equal, seen = {}, {}, [], []
        for name in CASES:
            changes = {"accumulate": 2} if name == "accumulated" else {}
            on_epoch = seen.append if name == "classes" else None
            histories[name], model = trained(name, changes, seed=5 * rank(), on_epoch=on_epoch)
            weights[name] = model.state_dict()
            first, second = gathered(weights[name])
            equal.append(all(torch.equal(first[key], second[key]) for key in first))
        patched = any("forward" in vars(layer) for layer in model.modules())
        resumed = interrupted_and_resumed(folder)
        import kd.distributed

        kd.distributed._normalise = lambda layer, features: type(layer).forward(layer, features)
        result = {
            "histories": histories,
            "equal": equal,
            "epochs seen": gathered(len(seen)),
            "patched": gathered(patched),
            "resumed": gathered(resumed),
            "own statistics": trained("classes", {})[0],
        }
        if rank() == 0:
            (folder / "result.json").write_text(json.dumps(result))
            torch.save({"weights": weights}, folder / "weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
