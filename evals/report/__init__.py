"""Reports of runs: one HTML page, JUnit XML, Markdown and the terminal."""
