"""A digest changes with the weights, their names and shapes, and with nothing else."""

import hashlib

import torch

from kd.digest import digest


def test_the_digest_is_that_of_the_bytes_in_a_stated_order():
    weights = torch.tensor([[1.0, -2.0, 3.0]])
    text = b"a torch.float32 (1, 3);" + weights.numpy().tobytes() + b"b torch.int64 ();" + (7).to_bytes(8, "little")
    expected = hashlib.sha256(text).hexdigest()[:16]
    assert digest({"a": weights, "b": torch.tensor(7)}) == expected
    assert digest({"b": torch.tensor(7), "a": weights.T.contiguous().T}) == expected  # order, memory layout


def test_any_change_changes_it():
    weights = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    least = weights.clone()
    least[1, 2] = torch.nextafter(least[1, 2], torch.tensor(9.0))
    several = [
        *({"a": weights}, {"b": weights}, {"a": least}, {"a": weights.reshape(3, 2)}, {"a": weights.double()}, {}),
        *({"a": weights.bfloat16()}, {"a": weights > 2}, {"a": weights, "b": torch.zeros(0)}),
    ]
    assert len({digest(state) for state in several}) == len(several)
