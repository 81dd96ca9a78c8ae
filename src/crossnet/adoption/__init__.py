"""What was made by hand: the crossings that it amounts to, the spec that says them, and what is wider than needed."""
