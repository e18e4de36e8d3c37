"""Files other tools open: USD, COLMAP, nerfstudio, Nuke."""
