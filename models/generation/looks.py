"""Looks: words that are added to a prompt so that all pictures of a show have one tone. Data, in ``looks.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from models.errors import UnknownName

LOOKS = Path(__file__).with_name("looks.yaml")


@dataclass(frozen=True)
class Look:
    prompt: str
    negative: str


def names(path: Path = LOOKS) -> list[str]:
    return [str(name) for name in OmegaConf.load(path)]


def in_look(name: str, prompt: str, negative: str = "", path: Path = LOOKS) -> Look:
    """A prompt and what shall not be, with a look's words after them. Raises ``UnknownName``."""
    looks = OmegaConf.load(path)
    if name not in looks:
        raise UnknownName(f"look: expected one of {', '.join(names(path))}, got {name!r}")
    look = OmegaConf.select(looks, name)
    return Look(_joined(prompt, look.prompt), _joined(negative, look.negative))


def _joined(*parts: str) -> str:
    return ", ".join(part.strip() for part in parts if part.strip())
