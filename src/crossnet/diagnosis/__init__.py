"""Where a flow stops, why, and what to do: what was seen of it, joined with what facts tell."""
