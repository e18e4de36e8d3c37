"""Pictures from words, and from conditions beside them."""
