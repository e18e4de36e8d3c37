"""``python -m services.artifacts.gc``: shrink the store to its cap; what was used longest ago goes first.

What a running job reads, or a server keeps as a result, stays.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from services.artifacts.store import Store
from services.config import load


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.artifacts.gc", description=__doc__)
    parser.add_argument("--config", default="cpu")
    parser.add_argument("--store", help="folder of the store; default: the configuration's")
    parser.add_argument("--cap-bytes", type=int, help="shrink to this size; default: the configuration's")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    config = load(options.config).store
    store = Store(options.store or config.location, config.cap_bytes)
    done = store.collect(options.cap_bytes)
    words = (
        f"removed {done.removed} outputs ({done.freed_bytes / 2**20:.1f} MiB), "
        f"kept {done.kept} ({done.kept_bytes / 2**20:.1f} MiB) in {store.root}"
    )
    sys.stdout.write((json.dumps(asdict(done)) if options.json else words) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
