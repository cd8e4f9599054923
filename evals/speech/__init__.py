"""Sound in evaluations: users who speak, lines that are bad, recordings, and what is measured on them."""
