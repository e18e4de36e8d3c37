"""Journal, runner, events, cancellation."""
