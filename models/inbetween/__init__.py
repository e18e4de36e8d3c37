"""Clips between two anchors by video diffusion."""
