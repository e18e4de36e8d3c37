"""Learned masks of what clicks, boxes or painted masks show."""
