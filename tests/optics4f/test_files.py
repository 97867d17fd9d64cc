"""Files are whole, old or new."""

import pytest

from optics4f.files import written_whole


def test_a_finished_block_leaves_the_new_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "masks.h5"
    with written_whole(path) as part:
        part.write_bytes(b"new")
        assert not path.exists()  # nothing to see before it is complete
        assert part.parent == path.parent
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, interruption):
    path = tmp_path / "masks.h5"
    path.write_bytes(b"old")
    with pytest.raises(interruption), written_whole(path) as part:
        part.write_bytes(b"half")
        raise interruption
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "masks.h5"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass
    assert path.read_bytes() == b"old"
