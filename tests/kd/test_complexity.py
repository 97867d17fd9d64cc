"""Counts against hand arithmetic."""

import pytest
import torch
from torch import nn

from kd.complexity import digital_macs, trainable_parameters
from kd.readout import PooledLinear
from kd.sclc import SCLC
from kd.students import LinearCNN, Student
from kd.teachers import ConvTeacher


def test_the_teacher_costs_what_its_layers_say():
    expected = 32 * 24 * 25 * 1 * 8 + 16 * 12 * 25 * 8 * 16 + 8 * 6 * 9 * 16 * 32
    assert digital_macs(ConvTeacher(1, 10).features, (1, 32, 24)) == expected


def test_a_linear_cnn_costs_one_convolution_and_the_readout():
    student = LinearCNN(3, PooledLinear(8, 10), kernel_size=5)
    assert digital_macs(student, (3, 12, 20)) == 12 * 20 * 25 * 3 * 8 + 8 * 16 * 10
    assert trainable_parameters(student) == 25 * 3 * 8 + 2 * 128 + 128 * 10 + 10


def test_grouped_and_strided_convolutions_count_what_they_compute():
    assert digital_macs(nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 9, 13)) == 4 * 6 * 9 * (4 // 2) * 6


def test_a_row_of_spectral_layers_costs_its_collapsed_kernel():
    student = SCLC(1, PooledLinear(3, 10), channels=(2, 3), kernel_size=3)
    assert digital_macs(student, (1, 12, 20)) == 12 * 20 * 25 * 3 + 3 * 16 * 10


def test_a_pooled_row_is_counted_layer_by_layer_on_its_canvas():
    student = SCLC(1, PooledLinear(3, 10), channels=(2, 3), kernel_size=3, pools=(2, None))
    # Reach 1 + 2 rounds up to a margin of 4 pixels: 20 x 28, then 10 x 14.
    assert digital_macs(student, (1, 12, 20)) == 20 * 28 * 9 * 2 + 10 * 14 * 9 * 2 * 3 + 3 * 16 * 10


def test_light_is_free_and_the_readout_is_not():
    class Optics(nn.Module):
        digital = False

        def __init__(self):
            super().__init__()
            self.stand_in = nn.Conv2d(1, 8, 7, padding=3)

        def forward(self, images):
            return self.stand_in(images)

    assert digital_macs(Student(Optics(), PooledLinear(8, 10)), (1, 16, 24)) == 8 * 16 * 10


def test_counting_leaves_mode_statistics_and_hooks_as_they_were():
    student = LinearCNN(1, PooledLinear(8, 10)).train()
    student.readout.normalise.eval()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert digital_macs(student, (1, 8, 8)) == digital_macs(student, (1, 8, 8))
    assert student.training
    assert not student.readout.normalise.training
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_complex_parameter_is_two_numbers():
    layer = nn.Linear(3, 2, bias=False, dtype=torch.complex64)
    assert trainable_parameters(layer) == 12


def test_a_layer_that_would_be_missed_is_refused():
    with pytest.raises(TypeError, match="know every layer with weights, got Conv1d"):
        digital_macs(nn.Sequential(nn.Conv1d(1, 1, 3)), (1, 8))
