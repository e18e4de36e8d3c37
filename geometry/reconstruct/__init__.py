"""Video to ``Scene4D`` without weights."""
