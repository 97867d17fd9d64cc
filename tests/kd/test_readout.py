"""Readouts: what they keep of the light, and how few numbers they need."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from kd.complexity import digital_macs, trainable_parameters
from kd.conv_readout import PooledConv
from kd.readout import CompactConv, PooledLinear, PooledMLP, SegmentationDecoder, regions
from kd.seeding import initialised_with


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def fit(readout: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(readout.parameters(), lr=0.02)
    for _ in range(steps):
        loss = cross_entropy(readout(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_linear_readout_sees_sums_over_regions_only():
    readout = PooledLinear(2, 3, pool=2).eval()
    smooth = frames(4, 2, 2, 2).repeat_interleave(3, dim=-2).repeat_interleave(5, dim=-1)
    ripple = (torch.arange(5.0) - 2).repeat(2)  # of mean zero in each region of five columns
    torch.testing.assert_close(readout(smooth + ripple), readout(smooth))
    torch.testing.assert_close(readout(smooth), readout(smooth[..., ::3, ::5]))
    assert (readout(smooth + 1) - readout(smooth)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("readout", "parameters", "macs"),
    [
        # normalisation 2 x 16 C, linear (16 C + 1) K
        (PooledLinear(8, 10), 2 * 128 + 129 * 10, 1280),
        (PooledMLP(8, 10, hidden=(64,)), 2 * 128 + 129 * 64 + 65 * 10, 128 * 64 + 640),
        (PooledMLP(8, 10, hidden=()), 2 * 128 + 129 * 10, 1280),
        # depthwise 9 C, pointwise C W, linear (W + 1) K, three normalisations; 32 -> 15 -> 8 pixels a side
        (CompactConv(8, 10), 9 * 8 + 8 * 50 + 510 + 2 * (8 + 50 + 50), 64 * (9 * 8 + 8 * 50) + 500),
        (SegmentationDecoder(8, 11), 2 * 8 + 9 * 8 * 32 + 64 + 33 * 11, 32 * 32 * (9 * 8 * 32 + 32 * 11)),
        (
            SegmentationDecoder(8, 11, width=(32, 16)),
            2 * 8 + 9 * 8 * 32 + 64 + 9 * 32 * 16 + 32 + 17 * 11,
            32 * 32 * (9 * 8 * 32 + 9 * 32 * 16 + 16 * 11),
        ),
        (SegmentationDecoder(8, 11, width=0), 2 * 8 + 9 * 11, 32 * 32 * 88),
        (
            SegmentationDecoder(8, 11, coordinates=True),
            2 * 8 + 9 * (8 + 2) * 32 + 64 + 33 * 11,
            32 * 32 * (9 * (8 + 2) * 32 + 32 * 11),
        ),
    ],
)
def test_each_readout_has_the_size_counted_by_hand(readout, parameters, macs):
    assert trainable_parameters(readout) == parameters
    assert digital_macs(readout, (8, 32, 32)) == macs


def test_the_compact_readout_is_as_small_as_published():
    readout = CompactConv(25, 10)
    weights = sum(p.numel() for m in readout.modules() if isinstance(m, nn.Conv2d | nn.Linear) for p in m.parameters())
    assert weights == 1985  # Wei et al. state 2.03 K
    assert weights == pytest.approx(2030, rel=0.03)
    assert trainable_parameters(readout) == 2235


@pytest.mark.parametrize("readout", [PooledLinear(3, 4), PooledMLP(3, 4), CompactConv(3, 4)])
def test_a_brighter_lamp_changes_nothing_in_training(readout):
    # Normalisation divides by the deviation over the batch: exposure and gain drop out, but for epsilon.
    bright = frames(8, 3, 12, 20) * 100
    torch.testing.assert_close(readout.train()(bright), readout(5 * bright), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("build", [lambda: PooledLinear(3, 4), lambda: PooledMLP(3, 4), lambda: CompactConv(3, 4)])
def test_each_readout_learns_which_map_is_bright(build):
    images = 0.1 * frames(24, 3, 9, 14)
    labels = torch.arange(24) % 4
    for label in range(3):
        images[labels == label, label] += 0.5
    with initialised_with(0):
        readout = build()
    fit(readout, images, labels, steps=60)
    assert (readout.eval()(images).argmax(-1) == labels).all()


def test_a_root_gives_shot_noise_the_same_spread_everywhere():
    """The spread of the root of a Poisson number is 1/2 whatever its mean: the number's own is the root of it."""
    seen = []
    readout = PooledMLP(1, 2, pool=6, hidden=(), root=1e-9)
    readout.normalise = torch.nn.Identity()
    readout.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    means = torch.tensor([100.0, 1000.0, 10000.0]).repeat_interleave(12).view(1, 1, 6, 6).expand(4000, 1, 6, 6)
    readout(torch.poisson(means, generator=torch.Generator().manual_seed(0)))
    spread = seen[0].std(0).view(3, 12).mean(1)
    torch.testing.assert_close(spread, torch.full((3,), 0.5), rtol=0.01, atol=0)  # 48 000 draws each: 0.3 %


@pytest.mark.parametrize("kind", [PooledMLP, PooledConv])
def test_a_root_keeps_the_sign_and_is_finite_at_zero(kind):
    readout = kind(1, 2, pool=2, hidden=(), root=0.01)
    readout.normalise, readout.layers = torch.nn.Identity(), torch.nn.Identity()
    maps = torch.tensor([[[[-4.0, 0.0], [0.01, 4.0]]]], requires_grad=True)
    (slope,) = torch.autograd.grad((seen := readout(maps)).sum(), maps)
    torch.testing.assert_close(seen.flatten(1), torch.tensor([[-4 / 4.01**0.5, 0, 0.01 / 0.02**0.5, 4 / 4.01**0.5]]))
    torch.testing.assert_close(slope[0, 0, 0, 1], torch.tensor(10.0))  # 1 / sqrt(root)


@pytest.mark.parametrize("kind", [PooledMLP, PooledConv])
def test_the_root_is_that_of_a_regions_light(kind):
    """As of a camera's binned pixel: the mean of 0 and 4 is 2, that of their roots is 1."""
    readout = kind(1, 2, pool=1, hidden=(), root=1e-9)
    readout.normalise, readout.layers = torch.nn.Identity(), torch.nn.Identity()
    seen = readout(torch.tensor([[[[0.0, 4.0], [4.0, 0.0]]]]))
    torch.testing.assert_close(seen.flatten(), torch.tensor([2.0]).sqrt())


def test_readouts_tell_their_root():
    readouts = (PooledMLP(1, 2, root=0.25), PooledConv(1, 2, root=0.25), SegmentationDecoder(1, 2, root=0.25))
    assert all("root=0.25" in repr(readout) for readout in readouts)


def test_a_decoder_that_is_told_coordinates_knows_where_a_pixel_is():
    plain, told = (SegmentationDecoder(2, 3, width=0, coordinates=known).eval() for known in (False, True))
    grey = torch.ones(1, 2, 5, 7)
    assert torch.equal(plain(grey), plain(grey)[..., :1, :1].expand(1, 3, 5, 7))
    with torch.no_grad():
        told.layers[-1].weight.zero_()
        told.layers[-1].bias.zero_()
        told.layers[-1].weight[0, 2], told.layers[-1].weight[1, 3] = 1, 1
    seen = told(grey)[0]
    torch.testing.assert_close(seen[0], torch.tensor([-1, -0.5, 0, 0.5, 1])[:, None].expand(5, 7))
    torch.testing.assert_close(seen[1], (torch.arange(7) / 3 - 1).expand(5, 7))


def test_dilated_convolutions_of_a_decoder_reach_as_far_as_their_steps_add_up():
    one = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    one[..., 20, 20] = 1
    for steps, reach in (((), 2), ((1, 2), 3), ((2, 8), 10)):
        decoder = SegmentationDecoder(1, 2, width=(6, 6), dilations=steps).double().eval()
        with torch.no_grad():
            changed = ((decoder(one) - decoder(torch.zeros_like(one))).abs().sum(1)[0] > 0).any(0).nonzero().flatten()
        assert (changed.min(), changed.max()) == (20 - reach, 20 + reach)
    with pytest.raises(ValueError, match="dilations must be 2 numbers, one a convolution, got 1"):
        SegmentationDecoder(1, 2, width=(6, 6), dilations=(2,))


@pytest.mark.parametrize("width", [5, (5, 4)])
def test_a_decoder_of_class_maps_rectifies_between_its_convolutions(width):
    decoder, seen = SegmentationDecoder(2, 3, width=width).eval(), []
    for layer in [layer for layer in decoder.modules() if isinstance(layer, nn.Conv2d)][1:]:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    decoder(frames(2, 2, 6, 8) - 0.5)
    assert len(seen) == (1 if width == 5 else 2)
    assert all(maps.min() == 0 and 0.1 < (maps == 0).float().mean() < 0.9 for maps in seen)


def test_dropout_stands_before_each_linear_layer_and_rests_in_evaluation():
    readout = PooledMLP(2, 3, pool=2, hidden=(5,), dropout=0.4)
    assert [type(layer).__name__ for layer in readout.layers] == ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    maps = torch.rand(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    readout.eval()
    assert torch.equal(readout(maps), readout(maps))
    readout.train()
    assert not torch.equal(readout(maps), readout(maps))


def test_hidden_layers_make_the_readout_nonlinear():
    a, b = frames(2, 3, 8, 8), frames(2, 3, 8, 8, seed=1)
    for readout, linear in ((PooledLinear(3, 4), True), (PooledMLP(3, 4, hidden=()), True), (PooledMLP(3, 4), False)):
        f = readout.eval().double()
        a, b = a.double(), b.double()
        excess = f(a + b) - f(a) - f(b) + f(torch.zeros_like(a))
        assert (excess.abs().max() < 1e-12) == linear


def test_the_decoder_answers_where_it_looks_at_the_size_of_the_labels():
    with initialised_with(0):
        decoder = SegmentationDecoder(2, 3, size=(12, 20)).eval()
    dark = torch.zeros(1, 2, 6, 5)
    lit = dark.clone()
    lit[..., 4, 1] = 1
    change = (decoder(lit) - decoder(dark)).abs().sum(dim=1)[0]
    assert change.shape == (12, 20)
    # Twice and four times enlarged, pixel (4, 1) is rows 8-9 and columns 4-7; its 3 x 3 neighbours reach around it.
    assert change[8:10, 4:8].min() > 0
    assert not change[:4].any()
    assert not change[:, 14:].any()


def test_the_decoder_enlarges_an_even_map_evenly():
    decoder = SegmentationDecoder(2, 3, size=(9, 7), width=0).eval()
    flat = decoder(torch.full((1, 2, 4, 5), 0.3))
    torch.testing.assert_close(flat, flat[..., :1, :1].expand_as(flat))
    kept = SegmentationDecoder(2, 3).eval()
    assert kept(frames(1, 2, 4, 5)).shape == (1, 3, 4, 5)


def test_the_decoder_takes_the_root_of_each_pixel():
    plain, rooted = SegmentationDecoder(2, 3).eval(), SegmentationDecoder(2, 3, root=0.01).eval()
    rooted.load_state_dict(plain.state_dict())
    maps = 4 * frames(1, 2, 4, 5) - 2
    torch.testing.assert_close(rooted(maps), plain(maps / (maps.abs() + 0.01) ** 0.5))


def test_the_decoder_learns_a_map():
    images = frames(4, 2, 6, 10)
    labels = (images[:, 0] > images[:, 1]).long()
    with initialised_with(0):
        decoder = SegmentationDecoder(2, 2, width=8)
    fit(decoder, images, labels, steps=80)
    assert (decoder(images).argmax(1) == labels).float().mean() > 0.95


def test_maps_of_the_wanted_size_are_themselves_and_others_are_averaged():
    maps = torch.arange(48.0).reshape(1, 2, 4, 6)
    assert regions(maps[..., :4], 4).data_ptr() == maps.data_ptr()
    assert regions(maps, 6).shape == (1, 2, 6, 6), "as wide, but not as high"
    torch.testing.assert_close(regions(maps, 2)[0, 0, 0, 0], maps[0, 0, :2, :3].mean())
