"""Turn values into text and pages for people, and into JSON for programs."""
