"""Scene or mesh to G-buffers and beauty."""

from __future__ import annotations

from importlib import import_module

from geometry.render.base import Renderer

BACKENDS = {
    "mitsuba": ("geometry.render.mitsuba_renderer", "MitsubaRenderer"),
    "pytorch3d": ("geometry.render.pytorch3d_renderer", "Pytorch3dRenderer"),
}


def make_renderer(name: str = "mitsuba", variant: str = "auto") -> Renderer:
    """A renderer by name; ``variant`` is auto, llvm, scalar or cuda. The backend is imported only now.

    Raises ``ValueError`` for an unknown name, ``RuntimeError`` when the variant does not run on this machine.
    """
    if name not in BACKENDS:
        raise ValueError(f"renderer: expected one of {', '.join(BACKENDS)}, got {name!r}")
    module, cls = BACKENDS[name]
    return getattr(import_module(module), cls)(variant)


__all__ = ["BACKENDS", "make_renderer"]
