"""Tells the environment where the application lies, so that `backlot` works from any folder."""

import sys
from pathlib import Path

record = Path(sys.prefix) / "share" / "backlot" / "root"
record.parent.mkdir(parents=True, exist_ok=True)
record.write_text(f"{Path(__file__).resolve().parent.parent}\n")
