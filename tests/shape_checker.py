"""The run-time type checker of ``conftest.py``."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# An int is a float where a float is wanted, as for mypy.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
