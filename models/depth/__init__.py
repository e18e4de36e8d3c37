"""Learned depth of single pictures, and its alignment to a scene."""
