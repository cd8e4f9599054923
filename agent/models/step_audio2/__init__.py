"""Step-Audio 2 mini: hears, answers in interleaved text and speech tokens, calls tools."""
