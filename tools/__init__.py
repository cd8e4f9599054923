"""Tools: what they are and how they run."""
