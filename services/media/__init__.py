"""Clips, image sequences, EXR, colour, encoding."""
