"""Tenants get their shares, in a simulated day of jobs of very different lengths."""

from __future__ import annotations

import numpy as np
import pytest

from services.jobs.share import FairShare


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _served(shares: dict[str, float], lengths_s: dict[str, float], slots: int, until_s: float) -> dict[str, float]:
    """Slot seconds of tenants that always have jobs waiting."""
    clock, random = Clock(), np.random.default_rng([5])
    fair = FairShare(shares.__getitem__, clock)
    used, ends = dict.fromkeys(shares, 0.0), list[tuple[float, str]]()
    number = 0
    while clock.now_s < until_s:
        while len(ends) < slots:
            tenant = fair.next(shares)
            assert tenant is not None
            length_s = float(random.exponential(lengths_s[tenant]))
            fair.begin(f"{tenant} {number}", tenant)
            ends.append((clock.now_s + length_s, f"{tenant} {number}"))
            used[tenant] += length_s
            number += 1
        ends.sort()
        clock.now_s, job = ends.pop(0)
        fair.end(job)
    return used


@pytest.mark.parametrize(("slots", "unit_s"), [(1, 1.0), (3, 1.0), (1, 0.01)])
def test_two_tenants_with_jobs_of_different_lengths(slots: int, unit_s: float) -> None:
    used = _served({"a": 1, "b": 1}, {"a": 10 * unit_s, "b": 300 * unit_s}, slots, 200_000 * unit_s)
    assert used["a"] / (used["a"] + used["b"]) == pytest.approx(0.5, rel=0.1)


def test_unequal_shares() -> None:
    used = _served({"a": 3, "b": 1}, {"a": 60, "b": 60}, 2, 100_000)
    assert used["a"] / (used["a"] + used["b"]) == pytest.approx(0.75, rel=0.1)


def test_who_was_away_is_not_owed_anything() -> None:
    clock = Clock()
    fair = FairShare(lambda tenant: 1.0, clock)
    for number in range(100):
        assert fair.next({"busy"}) == "busy"
        fair.begin(str(number), "busy")
        clock.now_s += 10
        fair.end(str(number))
    order = []
    for number in range(100, 110):
        tenant = fair.next({"busy", "back"})
        assert tenant
        order.append(tenant)
        fair.begin(str(number), tenant)
        clock.now_s += 10
        fair.end(str(number))
    assert order.count("back") == 5


def test_slots_that_are_free_together_go_to_different_tenants() -> None:
    fair = FairShare(lambda tenant: 1.0, Clock())
    chosen = []
    for number in range(4):
        tenant = fair.next({"a", "b"})
        assert tenant
        fair.begin(str(number), tenant)
        chosen.append(tenant)
    assert sorted(chosen) == ["a", "a", "b", "b"]
    assert fair.running() == {"a": 2, "b": 2}


def test_nobody_waits() -> None:
    assert FairShare(lambda tenant: 1.0).next(()) is None
