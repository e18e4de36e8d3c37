"""Scene or mesh to G-buffers and beauty."""
