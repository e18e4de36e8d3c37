"""Values of flags, read and checked; what cannot be read is an ``ArgumentTypeError`` that says what was expected."""

from __future__ import annotations

import argparse
import math
import re

OBJECT_AXES = ("+x", "-x", "+y", "-y", "+z", "-z")


def expected(what: str, text: object) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {what}, got {text!r}")


def number(text: str, what: str = "a number") -> float:
    try:
        value = float(text)
    except ValueError:
        raise expected(what, text) from None
    if not math.isfinite(value):
        raise expected(what, text)
    return value


def positive(text: str) -> float:
    value = number(text, "a number > 0")
    if value <= 0:
        raise expected("a number > 0", text)
    return value


def degrees(text: str) -> float:
    return number(text, "degrees")


def shutter(text: str) -> float:
    value = number(text, "degrees from 0 to 360")
    if not 0 <= value <= 360:
        raise expected("degrees from 0 to 360", text)
    return value


def whole(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise expected("a whole number >= 0", text)
    return int(text)


def count(text: str) -> int:
    value = whole(text)
    if value == 0:
        raise expected("a whole number >= 1", text)
    return value


def priority(text: str) -> int:
    what = "a whole number from 0 to 100"
    if not re.fullmatch(r"\d+", text) or int(text) > 100:
        raise expected(what, text)
    return int(text)


def seed(text: str) -> int:
    value = whole(text)
    if value >= 1 << 64:
        raise expected("a number below 2^64", text)
    return value


def frame_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or int(match[2]) < int(match[1]):
        raise expected("A-B, first and last frame number", text)
    return int(match[1]), int(match[2])


def pixel(text: str) -> tuple[float, float]:
    x, y = numbers(text, 2, "X,Y in pixels")
    return x, y


def box(text: str) -> tuple[float, float, float, float]:
    what = "X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1"
    x0, y0, x1, y1 = numbers(text, 4, what)
    if not (x0 < x1 and y0 < y1):
        raise expected(what, text)
    return x0, y0, x1, y1


def horizon(text: str) -> str:
    what = "X0,Y0,X1,Y1: two different points"
    x0, y0, x1, y1 = numbers(text, 4, what)
    if (x0, y0) == (x1, y1):
        raise expected(what, text)
    return text


def numbers(text: str, count: int, what: str) -> list[float]:
    words = text.split(",")
    if len(words) != count:
        raise expected(what, text)
    try:
        return [number(word) for word in words]
    except argparse.ArgumentTypeError:
        raise expected(what, text) from None


def size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise expected("WxH in pixels", text)
    return int(match[1]), int(match[2])


def frame(text: str, what: str, whole: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise expected(what, whole)
    return int(text)


def axis(text: str) -> str:
    """An axis without a sign is the positive one."""
    axis = text.lower() if text[:1] in "+-" else f"+{text.lower()}"
    if axis not in OBJECT_AXES:
        raise expected(" ".join(OBJECT_AXES), text)
    return axis
