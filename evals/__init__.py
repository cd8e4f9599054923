"""Evaluations: scripted conversations with an agent, by text or by voice, checked and counted."""
