"""Records the application's root in its virtual environment, so that the command line works from any folder."""

import sys
from pathlib import Path

root = Path(__file__).resolve().parents[1]
record = Path(sys.prefix, "share", "backlot", "root")
record.parent.mkdir(parents=True, exist_ok=True)
record.write_text(f"{root}\n", encoding="utf-8")
