"""Stills taken apart into layers, and layers seen by a moving camera."""
