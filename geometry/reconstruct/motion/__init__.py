"""What moves by itself: masks, how far away it is, and its motion in space."""
