"""sayso: voice agents that call tools."""
