"""Dense depth with confidence from known cameras, and the mesh fused from it."""
