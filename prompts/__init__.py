"""Prompts: one text file per prompt and language, and their loader."""
