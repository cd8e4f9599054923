"""How fast Step-Audio 2 mini is, with random weights of full size: no checkpoint is needed, and nothing is downloaded.

    python -m benchmarks.step_audio [--tiny] [--device cuda|cpu] [--only NAME,...] [--seconds 60] [--out FILE]

Rows: bandwidth, decode, transformers, drawing, prefill, encode, token2wav, weights, first_audio, tool_turn, growth,
sessions. The last takes seven times `--seconds` at most. Where a run may last ten minutes, an H100 needs two:

    python -m benchmarks.step_audio --only bandwidth,decode,transformers,drawing,prefill,encode,token2wav,weights
    python -m benchmarks.step_audio --only first_audio,tool_turn,growth,sessions --seconds 20 --out talk.json

The sizes are those of mini on CUDA; with `--tiny`, and on a CPU, they are tiny, which says nothing about speed and
keeps this program working. The rows that talk need the config and the tokenizer of the checkpoint (`--tokenizer
FOLDER`; 6 MB, by default `$SAYSO_SHARED/step-audio-2-mini`), and nothing else of it. A row that fails says so, and the
others go on; the file is written anew after each row, so that a run that is cut off leaves what it has.

Random weights talk no sense, so what is said is forced: a reply's text ids are given, and its audio ids may be any code
(the network chooses which); a call is opened for the network, and its grammar leaves only legal arguments. The time
that this takes (a mask an id) is in the figures.
"""
