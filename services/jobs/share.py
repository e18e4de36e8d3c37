"""Whose job is next: tenants get the machine in proportion to their shares.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queuing", 1996) over slot seconds: a tenant's level is
what it has used, divided by its share, and the lowest level among those who wait is served next. Who comes back after
a pause starts at the level of those who are there: time that nobody wanted is not owed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

LEAST_CHARGE_S = 1.0  # of a job that runs, from its first moment on: slots that are free together are shared out


class FairShare:
    """``share_of(tenant)`` > 0; ``clock`` in seconds. Forgotten with the process."""

    def __init__(self, share_of: Callable[[str], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._share_of, self._clock = share_of, clock
        self._level_of_ended: dict[str, float] = {}
        self._running: dict[str, tuple[str, float]] = {}  # job -> tenant, when it began
        self._active: set[str] = set()

    def begin(self, job: str, tenant: str) -> None:
        self._running[job] = tenant, self._clock()

    def end(self, job: str) -> None:
        tenant, begun = self._running.pop(job)
        cost = (self._clock() - begun) / self._share_of(tenant)
        self._level_of_ended[tenant] = self._level_of_ended.get(tenant, 0.0) + cost

    def running(self) -> Counter[str]:
        """How many jobs each tenant has running."""
        return Counter(tenant for tenant, _ in self._running.values())

    def next(self, waiting: Iterable[str]) -> str | None:
        """Who of those that wait, and may have another job running, is served next."""
        waiting = set(waiting)
        active = waiting | set(self.running())
        floor = min(map(self._level, active & self._active), default=0.0)
        for tenant in active - self._active:
            self._level_of_ended[tenant] = max(self._level_of_ended.get(tenant, 0.0), floor)
        self._active = active
        return min(waiting, key=lambda tenant: (self._level(tenant), tenant), default=None)

    def _level(self, tenant: str) -> float:
        begun = (begun for whose, begun in self._running.values() if whose == tenant)
        running_s = sum(max(self._clock() - time_s, LEAST_CHARGE_S) for time_s in begun)
        return self._level_of_ended.get(tenant, 0.0) + running_s / self._share_of(tenant)
