"""``python -m backlot.cli`` is ``backlot``."""

import sys

from backlot.cli import main

sys.exit(main())
