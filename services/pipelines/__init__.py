"""Each job as an ordered list of stages."""
