"""Vision geometry: arrays in, arrays out; imports nothing else of Backlot."""
