"""Teachers: sizes as published or counted by hand, and that they learn."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv_transpose2d, cross_entropy

from kd.complexity import digital_macs, trainable_parameters
from kd.seeding import initialised_with
from kd.teachers import AlexNetTeacher, ConvTeacher, ResNetTeacher, UNetTeacher

# By hand, k^2 C_in C_out for each convolution, two numbers a channel for each normalisation, (C_in + 1) C_out for each
# linear layer.
CONV = (25 * 8 + 16) + (25 * 8 * 16 + 32) + (9 * 16 * 32 + 64) + (32 * 16 + 1) * 10
ALEXNET = (
    (25 * 3 * 64 + 128) + (25 * 64 * 192 + 384) + (9 * 192 * 384 + 768) + (9 * 384 * 256 + 512) + (9 * 256 * 256 + 512)
) + ((256 * 16 + 1) * 512 + 513 * 256 + 257 * 10)
RESNET = (9 * 3 * 16 + 32) + (6 * (9 * 16 * 16 + 32)) + 65 * 10
RESNET += (9 * 16 * 32 + 64) + 5 * (9 * 32 * 32 + 64) + (9 * 32 * 64 + 128) + 5 * (9 * 64 * 64 + 128)


def double(before: int, after: int) -> int:
    return 9 * before * after + 9 * after * after + 4 * after


UNET = sum(double(a, b) for a, b in ((3, 32), (32, 64), (64, 128), (128, 256)))
UNET += sum(4 * 2 * w * w + double(2 * w, w) for w in (128, 64, 32)) + 33 * 11


@pytest.mark.parametrize(
    ("teacher", "images", "output", "parameters"),
    [
        (ConvTeacher(1, 10), (2, 1, 32, 32), (2, 10), CONV),
        (AlexNetTeacher(3, 10), (2, 3, 32, 32), (2, 10), ALEXNET),
        (ResNetTeacher(3, 10), (2, 3, 32, 32), (2, 10), RESNET),
        (UNetTeacher(3, 11), (2, 3, 40, 56), (2, 11, 40, 56), UNET),
    ],
)
def test_each_teacher_has_the_shape_and_the_size_it_states(teacher, images, output, parameters):
    assert teacher.eval()(torch.zeros(images)).shape == output
    assert trainable_parameters(teacher) == parameters
    assert f"{parameters:,}".replace(",", " ") in " ".join(type(teacher).__doc__.split())


def test_depths_and_sizes_are_those_of_the_papers():
    resnet = ResNetTeacher(3, 10)
    weighted = [m for m in resnet.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 20
    assert trainable_parameters(resnet) == pytest.approx(0.27e6, rel=0.01)  # table 6 of He et al.
    assert trainable_parameters(ResNetTeacher(3, 10, blocks=9)) == pytest.approx(0.85e6, rel=0.01)
    # ResNet-20 for 32 x 32: 40.6 million multiply-accumulates in its convolutions.
    per_stage = 32 * 32 * (9 * 3 * 16 + 6 * 9 * 16**2)
    per_stage += 16**2 * (9 * 16 * 32 + 5 * 9 * 32**2) + 8**2 * (9 * 32 * 64 + 5 * 9 * 64**2) + 640
    assert digital_macs(resnet, (3, 32, 32)) == per_stage
    assert sum(isinstance(m, nn.Conv2d) for m in AlexNetTeacher(3, 10).modules()) == 5
    assert trainable_parameters(ResNetTeacher(3, 10, width=32)) == 1_073_962


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: ConvTeacher(1, 4, size=16, width=4), (8, 1, 16, 16)),
        (lambda: AlexNetTeacher(1, 4, size=16, width=4, dropout=0.0), (8, 1, 16, 16)),
        (lambda: ResNetTeacher(1, 4, blocks=1, width=4), (8, 1, 12, 16)),
        (lambda: UNetTeacher(1, 3, width=4, depth=2), (3, 1, 10, 13)),
    ],
)
def test_each_teacher_learns_a_small_batch_by_heart(build, shape):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=generator)
    with initialised_with(0):
        teacher = build()
        dense = isinstance(teacher, UNetTeacher)
        labels = (images[:, 0] * 3).long() if dense else torch.arange(len(images)) % 4
        optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
        losses = []
        for _ in range(40):
            loss = cross_entropy(teacher(images), labels)
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in teacher.parameters())
            optimizer.step()
            losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.5 * losses[0]


def test_a_residual_block_without_a_body_is_the_identity_with_room_for_new_channels():
    block = ResNetTeacher(1, 2, blocks=1, width=4).features[4]  # 4 to 8 channels, half the size
    nn.init.zeros_(block.body[-1].weight)
    features = torch.rand(2, 4, 6, 10, generator=torch.Generator().manual_seed(0))
    out = block.eval()(features)
    torch.testing.assert_close(out[:, :4], features[..., ::2, ::2], atol=0, rtol=0)
    assert not out[:, 4:].any()


def test_the_unet_enlarges_by_a_transposed_convolution():
    up = UNetTeacher(1, 2, width=3, depth=1).up[0]
    features = torch.rand(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))
    kernel = up[0].weight.reshape(3, 2, 2, 6).permute(3, 0, 1, 2)
    torch.testing.assert_close(up(features), conv_transpose2d(features, kernel, stride=2))


def test_the_unet_answers_pixel_by_pixel_at_any_size():
    with initialised_with(0):
        teacher = UNetTeacher(1, 2, width=4, depth=2).eval()
    image = torch.rand(1, 1, 24, 40, generator=torch.Generator().manual_seed(1))
    answer = teacher(image)
    torch.testing.assert_close(teacher(image[..., :23, :37])[..., :12, :20], answer[..., :12, :20], atol=1e-5, rtol=0)
    moved = image.clone()
    moved[..., 12, 20] += 1  # far from the border, a change of one pixel is felt there and not in the corner
    change = (teacher(moved) - answer).abs().sum(dim=1)[0]
    assert change[12, 20] > 0
    assert change[0, 0] == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvTeacher(1, 10, size=7), "size must be at least 8 for three halvings, got 7"),
        (lambda: AlexNetTeacher(1, 10, size=7), "size must be at least 8 for three halvings, got 7"),
        (lambda: ResNetTeacher(1, 10, blocks=0), "blocks must be at least 1 per stage, got 0"),
        (lambda: UNetTeacher(1, 10, depth=0), "depth must be at least 1, got 0"),
    ],
)
def test_networks_that_cannot_be_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_first_guess_of_a_resnet_is_of_the_order_of_no_knowledge():
    with initialised_with(0):
        teacher = ResNetTeacher(3, 10).train()
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    loss = cross_entropy(teacher(images), torch.arange(16) % 10).item()
    assert loss == pytest.approx(math.log(10), abs=1.0)
