"""Initial weights that can be had again."""

import torch

from kd.seeding import initialised_with


def test_construction_repeats_and_the_callers_stream_goes_on():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    layers = []
    for seed in (0, 0, 1):
        with initialised_with(seed):
            layers.append(torch.nn.Linear(4, 3))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert not torch.equal(layers[0].weight, layers[2].weight)
