"""Pictures painted from an example: surfaces unrolled into charts, filled patch by patch, and lit again."""
