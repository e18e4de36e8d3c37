"""The command line ``backlot``.

Exit codes: 0 the output was written, 1 it failed, 2 bad input (the field is named), 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from backlot._errors import BacklotError, InvalidRequest
from backlot.cli._arguments import parse
from backlot.cli._commands import COMMANDS
from backlot.cli._display import report_error


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; ``argv`` without the program's name."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        return COMMANDS[arguments.command](arguments)
    except BacklotError as error:
        report_error(error, as_json=getattr(arguments, "json", False))
        return 2 if isinstance(error, InvalidRequest) else 1
    except OSError as error:  # writing results: a full disk, a folder that has vanished
        report_error(BacklotError(str(error), reason="IO"), as_json=getattr(arguments, "json", False))
        return 1
    except KeyboardInterrupt:
        return 130
