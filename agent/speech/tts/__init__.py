"""Speech synthesis: the `Synthesizer` protocol, its engines, and the text work before them."""
