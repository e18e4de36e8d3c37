"""Learned and embedded ways to paint what is missing in a picture."""
