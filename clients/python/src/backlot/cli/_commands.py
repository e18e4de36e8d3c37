"""What each command does. A command takes its arguments and returns the exit code; failures are raised."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from backlot._client import Client, Job
from backlot._embedded import embedded_server, find_application, last_words
from backlot._errors import BacklotError, Unavailable
from backlot.cli._credentials import connect
from backlot.cli._display import display_for, put, put_json, tell
from backlot.cli._inputs import check_inputs, check_output

CANCEL_S = 15.0  # how long Ctrl-C waits for the running step, so that finished work is kept
# What a person wants to look at first, in this order; commands leave different ones.
HIGHLIGHTS = ("contact_sheet.png", "composite.mp4", "video.mp4", "plate.mp4", "preview.mp4")


def run_job(arguments: argparse.Namespace) -> int:
    """A command that starts a job and waits for its files."""
    check_inputs(arguments.request)
    check_output(arguments.out)
    with _connection(arguments) as client, display_for(arguments.json) as display:
        # Nothing can be cancelled before the job has a name: up to there Ctrl-C just ends the command.
        job = client.submit(arguments.request, on_upload=display.upload)
        try:
            job.download(arguments.out, display.event)
        except KeyboardInterrupt:
            return _interrupted(job)
    _conclude(job, arguments)
    return 0


@contextlib.contextmanager
def _connection(arguments: argparse.Namespace) -> Iterator[Client]:
    if arguments.server:
        with connect(arguments) as client:
            yield client
        return
    with embedded_server(arguments.config) as server, server.connect() as client:
        try:
            yield client
        except Unavailable as error:
            if server.alive:
                raise
            raise BacklotError(f"the server died:\n{last_words(server.log)}", reason=error.reason) from error


def _interrupted(job: Job) -> int:
    """Cancels, and waits a moment for the running step to end; a second Ctrl-C does not wait."""
    tell("cancelling: keeping finished stages (Ctrl-C again to leave at once)")
    with contextlib.suppress(KeyboardInterrupt, BacklotError):
        job.cancel()
        for _ in job.watch(timeout_s=CANCEL_S):
            pass
    tell("cancelled: run the same command again to go on")
    return 130


def _conclude(job: Job, arguments: argparse.Namespace) -> None:
    """The last line: where to look."""
    written = [str(Path(arguments.out, name)) for name in HIGHLIGHTS if Path(arguments.out, name).is_file()]
    if arguments.json:
        put_json({"result": {"job": job.name, "out": os.path.abspath(arguments.out), "look_at": written}})
    else:
        put("  ".join(written) or arguments.out)


def serve(arguments: argparse.Namespace) -> int:
    application = find_application()
    listen = ("--listen", arguments.listen) if arguments.listen else ()
    return _run_here(application.command("services.server", *listen, "--config", arguments.config), application.root)


def doctor(arguments: argparse.Namespace) -> int:
    application = find_application()
    return _run_here(application.command("services.doctor", *arguments.rest), application.root)


def collect_garbage(arguments: argparse.Namespace) -> int:
    application = find_application()
    return _run_here(application.command("services.artifacts.gc", *arguments.rest), application.root)


def _run_here(command: list[str], root: Path) -> int:
    """Runs a program of the application in the foreground; it handles Ctrl-C itself."""
    process = subprocess.Popen(command, cwd=root)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def list_jobs(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        for job in client.jobs():
            if arguments.json:
                put_json(job.as_json())
            else:
                created = job.created.astimezone().strftime("%Y-%m-%d %H:%M")
                marks = "".join(f"  [{word}]" for word in ("paused", "pinned") if getattr(job, word))
                state = f"{job.state.value:<9}  {job.fraction:4.0%}"
                put(f"{job.name}  {job.kind:<11}  {state}  {created}  {job.priority:>3}  {job.stage}{marks}")
    return 0


def watch(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client, display_for(arguments.json) as display:
        client.job(arguments.name).wait(display.event)
    return 0


def get(arguments: argparse.Namespace) -> int:
    check_output(arguments.out)
    with connect(arguments) as client, display_for(arguments.json) as display:
        job = client.job(arguments.name)
        job.download(arguments.out, display.event)
    _conclude(job, arguments)
    return 0


def cancel(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.job(arguments.name).cancel()
    return 0


def pause(arguments: argparse.Namespace) -> int:
    """``pause`` and ``resume``, of a job or of the caller's queue."""
    paused = arguments.command == "pause"
    with connect(arguments) as client:
        if arguments.name:
            client.job(arguments.name).update(paused=paused)
            return 0
        queue = client.pause(paused)
        if arguments.json:
            put_json(dataclasses.asdict(queue))
        else:
            put(f"queue: {'paused' if queue.paused else 'goes on'}, {queue.queued} waiting, {queue.running} running")
    return 0


def set_priority(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.job(arguments.name).update(priority=arguments.priority)
    return 0


def pin(arguments: argparse.Namespace) -> int:
    """``pin`` and ``unpin``."""
    with connect(arguments) as client:
        client.job(arguments.name).update(pinned=arguments.command == "pin")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "reconstruct": run_job,
    "import": run_job,
    "insert": run_job,
    "masks": run_job,
    "previs": run_job,
    "plate": run_job,
    "serve": serve,
    "jobs": list_jobs,
    "watch": watch,
    "get": get,
    "cancel": cancel,
    "pause": pause,
    "resume": pause,
    "priority": set_priority,
    "pin": pin,
    "unpin": pin,
    "doctor": doctor,
    "gc": collect_garbage,
}
