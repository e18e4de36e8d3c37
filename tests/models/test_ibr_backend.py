from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from models import registry
from models.base import Arc, InbetweenModel
from models.errors import InputRefused, UnknownName
from tests.geometry.blockout_scenes import street_guides
from tests.geometry.painted_scenes import true_picture

WH = (96, 72)


def arc(frames: int = 5) -> Arc:
    shot = street_guides(frames, WH)
    return Arc(
        true_picture(shot, 0), true_picture(shot, frames - 1), np.zeros((frames, *WH[::-1]), np.float32), shot=shot,
        frames=tuple(range(frames)),
    )


def test_the_embedded_backend_makes_a_clip_between_its_anchors():
    model: InbetweenModel = registry.embedded("inbetween", "ibr")
    model.check(5, (72, 96))
    assert model.noise_chw((72, 96))[0] == 0
    asked = arc()
    found = model.generate(asked, [7]).frames
    assert found.shape == (5, 72, 96, 3)
    assert np.array_equal(found[0], asked.first) and np.array_equal(found[-1], asked.last)
    assert asked.shot is not None
    assert np.abs(found[2].astype(float) - true_picture(asked.shot, 2)).mean() < 6
    assert np.array_equal(model.generate(asked, [8]).frames, found)


def test_frames_come_one_by_one_and_threads_do_not_matter():
    model = registry.embedded("inbetween", "ibr")
    asked = arc()
    one = list(model.stream(asked, threads=1))
    three = list(model.stream(asked, threads=3))
    assert np.array_equal(one, three)
    stream = model.stream(asked, threads=1)
    assert np.array_equal(next(stream), asked.first)
    stream.close()


def test_a_part_of_an_arc_is_as_in_the_whole():
    model = registry.embedded("inbetween", "ibr")
    whole = model.generate(arc(), [0]).frames
    assert np.array_equal(list(model.stream(arc(), only=(1, 2))), whole[1:3])
    assert np.array_equal(list(model.stream(arc(), only=(3, 4))), whole[3:])


def test_an_arc_of_one_frame_is_its_anchor():
    asked = arc(1)
    assert np.array_equal(registry.embedded("inbetween", "ibr").generate(asked, [0]).frames, asked.first[None])


def test_bad_input_is_named():
    flat = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputRefused, match=r"ibr: expected arc\.shot"):
        registry.embedded("inbetween", "ibr").generate(Arc(flat, flat, np.zeros((2, 8, 8), np.float32)), [0])
    with pytest.raises(ValueError, match="frames: expected 2, as soft_edges has, got 1"):
        Arc(flat, flat, np.zeros((2, 8, 8), np.float32), shot=street_guides(2, (8, 8)), frames=(0,))
    with pytest.raises(UnknownName, match="inbetween backend: expected one of ibr, got 'wan_flf'"):
        registry.embedded("inbetween", "wan_flf")


def test_it_loads_no_torch():
    code = "import sys, models.inbetween.ibr; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_46_frames_at_720_by_480_take_40_seconds_on_two_cores():
    """With their guides."""
    shot = street_guides(46, (720, 480))
    asked = Arc(
        true_picture(shot, 0), true_picture(shot, 45), np.zeros((46, 480, 720), np.float32), shot=shot,
        frames=tuple(range(46)),
    )
    registry.embedded("inbetween", "ibr").generate(arc(), [0]), shot.guides(0)  # compiles
    start = time.process_time()
    for frame, _ in enumerate(registry.embedded("inbetween", "ibr").stream(asked)):
        shot.guides(frame)
    assert time.process_time() - start < 2 * 40
