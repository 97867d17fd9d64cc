"""Order in memory: faster, and nobody else notices."""

import contextlib

import pytest
import torch
from torch import nn

import kd.training
from kd.data.images import DataSplits, LabelledImages
from kd.layout import channels_last
from kd.readout import PooledLinear
from kd.seeding import initialised_with
from kd.training import TrainingSettings, fit


def network() -> nn.Sequential:
    with initialised_with(1):
        return nn.Sequential(
            *(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.Conv2d(6, 4, 3, bias=False), PooledLinear(4, 3, pool=2)),
        )


def orders(model: nn.Module) -> list[bool]:
    """Whether each convolution's weights have their channels last, and only so."""
    kernels = [weight for weight in model.parameters() if weight.ndim == 4]
    assert kernels
    return [k.is_contiguous(memory_format=torch.channels_last) and not k.is_contiguous() for k in kernels]


def test_weights_keep_their_values_and_come_back_also_from_an_error():
    model, teacher = network(), network()
    images = torch.rand(3, 2, 8, 9, generator=torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = model.eval()(images)
    with pytest.raises(KeyError), channels_last(model, None, teacher):
        assert all(orders(model)) and all(orders(teacher))
        # Sums of a few dozen terms in single precision.
        torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-6)
        raise KeyError
    assert not any(orders(model)) and not any(orders(teacher))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_weights_that_came_so_stay_so():
    model = network().to(memory_format=torch.channels_last)
    with channels_last(model):
        pass
    assert all(orders(model))


def test_a_fit_computes_so_and_finds_the_same(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    parts = [LabelledImages(torch.rand(n, 2, 8, 9, generator=generator), torch.arange(n) % 3) for n in (24, 9, 3)]
    data = DataSplits("noise", ("a", "b", "c"), *parts)
    settings = TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)
    seen, found = [], []
    for whole in (channels_last, lambda *models: contextlib.nullcontext()):
        monkeypatch.setattr(kd.training, "channels_last", whole)
        model, teacher = network(), network()
        for watched in (model, teacher):
            watched.register_forward_pre_hook(lambda module, inputs: seen.append(all(orders(module))))
        history = fit(model, data, settings, seed=0, teacher=teacher, progress=False)
        found.append([record["loss"] for record in history])
        assert not any(orders(model)) and not any(orders(teacher))
    half = len(seen) // 2
    assert half and all(seen[:half]) and not any(seen[half:])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
