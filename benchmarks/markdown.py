"""Figures as a Markdown table, the way RESULTS.md wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Rows = Sequence[tuple[str, str, str, str]]  # heading, field, format, goal


def figure_table(rows: Rows, columns: Mapping[str, Mapping[str, object]]) -> str:
    """A row per figure, a column per run; figures that were not measured are left blank."""
    lines = ["| figure | " + " | ".join(columns) + " | goal |", "|---" * (len(columns) + 2) + "|"]
    for heading, field, form, goal in rows:
        if any(field in values for values in columns.values()):
            cells = [format(values[field], form) if field in values else "" for values in columns.values()]
            lines.append(f"| {heading} | " + " | ".join(cells) + f" | {goal} |")
    return "\n".join(lines)
