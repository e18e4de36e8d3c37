"""Why a clip could not be solved, and what would help.

    ReconstructError
      TooFewFrames    less than a clip
      TooFewFeatures  nothing to follow: black, blurred, or blank
      SizeChanged     the pictures are not all of one size
      HasCuts         several shots in one clip
      SolveFailed     no solution passed the gate: its path, or its turns, were not found
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


class SizeChanged(ReconstructError):
    pass


class HasCuts(ReconstructError):
    """``cuts`` are the frames that begin a new shot."""

    def __init__(self, message: str, hint: str, cuts: tuple[int, ...]) -> None:
        self.cuts = cuts
        super().__init__(message, hint)


class SolveFailed(ReconstructError):
    pass


class DistanceNotSeen(ReconstructError):
    pass
