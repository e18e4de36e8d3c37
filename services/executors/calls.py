"""The helper: ``python -m services.executors.calls --fd N`` answers ``Call`` after ``Call`` until its server has gone.

An answer is ``{"kind": "result", "value"}`` or ``{"kind": "error", "error"}``; a picture (H, W, 3) uint8 sRGB as value
becomes ``{"jpeg": base64}``.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from services import log
from services.artifacts.stages import jpeg
from services.executors import registry
from services.executors.base import Message
from services.executors.channel import Channel, answer, resolve
from services.executors.preview import Call
from services.media.clip import open_clip


def main() -> None:
    log.set_up()
    channel = Channel.from_arguments()
    while True:
        call: Call = channel.receive()
        channel.send(answer(lambda call=call: _result(call), call.log_file))  # type: ignore[misc]


def _result(call: Call) -> Message:
    calls = registry.load(call.registry).CALLS
    value = resolve(calls[call.name])(*call.arguments)
    if isinstance(value, np.ndarray):
        value = {"jpeg": base64.b64encode(jpeg(value, quality=88)).decode()}
    return {"kind": "result", "value": value}


def describe_clip(path: str) -> dict[str, Any]:
    """The fields of ``ClipInfo`` in the media protos."""
    with open_clip(path) as clip:
        height, width = clip.hw
        return {
            "width_px": width,
            "height_px": height,
            "first_frame": clip.numbers[0],
            "frame_count": len(clip.numbers),
            "rate_numerator": clip.rate.numerator,
            "rate_denominator": clip.rate.denominator,
            "bit_depth": clip.info.source_bits,
            "colorspace": clip.colorspace,
        }


if __name__ == "__main__":
    main()
