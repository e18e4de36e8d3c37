"""Tenants, executor and cluster in the configuration."""

from __future__ import annotations

import pytest

from services.config import PrevisSettings, Settings, TenantConfig, frugal, load
from services.errors import InvalidRequest


def test_tenants_are_named_in_the_configuration() -> None:
    config = load("cluster", ["server.tenants.studio.share=2.5", "server.tenants.studio.running_limit=3"])
    assert config.server.tenants == {"studio": TenantConfig(share=2.5, running_limit=3)}
    assert (config.server.executor, config.ray.address) == ("ray", "auto")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("server.tenants.studio.share=0", r"server\.tenants\.studio\.share: expected > 0, got 0"),
        ("server.tenants.studio.queue_limit=-1", r"server\.tenants\.studio\.queue_limit: expected >= 0, got -1"),
        ("server.tenants.studio.wrong=1", r"server\.tenants\.studio\.wrong"),
        ("server.executor=slurm", r"server\.executor: expected local or ray, got slurm"),
    ],
)
def test_wrong_values_are_named(override: str, key: str) -> None:
    with pytest.raises(InvalidRequest, match=key):
        load("cpu", [override])


def test_less_memory_where_there_is_a_way() -> None:
    assert frugal(Settings()) == Settings()  # the embedded backends have no tiles
    learned = Settings(previs=PrevisSettings(anchors_backend="some-checkpoint"))
    assert frugal(learned).models.runtime.vae_tiling
    assert frugal(frugal(learned)) == frugal(learned)
