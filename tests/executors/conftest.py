"""Executors to try: the one of this machine, and, where Ray is installed and slow tests are asked for, a cluster's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.config import Config
from services.executors.base import Executor
from services.executors.local import LocalExecutor


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest, config: Config, tmp_path: Path) -> Iterator[Executor]:
    if request.param == "local":
        yield LocalExecutor(config, tmp_path / "server", tmp_path / "logs")
        return
    address = request.getfixturevalue("cluster")
    from services.executors.ray_executor import RayExecutor

    on_cluster = RayExecutor(replace(config, ray=replace(config.ray, address=address)), tmp_path / "logs")
    yield on_cluster
    on_cluster.close()
