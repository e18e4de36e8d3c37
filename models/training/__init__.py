"""Training: a style from one picture, conditions for a video model. One process; resumes where it was stopped."""
