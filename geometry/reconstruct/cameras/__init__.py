"""Cameras of any clip: a look at it, tracks, and a solver for every kind of shot."""
