"""Turn values into text for people, and into JSON for programs."""
