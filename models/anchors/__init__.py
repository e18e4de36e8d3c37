"""Anchor views painted by image diffusion."""
