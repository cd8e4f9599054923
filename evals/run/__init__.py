"""Running scenarios: units, seeds, modes, processes, resume."""
