"""Why a clip could not be solved, and what would help.

    ReconstructError
      TooFewFrames    less than a clip
      TooFewFeatures  nothing to follow: black, blurred, or blank
      NoParallax      the camera stood still or only turned
      SolveFailed     it moved, but no solution passed the gate
      DistanceNotSeen a measurement that gives scale does not hit the scene
"""

from __future__ import annotations


class ReconstructError(Exception):
    """``hint`` says what the user can do about it."""

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message}. {hint}")


class TooFewFrames(ReconstructError):
    pass


class TooFewFeatures(ReconstructError):
    pass


class NoParallax(ReconstructError):
    pass


class SolveFailed(ReconstructError):
    pass


class DistanceNotSeen(ReconstructError):
    pass
