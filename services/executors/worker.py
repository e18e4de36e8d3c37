"""The worker: ``python -m services.executors.worker --fd N``, started by an executor, runs one task.

It reads one ``Assignment`` from the channel, sends messages while it works, and ends with one of

    {"kind": "result", "metadata", "timings"}
    {"kind": "error", "error"}               see ``services.errors.as_data``
"""

from __future__ import annotations

from services import log
from services.artifacts.stages import HelpDone, JobContext
from services.artifacts.store import Store
from services.config import frugal
from services.errors import InternalError
from services.executors import registry
from services.executors.base import Assignment, Message
from services.executors.channel import Channel, answer, leave, resolve
from services.failpoints import failpoint


def main() -> None:
    channel = Channel.from_arguments()
    assignment: Assignment = channel.receive()
    channel.listen()
    log.set_up(job=assignment.task.job)
    channel.send(answer(lambda: run(assignment, channel), assignment.log_file))
    leave()


def run(assignment: Assignment, channel: Channel) -> Message:
    failpoint("worker.begin")
    task, config = assignment.task, assignment.config
    pipelines = registry.load(config.server.registry).PIPELINES
    if task.kind not in pipelines:
        raise InternalError(f"kind: expected one of {' '.join(pipelines)}, got {task.kind}")
    store = Store(config.store.location, config.store.cap_bytes, config.store.remote)
    settings = frugal(config.settings) if task.frugal else config.settings
    context = JobContext(store, settings, channel.send, channel.cancelled.is_set, task.salt, task.owner, task.helper)
    try:
        metadata = resolve(pipelines[task.kind])(task.request, context)
    except HelpDone:
        metadata = {}
    finally:
        context.close()
    failpoint("worker.result")
    return {"kind": "result", "metadata": metadata, "timings": context.timings}


if __name__ == "__main__":
    main()
