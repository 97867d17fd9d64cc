"""Checkpoints: what goes in comes out, or nothing does."""

import re
import sys

import pytest
import safetensors.torch
import torch

from kd.checkpoints import load_checkpoint, save_checkpoint
from kd.readout import PooledLinear
from kd.seeding import initialised_with
from kd.students import LinearCNN
from optics4f import __version__


def student(seed: int = 0, *, channels: int = 4) -> LinearCNN:
    with initialised_with(seed):
        return LinearCNN(1, PooledLinear(channels, 3), channels=channels)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "runs" / "student.safetensors"
    save_checkpoint(path, student(0), config={"epochs": 3}, seed=7, metrics={"accuracy": 0.5})
    return path


def test_weights_and_provenance_come_back(path):
    model = student(1)
    provenance = load_checkpoint(path, model)
    for name, tensor in student(0).state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    commit = provenance.pop("commit")
    assert commit == "unknown" or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit)
    assert provenance == {"config": {"epochs": 3}, "seed": 7, "metrics": {"accuracy": 0.5}, "version": __version__}


def test_a_tree_that_is_no_repository_has_an_unknown_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("kd.provenance.REPOSITORY", tmp_path)
    save_checkpoint(tmp_path / "a.safetensors", student(), config={}, seed=0, metrics={})
    assert load_checkpoint(tmp_path / "a.safetensors", student())["commit"] == "unknown"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file(path, monkeypatch, error):
    before = path.read_bytes()

    def half(tensors, part, metadata):
        part.write_bytes(before[:100])
        raise error

    monkeypatch.setattr(safetensors.torch, "save_file", half)
    with pytest.raises(error):
        save_checkpoint(path, student(1), config={}, seed=0, metrics={})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (student(channels=5), r"fit LinearCNN, got front_end.weight of shape \(4, 1, 7, 7\) instead of \(5, 1, 7, 7\)"),
        (torch.nn.Sequential(student()), "fit Sequential, got no 0.front_end.weight"),
        (student().readout, "fit PooledLinear, got no normalise.weight"),
    ],
)
def test_weights_of_another_architecture_are_refused_and_the_model_kept(path, model, message):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_that_nobody_asked_for_are_refused(path):
    class FrontEndOnly(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.front_end = student().front_end

    with pytest.raises(ValueError, match="got an unexpected readout.linear.bias. Build the model from its config"):
        load_checkpoint(path, FrontEndOnly())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle in a zip", b"\xff" * 64])
def test_another_kind_of_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.pt must be a safetensors file") as refusal:
        load_checkpoint(path, student())
    assert "\n" not in str(refusal.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a safetensors file, got a folder. Name a file in it"):
        load_checkpoint(tmp_path, student())


def test_a_truncated_checkpoint_is_refused(path):
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load_checkpoint(path, student())


def test_bare_weights_are_refused(tmp_path):
    safetensors.torch.save_file(student().state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="checkpoint of save_checkpoint, got weights without its metadata"):
        load_checkpoint(tmp_path / "bare.safetensors", student())


def test_a_missing_library_names_the_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"safetensors .* pip install '.\[kd\]'"):
        load_checkpoint(path, student())
