import pytest

from services.pipelines.insert import _chunks
from services.pipelines.stages.composite_frames import HALO


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11, 23, 480])
def test_chunks_cover_every_frame_once_and_leave_neighbours_enough_to_look_at(count: int) -> None:
    numbers = list(range(100, 100 + count))
    chunks = _chunks(numbers)
    assert [n for chunk in chunks for n in chunk] == numbers
    assert all(len(chunk) >= HALO for chunk in chunks[1:-1])
