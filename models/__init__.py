"""Swappable backends, one folder per kind, one file per backend."""
