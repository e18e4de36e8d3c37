"""The content-addressed store and the cached-stage wrapper."""
