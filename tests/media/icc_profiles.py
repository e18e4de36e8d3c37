"""ICC profiles of three primaries, written byte by byte (ICC.1:2022), and sRGB's own."""

from __future__ import annotations

import struct

from PIL import ImageCms

# Columns: red, green, blue under D50 (Adobe RGB (1998), annex C).
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def matrix_profile(name: str, primaries: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    text = name.encode() + b"\0"
    blocks = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(79)}
    for letter, xyz in zip("rgb", primaries, strict=True):
        blocks[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in xyz))
        curve = struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
        blocks[f"{letter}TRC".encode()] = b"curv" + bytes(4) + curve
    white = struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    blocks[b"wtpt"] = b"XYZ " + bytes(4) + white
    head = bytearray(128)
    head[8:12], head[12:24], head[36:40], head[68:80] = b"\x02\x10\0\0", b"mntrRGB XYZ ", b"acsp", white
    table, body, offset = b"", b"", 128 + 4 + 12 * len(blocks)
    for key, block in blocks.items():
        block += bytes(-len(block) % 4)
        table += struct.pack(">4sII", key, offset + len(body), len(block))
        body += block
    struct.pack_into(">I", head, 0, offset + len(body))
    return bytes(head) + struct.pack(">I", len(blocks)) + table + body


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
