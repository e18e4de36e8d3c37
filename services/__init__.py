"""The front door, jobs and pipelines: converts, orders, stores; no maths of its own."""
