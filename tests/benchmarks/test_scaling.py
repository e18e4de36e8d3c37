"""The model of many workers, against cases that can be worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks.scaling import Run, Workload, mean_wait_s, waiting_share, workload, workload_by_cpu


def test_erlang_c() -> None:
    assert waiting_share(1, 0.8) == pytest.approx(0.8)  # M/M/1: the share of time that the server is busy
    assert waiting_share(2, 0.8) == pytest.approx(2 * 0.8**2 / 1.8)
    assert mean_wait_s(1, 0.5, 10.0) == pytest.approx(10.0)  # rho / (1 - rho) of a job


def test_one_job() -> None:
    job = Workload(serial_s=10, chunks=24, chunk_s=2, start_s=1, chunk_mib=50)
    assert job.seconds(1, 1e9) == pytest.approx(58)
    assert job.seconds(2, 1e9) == pytest.approx(10 + 24 + 1)
    assert job.seconds(1000, 1e9) == pytest.approx(10 + 2 + 1)
    assert job.seconds(1000, 240) == pytest.approx(10 + 10)  # 2.4 GB through the store


def test_what_limits_a_cluster() -> None:
    job = Workload(serial_s=10, chunks=24, chunk_s=2, start_s=1, chunk_mib=50)
    assert job.jobs_per_hour(4, 1e9, 1e9) == pytest.approx(4 * 3600 / 58)
    assert job.jobs_per_hour(1000, 2400, 1e9) == pytest.approx(3600)
    assert job.jobs_per_hour(1000, 1e9, 290) == pytest.approx(3600)  # 58 of the 1,000 workers' events find room


def test_what_explains_two_runs() -> None:
    one, two = Run(100.0, 50.0, 80.0, 8, 30.0), Run(63.0, 52.0, 40.0, 8, 30.0)
    assert workload(one, two) == Workload(serial_s=20.0, chunks=8, chunk_s=10.0, start_s=3.0, chunk_mib=30.0)
    by_cpu = workload_by_cpu(one, two)  # it had half a core
    assert by_cpu == Workload(serial_s=10.0, chunks=8, chunk_s=5.0, start_s=2.0, chunk_mib=30.0)
