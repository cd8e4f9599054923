"""Voices and sounds that can be searched: by words, by measured figures, and by likeness to a clip."""
