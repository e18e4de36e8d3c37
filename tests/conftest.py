"""Checks the shapes that geometry's signatures promise, in every call that a test makes."""

from __future__ import annotations

from jaxtyping import install_import_hook

from tests import shape_checker

# Before anything imports these modules; the others state their shapes in docstrings.
install_import_hook(
    [
        "geometry.rigid",
        "geometry.camera",
        "geometry.trajectory",
        "geometry.placement",
        "geometry.composite",
        "geometry.reconstruct.anchor",
        "geometry.reconstruct.triangulate",
    ],
    f"{shape_checker.__name__}.checked",
)
