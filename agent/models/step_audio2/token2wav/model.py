"""Token to wave: the second half of Step-Audio 2's voice, from speech tokens and a prompt voice to 24 kHz samples."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sayso.errors import UsageError
from sayso.models.step_audio2.arithmetic import as_written, without_plans
from sayso.models.step_audio2.clips import default_clips
from sayso.models.step_audio2.token2wav.acoustics import LOG_MEL_BINS
from sayso.models.step_audio2.token2wav.campplus import SpeakerNet
from sayso.models.step_audio2.token2wav.files import fill, read_tensors
from sayso.models.step_audio2.token2wav.flow import Flow, FlowState, Prompt, Window
from sayso.models.step_audio2.token2wav.graphs import PRIORITY
from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.noise import (
    Noise,
    SeededNoise,
    TableNoise,
    prompt_noise,
    reference_table,
)
from sayso.models.step_audio2.token2wav.s3 import HEAD_WIDTH, SpeechTokenizer
from sayso.models.step_audio2.token2wav.s3_onnx import read_weights
from sayso.models.step_audio2.token2wav.sizes import (
    FRAMES_PER_TOKEN,
    SAMPLES_PER_FRAME,
    HiftSizes,
    S3Sizes,
    read_flow_sizes,
)
from sayso.models.step_audio2.token2wav.stream import (
    CHUNK_TOKENS,
    Chunk,
    Feed,
    Samples,
    Stream,
    batches,
    checked_ids,
    run_batch,
)
from sayso.models.step_audio2.token2wav.together import Together
from sayso.models.step_audio2.token2wav.vocode import blank_state, vocode
from sayso.models.step_audio2.token2wav.voices import (
    Voice,
    VoiceMaker,
    fingerprint,
)
from sayso.speech.audio import Source, load

VOCODER_PREFIX = "generator."
KEPT_VOICES = 4
"""Voices whose prompts are kept on the device: 0.6 GB for 9 s at full size in float32, half of it in half precision."""
ROWS_TOGETHER = 16
"""Streams run together at most."""
_S3_FILE = "speech_tokenizer_v2_25hz.onnx"
_SPEAKER_FILE = "campplus.onnx"


class Token2Wav:
    """The flow model, the vocoder, and what prepares voices. Make one with `load`; safe to use from several threads.

    Args:
        flow: The flow model, filled.
        vocoder: The vocoder, filled and fused, in float32.
        voices: Prepares clips.
        clips: Default voices by name.
        reference_faults: Trim caches, restart phases and share noise as the reference does, for comparison with it.
    """

    def __init__(
        self,
        flow: Flow,
        vocoder: Vocoder,
        voices: VoiceMaker,
        clips: dict[str, Path],
        *,
        reference_faults: bool = False,
    ) -> None:
        self.flow, self.vocoder = flow, vocoder
        self._voices, self._clips = voices, clips
        self._window = Window(reference_faults=reference_faults)
        self._table = reference_table() if reference_faults else None
        self._primed: OrderedDict[str, FlowState] = OrderedDict()
        self._lock, self._preparing = threading.RLock(), threading.Lock()
        self._together = Together(
            lambda chunks: batches(chunks, rows=ROWS_TOGETHER, fixed_shapes=flow.fixed_shapes), self._run
        )
        self._stream = _own_stream(flow.encoder_proj.weight.device)
        without_plans(flow.encoder_proj.weight.device)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        fixed_shapes: bool | None = None,
        reference_faults: bool = False,
        voices_folder: Path | None = None,
    ) -> Token2Wav:
        """Load the folder ``token2wav`` of a checkpoint.

        Args:
            folder: With ``flow.yaml``, ``flow.pt``, ``hift.pt``, and, for voices that are not prepared yet,
                ``campplus.onnx`` and ``speech_tokenizer_v2_25hz.onnx``.
            device: Where the flow model and the vocoder run.
            dtype: Of the flow model; the vocoder stays in float32.
            fixed_shapes: Run the estimator of streams at fixed shapes, as CUDA graphs; by default where there is CUDA.
            reference_faults: See `Token2Wav`.
            voices_folder: Where prepared voices are kept; None keeps none on disk.

        Raises:
            ModelMissingError: A file or package is missing.
            UsageError: A file is not what it should be.
        """
        folder, device = Path(folder), torch.device(device)
        with torch.device("meta"):
            flow = Flow(read_flow_sizes(folder / "flow.yaml"))
        flow_path, vocoder_path = folder / "flow.pt", folder / "hift.pt"
        flow = fill(flow, read_tensors(flow_path), flow_path).to(device, dtype)
        weights = read_tensors(vocoder_path, VOCODER_PREFIX)
        with torch.device("meta"):
            vocoder = Vocoder(_hift_sizes(weights, vocoder_path))
        vocoder = fill(vocoder, weights, vocoder_path).to(device, torch.promote_types(dtype, torch.float32)).fused()
        if device.type == "cuda" if fixed_shapes is None else fixed_shapes:
            flow.use_fixed_shapes()
        s3_path, speaker_path = folder / _S3_FILE, folder / _SPEAKER_FILE
        maker = VoiceMaker(
            _LazyTokenizer(s3_path).tokenize,
            SpeakerNet(speaker_path).embed,
            fingerprint(s3_path, speaker_path),
            voices_folder,
        )
        return cls(flow, vocoder, maker, default_clips(folder), reference_faults=reference_faults)

    @property
    def default_voices(self) -> list[str]:
        """The names that `voice` takes."""
        return list(self._clips)

    def voice(self, clip: Source | Voice) -> Voice:
        """Prepare a voice.

        Args:
            clip: The name of a default voice, or a clip: anything that `sayso.speech.audio.load` takes, half a second
                to a minute of one person speaking; a prepared voice is handed back.

        Raises:
            AudioError: The clip cannot be used.
            ModelMissingError: A file or package that prepares voices is missing.
        """
        if isinstance(clip, Voice):
            return clip
        source = self._clips.get(clip, clip) if isinstance(clip, str) else clip
        audio = load(source)
        with self._preparing, as_written(torch.device("cpu")):  # on the CPU: streams go on meanwhile
            return self._voices.prepare(audio)

    def stream(
        self,
        voice: Source | Voice,
        *,
        seed: int = 0,
        first_chunk_tokens: int = CHUNK_TOKENS,
        noise: Noise | None = None,
    ) -> Stream:
        """Open a stream.

        Args:
            voice: See `voice`.
            seed: Of its random numbers; the same seed and tokens give the same samples.
            first_chunk_tokens: 1 to 25. The first samples come once so many tokens and three more are there; eight
                frames (160 ms) of them are held back, so 5 and fewer give nothing before the second chunk.
            noise: Random numbers of your own, for comparisons.

        Raises:
            UsageError: The first chunk's length is out of range.
        """
        if not 1 <= first_chunk_tokens <= CHUNK_TOKENS:
            raise UsageError(
                f"A first chunk of {first_chunk_tokens} tokens cannot be.", f"Pass 1 to {CHUNK_TOKENS} tokens."
            )
        prepared, like = self.voice(voice), next(self.vocoder.parameters())
        with self._running():
            flow, vocoder = self._prime(prepared), blank_state(like.device, like.dtype)
        return Stream(
            self,
            flow,
            vocoder,
            noise or self._noise(seed),
            first_chunk_tokens=first_chunk_tokens,
            lookahead=self.flow.sizes.lookahead,
        )

    def warm_up(self, voice: Source | Voice, *, first_chunk_tokens: int = CHUNK_TOKENS, together: int = 1) -> None:
        """Prepare a voice and speak three seconds for nobody, so that the first answer finds all ready.

        Args:
            voice: See `voice`.
            first_chunk_tokens: As the streams to come will have it.
            together: So many streams may speak at once.
        """
        ids = (0,) * (first_chunk_tokens + 2 * CHUNK_TOKENS + self.flow.sizes.lookahead)
        for rows in (4, 2, 1):  # the largest first: the graphs of the others fit into its memory
            if rows <= max(1, together):
                streams = [self.stream(voice, first_chunk_tokens=first_chunk_tokens) for _ in range(rows)]
                self.advance([Feed(stream, ids) for stream in streams])

    def advance(self, feeds: Sequence[Feed]) -> list[Samples]:
        """Feed several streams at once; equal chunks are run together, those of other threads that wait too.

        Args:
            feeds: At most one a stream.

        Returns:
            The samples that are due, float32 at 24 kHz, for each feed.

        Raises:
            UsageError: An id is no speech token, or a stream is over or fed twice; then nothing was fed.
        """
        checked = [checked_ids(feed.ids) for feed in feeds]
        if len({id(feed.stream) for feed in feeds}) < len(feeds):
            raise UsageError("A stream is fed twice at once.", "Join its ids.")
        for feed in feeds:
            feed.stream.check()
        for feed, ids in zip(feeds, checked, strict=True):
            feed.stream.add(ids, last=feed.last)
        return [_concatenated(parts) for parts in self._together.serve([feed.stream for feed in feeds])]

    def _run(self, batch: Sequence[Chunk]) -> list[tuple[Chunk, Samples]]:
        with self._running():
            return run_batch(self.flow, self.vocoder, batch, self._window)

    def synthesize(self, ids: Iterable[int], voice: Source | Voice, *, seed: int = 0) -> Samples:
        """Speak a whole token sequence at once: see `synthesize_batch`."""
        return self.synthesize_batch([ids], [voice], seeds=[seed])[0]

    def synthesize_batch(
        self, ids: Sequence[Iterable[int]], voices: Sequence[Source | Voice], *, seeds: Sequence[int] | None = None
    ) -> list[Samples]:
        """Speak whole token sequences at once.

        Args:
            ids: Speech tokens, 0 to 6560 each.
            voices: One for each.
            seeds: One for each; all 0 if None.

        Returns:
            float32 samples at 24 kHz, 960 a token.

        Raises:
            UsageError: An id is no speech token, or the numbers of sequences, voices and seeds differ.
        """
        sequences = [checked_ids(sequence) for sequence in ids]
        seeds = [0] * len(sequences) if seeds is None else seeds
        if not len(sequences) == len(voices) == len(seeds):
            raise UsageError(
                f"{len(sequences)} sequences, {len(voices)} voices and {len(seeds)} seeds do not match.",
                "Pass one voice and one seed for each sequence.",
            )
        prepared = [self.voice(voice) for voice in voices]
        out = [np.zeros(0, np.float32) for _ in sequences]
        places = [place for place, sequence in enumerate(sequences) if sequence]
        if places:
            with self._running():
                made = self._whole(
                    [sequences[p] for p in places], [prepared[p] for p in places], [seeds[p] for p in places]
                )
            for place, samples in zip(places, made, strict=True):
                out[place] = samples
        return out

    @torch.inference_mode()
    def _whole(self, sequences: Sequence[list[int]], voices: Sequence[Voice], seeds: Sequence[int]) -> list[Samples]:
        device = self.flow.encoder_proj.weight.device
        sources = [self._noise(seed) for seed in seeds]
        starts: list[Tensor] = []
        for sequence, voice, source in zip(sequences, voices, sources, strict=True):
            prompt = len(voice.mel)
            own = source.frames(FRAMES_PER_TOKEN * len(sequence), prompt)
            starts.append(torch.cat([self._prompt_noise(prompt), own]).to(device))
        tokens = [torch.tensor(sequence, device=device) for sequence in sequences]
        mels = self.flow.mel([self._prompt(voice) for voice in voices], tokens, starts)
        like = next(self.vocoder.parameters())
        samples: list[Samples] = []
        for mel, source in zip(mels, sources, strict=True):  # one by one: padding would sound into their ends
            noise = source.samples(len(mel) * SAMPLES_PER_FRAME).to(like)
            samples.append(vocode(self.vocoder, mel[None].to(like), noise[None])[0].float().cpu().numpy())
        return samples

    def _noise(self, seed: int) -> Noise:
        return SeededNoise(seed) if self._table is None else TableNoise(self._table, seed)

    def _prompt_noise(self, frames: int) -> Tensor:
        return prompt_noise(frames) if self._table is None else self._table[:frames]

    def _prompt(self, voice: Voice) -> Prompt:
        device = self.flow.encoder_proj.weight.device
        tokens, mel, speaker = (torch.as_tensor(a).to(device) for a in (voice.tokens, voice.mel, voice.speaker))
        return Prompt(tokens, mel, speaker)

    def _prime(self, voice: Voice) -> FlowState:
        state = self._primed.pop(voice.key, None)
        if state is None:
            prompt = self._prompt(voice)
            state = self.flow.prime(prompt, self._prompt_noise(len(prompt.mel)).to(prompt.mel.device))
        self._primed[voice.key] = state
        while len(self._primed) > KEPT_VOICES:
            self._primed.popitem(last=False)
        return state

    @contextmanager
    def _running(self) -> Generator[None]:
        device = self.flow.encoder_proj.weight.device
        with self._lock, as_written(device), without_tf32(device), torch.cuda.stream(self._stream):
            yield


class _LazyTokenizer:
    """The speech tokenizer, read when the first voice is prepared."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokenizer: SpeechTokenizer | None = None

    def tokenize(self, mel: Tensor) -> Tensor:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._path)
        return self._tokenizer(mel)


def load_tokenizer(path: Path) -> SpeechTokenizer:
    """The speech tokenizer of an ONNX file, on the CPU.

    Raises:
        ModelMissingError: The file or the package ``onnx`` is missing.
        UsageError: The file does not hold it.
    """
    weights = read_weights(path)
    conv = weights.get("encoder.conv1.weight")
    if conv is None or conv.ndim != 3 or conv.shape[1] != LOG_MEL_BINS or conv.shape[0] % HEAD_WIDTH:
        raise UsageError(f"{path} is no speech tokenizer of Step-Audio 2.", "Fetch the file again.")
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.blocks.")})
    with torch.device("meta"):
        tokenizer = SpeechTokenizer(S3Sizes(hidden=conv.shape[0], layers=layers))
    return fill(tokenizer, weights, path)


def _hift_sizes(weights: dict[str, Tensor], path: Path) -> HiftSizes:
    try:
        channels = weights["conv_pre.bias"].shape[0]
        pitch_channels = weights["f0_predictor.classifier.weight"].shape[1]
        return HiftSizes(channels=channels, pitch_channels=pitch_channels)
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"{path} is no vocoder of Step-Audio 2.", "Fetch the file again.") from error


def _own_stream(device: torch.device) -> torch.cuda.Stream | None:
    """A CUDA stream beside the language model's, so that neither waits for the other; None where there is no CUDA."""
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device, priority=PRIORITY)
    stream.wait_stream(torch.cuda.current_stream(device))  # the weights are on their way there
    return stream


@contextmanager
def without_tf32(device: torch.device) -> Generator[None]:
    """Convolutions in float32 as written: cuDNN takes TF32 unless told otherwise."""
    if device.type != "cuda":
        yield
        return
    conv: Any = cast(Any, torch.backends.cudnn).conv
    before = conv.fp32_precision
    conv.fp32_precision = "ieee"
    try:
        yield
    finally:
        conv.fp32_precision = before


def _concatenated(parts: list[Samples]) -> Samples:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
