"""Clips between two anchors."""
