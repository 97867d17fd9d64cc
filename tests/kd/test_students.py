"""Students: linear in front, the same electronics behind."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from kd.readout import PooledLinear
from kd.seeding import initialised_with
from kd.students import LinearCNN, Student
from kd.teachers import ConvTeacher


def images(seed: int) -> torch.Tensor:
    return torch.rand(6, 2, 12, 16, generator=torch.Generator().manual_seed(seed))


def test_a_linear_front_end_is_linear_and_a_teacher_is_not():
    a, b = images(0), images(1)
    front_end = LinearCNN(2, PooledLinear(3, 4), channels=3).front_end
    torch.testing.assert_close(front_end(a + b), front_end(a) + front_end(b), atol=1e-5, rtol=0)
    with initialised_with(0):
        features = ConvTeacher(2, 4, size=16).eval().features
    whole, parts = features(a + b), features(a) + features(b)
    assert (whole - parts).norm() > 0.1 * whole.norm()


def test_the_readout_sees_region_averages_of_the_front_end():
    readout = PooledLinear(2, 5, pool=4).eval()
    student = Student(torch.nn.Identity(), readout)
    averages = avg_pool2d(images(0), (3, 4)).flatten(1)  # 12 x 16 in 4 x 4 regions
    expected = averages / (1 + 1e-5) ** 0.5 @ readout.linear.weight.T + readout.linear.bias  # fresh statistics: 0 and 1
    torch.testing.assert_close(student(images(0)), expected, atol=1e-6, rtol=1e-5)


def test_a_teacher_of_another_image_size_fits_its_classifier():
    teacher = ConvTeacher(1, 7, size=28, width=4)
    assert teacher(torch.zeros(2, 1, 28, 28)).shape == (2, 7)
    with pytest.raises(ValueError, match="size must be at least 8 .* got 7"):
        ConvTeacher(1, 7, size=7)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel_size must be odd .* got 6"):
        LinearCNN(1, PooledLinear(8, 10), kernel_size=6)
