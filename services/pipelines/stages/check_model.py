"""Stage: a learned model is loaded once before any long work: what is wrong with its weights is said at once."""

from __future__ import annotations

from pathlib import Path

from services.pipelines.context import Report
from services.pipelines.painters import Backend


def check_model(*, out: Path, config: str, report: Report, backend: Backend) -> None:
    """``config`` names it. Raises what loading raises, in the words of the service."""
    report(0, 1)
    with backend.model():
        (out / "model.txt").write_text(config)
    report(1, 1)
