"""The readout that convolves camera frames: what it costs, and what it sees."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from kd.complexity import digital_macs, trainable_parameters
from kd.conv_readout import PooledConv


def test_its_cost_is_that_of_its_layers():
    readout = PooledConv(16, 10)
    convolutions, linear = 9 * (16 * 32 + 32 * 64), 64 * 16 * 256 + 256 * 10
    assert trainable_parameters(readout) == convolutions + 2 * (16 + 32 + 64) + linear + 256 + 10 == 288_234
    # 8 x 8 positions of the first convolution, 4 x 4 of the second
    assert digital_macs(readout, (16, 32, 32)) == 9 * (64 * 16 * 32 + 16 * 32 * 64) + linear


@pytest.mark.parametrize(("pool", "left"), [(15, 8), (16, 8), (21, 11)])
def test_a_convolution_halves_odd_and_even_maps(pool, left):
    readout = PooledConv(2, 3, pool=pool, filters=(4,), hidden=())
    assert readout.layers[-1].in_features == 4 * left**2
    assert readout(torch.rand(2, 2, 30, 40)).shape == (2, 3)


def test_it_sees_region_averages_alone():
    readout = PooledConv(2, 3, pool=5, filters=(4, 6), hidden=(7,), dropout=0.5).eval()
    images = torch.rand(2, 2, 10, 15, generator=torch.Generator().manual_seed(0))
    averages = avg_pool2d(images, (2, 3))
    torch.testing.assert_close(readout(images), readout(averages), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(readout.train()(images), readout(images)), "dropout"
