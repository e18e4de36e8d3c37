"""What a person or a program sees while a job runs: bars on a terminal, lines in a log, JSON on request."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Any, Protocol

from backlot._errors import BacklotError
from backlot._events import Event, error_as_json
from backlot.cli._inputs import flag_of


class Display(Protocol):
    """Used as a context manager around a job."""

    def upload(self, there_bytes: int, total_bytes: int) -> None: ...

    def event(self, event: Event) -> None: ...

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display_for(as_json: bool) -> Display:
    if as_json:
        return _JsonLines()
    return _Bars() if sys.stderr.isatty() else _Lines()


def put(message: str) -> None:
    """For standard output: what was asked for."""
    print(message, flush=True)


def put_json(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def tell(message: str) -> None:
    """For standard error: what happens meanwhile."""
    print(message, file=sys.stderr, flush=True)


def report_error(error: BacklotError, as_json: bool) -> None:
    if as_json:
        put_json({"error": error_as_json(error)})
    tell(f"error: {in_flags(error)}")


def in_flags(error: BacklotError) -> str:
    """The message, with the flag instead of the request's field where it names one."""
    message = str(error)
    field = error.field or message.partition(":")[0]  # what a server lacks names the field too
    if message.startswith(f"{field}:"):
        return flag_of(field) + message.removeprefix(field)
    return f"{flag_of(field)}: {message}" if error.field else message


class _Quiet:
    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def upload(self, there_bytes: int, total_bytes: int) -> None:
        pass


class _JsonLines(_Quiet):
    def event(self, event: Event) -> None:
        put_json(event.as_json())


class _Lines(_Quiet):
    """A line per stage, for logs."""

    _stage = ""

    def event(self, event: Event) -> None:
        if event.stage and event.stage != self._stage:
            self._stage = event.stage
            tell(f"[{event.fraction:4.0%}] {event.stage}")
        if event.warning:
            tell(f"warning: {event.warning}")


class _Bars:
    """A bar for the whole job that names the running stage."""

    def __init__(self) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        except ImportError as error:
            raise BacklotError("the command line needs rich: pip install 'backlot[cli]'") from error
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[steps]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("starting", total=1.0, steps="")

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def upload(self, there_bytes: int, total_bytes: int) -> None:
        megabytes = f"{there_bytes / 1e6:.0f}/{total_bytes / 1e6:.0f} MB"
        share = there_bytes / max(total_bytes, 1)
        self._progress.update(self._task, completed=share, description="uploading", steps=megabytes)

    def event(self, event: Event) -> None:
        steps = f"{event.done}/{event.total}" if event.total else ""
        description = event.stage or event.state.value
        self._progress.update(self._task, completed=event.fraction, description=description, steps=steps)
        if event.warning:
            self._progress.console.print(f"warning: {event.warning}", markup=False, highlight=False)
