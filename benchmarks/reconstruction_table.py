"""The reconstruction benchmark's table: which figure belongs to which shot, and what is good enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from examples.shots import KINDS

Figures = dict[str, object]

PARALLAX = frozenset({"static", "mover", "turntable", "orbit", "glass"})
TURNS = frozenset({"pan", "follow"})
MOVES = frozenset({"mover", "follow", "locked", "turntable"})
ALL = frozenset(KINDS)
REAL = "clip"  # the column of a clip that was not rendered


@dataclass(frozen=True)
class Row:
    """A figure, its goal, the shots that have it and (``goal_for``; all of them when None) those the goal is for."""

    heading: str
    field: str
    form: str
    shots: frozenset[str] = ALL
    at_most: float | None = None
    at_least: float | None = None
    goal_for: frozenset[str] | None = None

    @property
    def goal(self) -> str:
        if self.at_least is True:
            return "yes"
        if self.at_least is not None:
            return f">= {format(self.at_least, self.form)}"
        return f"<= {format(self.at_most, self.form)}" if self.at_most is not None else ""

    def has_goal(self, shot: str) -> bool:
        return bool(self.goal) and shot in (self.shots if self.goal_for is None else self.goal_for)

    def met(self, value: object) -> bool:
        """What is not a number never is."""
        if not isinstance(value, int | float) or math.isnan(value):
            return False
        high = math.inf if self.at_most is None else self.at_most
        return (-math.inf if self.at_least is None else self.at_least) <= value <= high

    def cell(self, shot: str, figures: Figures) -> str:
        if shot not in self.shots:
            return ""
        value = figures.get(self.field)
        if isinstance(value, bool):
            text = "yes" if value else "no"
        else:
            text = "not measured" if value is None or value != value else format(value, self.form)
        return f"{text} !" if self.has_goal(shot) and not self.met(value) else text


ROWS = (
    Row("cameras delivered", "delivered", "", ALL | {REAL}, at_least=True),
    Row("right kind of shot", "kind_right", "", at_least=True),
    Row("registered frames", "registered", ".0%", ALL | {REAL}, at_least=0.9),
    Row("ATE / path", "ate", ".3%", PARALLAX, at_most=0.0004),
    Row("ATE / path", "ate", ".2%", frozenset({REAL}), at_most=0.012),
    Row("turn from frame to frame, RMS error (deg)", "step_deg", ".3f"),
    Row("turn from frame to frame, RMS error (deg)", "step_deg", ".2f", frozenset({REAL}), at_most=0.3),
    Row("rotation, worst frame (deg)", "turn_deg", ".3f", ALL | {REAL}, at_most=0.1, goal_for=TURNS),
    Row("focal error", "focal", ".2%", ALL | {REAL}, at_most=0.02, goal_for=PARALLAX | TURNS),
    Row("drift of pinned points, median (px)", "drift_median_px", ".2f", at_most=0.2),
    Row("drift of pinned points, p95 (px)", "drift_p95_px", ".2f", at_most=0.5, goal_for=ALL - {"orbit"}),
    Row("the same after leaving and coming back, p95 (px)", "returned_p95_px", ".2f", frozenset({"orbit"}),
        at_most=1.5),
    Row("depth abs-rel, most confident 90 %", "abs_rel", ".3f", at_most=0.02, goal_for=PARALLAX - {"glass"}),
    Row("depth delta < 1.25, most confident 90 %", "delta", ".3f"),
    Row("pixels with a depth", "coverage", ".0%"),
    Row("depth edges found within 2 px", "edge_recall", ".2f", at_least=0.4, goal_for=PARALLAX),
    Row("depth edges, F1", "edge_f", ".2f"),
    Row("depth wrong by > 10 %", "wrong", ".1%"),
    Row("wrong depth doubted (confidence < .5)", "wrong_doubted", ".0%", at_least=0.9, goal_for=frozenset({"glass"})),
    Row("right depth trusted", "right_trusted", ".0%"),
    Row("depth carried to the next frame, TAE", "tae", ".2%", PARALLAX),
    Row("the same of true depth", "true_tae", ".2%", PARALLAX),
    Row("change of depth at one place, OPW (m)", "opw", ".4f", PARALLAX),
    Row("the same of true depth (m)", "true_opw", ".4f", PARALLAX),
    Row("motion J", "motion_j", ".3f", MOVES, at_least=0.85),
    Row("motion F at 2 px", "motion_f", ".3f", MOVES),
    Row("pixels called moving that stand still", "false_motion", ".2%"),
    Row("depth of movers, median error", "mover_depth", ".1%", MOVES),
    Row("turning support: drift p95 (px)", "support_p95_px", ".2f", frozenset({"turntable"}), at_most=2.5),
    Row("turning support: turn, worst frame (deg)", "support_deg", ".2f", frozenset({"turntable"}), at_most=1.5),
    Row("turning support: frames with a track", "support_frames", ".0%", frozenset({"turntable"}), at_least=0.9),
    Row("seconds to cameras", "cameras_s", ".1f", ALL | {REAL}),
    Row("stock COLMAP: seconds", "stock_s", ".1f", PARALLAX | {REAL}),
    Row("stock COLMAP: registered frames", "stock_registered", ".0%", PARALLAX | {REAL}),
    Row("stock COLMAP: ATE / path", "stock_ate", ".3%", PARALLAX | {REAL}),
    Row("seconds to cameras / stock", "time_ratio", ".2f", PARALLAX | {REAL}, at_most=0.5),
    Row("ATE / stock", "ate_ratio", ".2f", PARALLAX | {REAL}, at_most=1.1),
    Row("all seconds", "seconds", ".0f", ALL | {REAL}),
    Row("peak memory of a process (GiB)", "peak_gib", ".2f", ALL | {REAL}, at_most=3.0),
)


def table(columns: Mapping[str, Figures]) -> str:
    """Markdown: a row per figure that any of the shots should have, a column per shot."""
    lines = ["| figure | " + " | ".join(columns) + " | goal |", "|---" * (len(columns) + 2) + "|"]
    for row in ROWS:
        if row.shots & columns.keys():
            cells = [row.cell(shot, figures) for shot, figures in columns.items()]
            lines.append(f"| {row.heading} | " + " | ".join(cells) + f" | {row.goal} |")
    lines += [f"\n{shot}: {figures['error']}" for shot, figures in columns.items() if "error" in figures]
    return "\n".join(lines)
