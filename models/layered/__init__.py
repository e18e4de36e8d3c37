"""Pictures taken apart into layers by a learned model."""
