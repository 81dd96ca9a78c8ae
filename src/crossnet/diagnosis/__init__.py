"""Where a flow stops, why, and what to do."""
