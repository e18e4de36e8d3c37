"""Swappable backends, one folder per kind, one file per backend. Importing a module here loads no torch."""
