"""Speech recognition with Whisper through faster-whisper, at a cost that grows with the length of the clip.

Whisper always looks at 30 s. Most utterances last 3 s, so here only the clip and a little silence are encoded, which
takes a third of the time on a CPU. In such short windows the decoder sometimes starts its sentence again instead of
stopping; `cut_restart` sees that, and a second look through the stock window decides what was said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np

from sayso.errors import AudioError, ModelError, ModelMissingError, UsageError
from sayso.items import Audio, Samples
from sayso.models.transcription import Segment, Task, Word
from sayso.models.whisper_text import NO_SPEECH_LIKELY, cut_restart, is_speech, repeats_itself
from sayso.speech.audio import resample

SAMPLE_RATE_HZ = 16_000
STOCK_WINDOW_S = 30.0
LONGEST_SHORT_CLIP_S = 28.0
SHORTEST_CLIP_S = 0.1
TAIL_S = 2.0
"""Silence after a clip, without which its last word is often lost (measured in ``benchmarks/recognition.py``)."""

SHORTEST_WINDOW_S = 10.0
"""With clip + 2 s alone the decoder starts over in 16 of 43 clips, with at least 10 s in 2, for 0.04 s more."""

_GREEDY: dict[str, Any] = {"beam_size": 1, "temperature": 0.0, "condition_on_previous_text": False}
_SILENCE_PEAK = 1e-4  # -80 dBFS: nothing a microphone gives; Whisper scales it up and hears "you"
_LANGUAGE_SURE = 0.5
_WHISPER_TO_BCP47 = {"jw": "jv"}
_BCP47_TO_WHISPER = {"jv": "jw", "fil": "tl", "nb": "no", "cmn": "zh", "iw": "he"}


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was heard in one clip.

    Attributes:
        text: The words, or "" where there is no speech.
        language: BCP 47 tag, or None where it is not known.
        no_speech_probability: Whisper's own, 0 to 1; 1 where it was not asked because there is nothing to hear.
        average_log_probability: Natural logarithm, mean over tokens; 0 where it was not asked.
    """

    text: str
    language: str | None = None
    no_speech_probability: float = 1.0
    average_log_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the decoder wrote for one window."""

    text: str
    log_probability: float
    no_speech_probability: float
    truncated: bool

    @property
    def runs_away(self) -> bool:
        """It did not stop by itself, or says the same over and over."""
        return self.truncated or repeats_itself(self.text)

    @property
    def is_speech(self) -> bool:
        return is_speech(self.text, self.no_speech_probability, self.log_probability)


class WhisperRecognizer:
    """One Whisper model on the CPU. Blocks while it works; calls from several threads take turns."""

    def __init__(self, folder: Path, *, threads: int = 2, shortest_window_s: float = SHORTEST_WINDOW_S) -> None:
        """Name a model; `load` or the first `transcribe` loads it.

        Args:
            folder: A CTranslate2 Whisper model: ``model.bin``, ``config.json``, ``tokenizer.json``, ``vocabulary.txt``.
            threads: CPU threads to use.
            shortest_window_s: Shorter clips are padded to this many seconds.
        """
        self._folder = folder
        self._threads = threads
        self._shortest_window_s = shortest_window_s
        self._lock = Lock()
        self._model: Any = None

    def load(self) -> None:
        """Load the model if that has not been done.

        Raises:
            ModelMissingError: The folder holds no model, or faster-whisper is not installed.
            ModelError: The files are there and cannot be loaded.
        """
        with self._lock:
            self._load()

    def transcribe(self, audio: Audio, language: str | None = None) -> Recognition:
        """Recognise one clip. Keeps nothing from call to call, so that it can be asked about a growing clip.

        Args:
            audio: Any rate, any length.
            language: BCP 47 tag of what is spoken, or None to detect it; a model for English alone takes only English.

        Raises:
            AudioError: Samples that are not finite, or a rate that cannot be.
            UsageError: The model does not know ``language``.
            ModelMissingError: As `load`.
        """
        samples = _to_16khz(audio)
        with self._lock:
            self._load()
            code = self._code(language)
            if len(samples) < SHORTEST_CLIP_S * SAMPLE_RATE_HZ or np.abs(samples).max() < _SILENCE_PEAK:
                return Recognition("")
            if len(samples) > LONGEST_SHORT_CLIP_S * SAMPLE_RATE_HZ:
                return self._transcribe_long(samples, code)
            return self._transcribe_short(samples, code)

    def write_down(self, audio: Audio, task: Task) -> list[Segment]:
        """Recognise a piece of at most 30 s; what it holds, with times within it.

        Raises:
            UsageError: The model does not know the language, or does not translate.
            AudioError: As `transcribe`.
            ModelMissingError: As `load`.
        """
        plain = not (task.times or task.words or task.translate or task.prompt)
        if plain and audio.seconds <= SHORTEST_WINDOW_S:
            heard = self.transcribe(audio, task.language)
            return [_whole(heard, audio.seconds)] if heard.text else []
        samples = _to_16khz(audio)
        with self._lock:
            self._load()
            code = self._code(task.language)
            if task.translate and not self._model.model.is_multilingual:
                raise UsageError(
                    f"The Whisper model in {self._folder} does not translate.", "Use the multilingual model."
                )
            if len(samples) < SHORTEST_CLIP_S * SAMPLE_RATE_HZ or np.abs(samples).max() < _SILENCE_PEAK:
                return []
            return self._stock(samples, code, task)

    def _stock(self, samples: Samples, code: str | None, task: Task) -> list[Segment]:
        """As faster-whisper does it, with its times."""
        segments, info = self._model.transcribe(
            samples,
            language=code,
            task="translate" if task.translate else "transcribe",
            initial_prompt=task.prompt or None,
            word_timestamps=task.words,
            **_GREEDY,
        )
        sure = code is not None or info.language_probability >= _LANGUAGE_SURE
        language = _bcp47(info.language) if sure else None
        end_s = len(samples) / SAMPLE_RATE_HZ
        found = [(_of_segment(segment), segment) for segment in cast(Iterable[Any], segments)]
        return [_timed(segment, language, end_s) for reading, segment in found if reading.is_speech]

    def _load(self) -> None:
        if self._model is not None:
            return
        if not (self._folder / "model.bin").is_file():
            raise ModelMissingError(f"There is no Whisper model in {self._folder}.", "Fetch it with: sayso models pull")
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise ModelMissingError(
                "Speech recognition needs faster-whisper.", "Install it with: pip install 'sayso[local]'"
            ) from error
        try:
            self._model = WhisperModel(
                str(self._folder), device="cpu", compute_type="int8", cpu_threads=self._threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"The Whisper model in {self._folder} cannot be loaded: {error}", "Check it with: sayso models verify"
            ) from error

    def check(self, language: str | None) -> None:
        """Refuse a language that the model does not know; it is loaded by now.

        Raises:
            UsageError: It does not.
        """
        self._code(language)

    def _code(self, language: str | None) -> str | None:
        """Whisper's name of a language; None asks for detection."""
        if not self._model.model.is_multilingual:
            if language is not None and language.split("-")[0].lower() != "en":
                raise UsageError(
                    f"The Whisper model in {self._folder} hears only English, not {language!r}.",
                    "Use the multilingual model.",
                )
            return "en"
        if language is None:
            return None
        primary = language.split("-")[0].lower()
        code = _BCP47_TO_WHISPER.get(primary, primary)
        if code not in self._model.supported_languages:
            raise UsageError(f"Whisper does not know the language {language!r}.", 'Give a tag such as "en" or "zh".')
        return code

    def _transcribe_short(self, samples: Samples, code: str | None) -> Recognition:
        seconds = len(samples) / SAMPLE_RATE_HZ
        heard = self._encode(samples, max(self._shortest_window_s, seconds + TAIL_S))
        code, language = (code, _bcp47(code)) if code else self._detect(heard)
        first = self._read(heard, code, tokens=6 + 4 * seconds)
        restarted = cut_restart(first.text, truncated=first.truncated) != first.text
        if not restarted and not first.runs_away:
            return _recognition(first, language)
        second = self._read(self._encode(samples, STOCK_WINDOW_S), code, tokens=6 + 8 * seconds)
        if not second.runs_away:
            return _recognition(second, language)
        return _settle(first, second, language)

    def _transcribe_long(self, samples: Samples, code: str | None) -> Recognition:
        """The stock path, window by window; the model's greedy guess alone, so that it is repeatable."""
        segments, info = self._model.transcribe(samples, language=code, **_GREEDY)
        readings = [_of_segment(segment) for segment in cast(Iterable[Any], segments)]
        kept = [reading for reading in readings if reading.is_speech]
        texts = [cut_restart(r.text, truncated=True) if repeats_itself(r.text) else r.text for r in kept]
        scored = kept or readings
        if not scored:
            return Recognition("")
        return Recognition(
            " ".join(texts),
            _bcp47(info.language) if kept and info.language_probability >= _LANGUAGE_SURE else None,
            float(np.mean([reading.no_speech_probability for reading in scored])),
            float(np.mean([reading.log_probability for reading in scored])),
        )

    def _encode(self, samples: Samples, window_s: float) -> Any:
        """The encoder's output for ``samples`` and silence up to ``window_s``."""
        padded = np.pad(samples, (0, max(0, round(window_s * SAMPLE_RATE_HZ) - len(samples))))
        features = self._model.feature_extractor(padded, padding=0)
        even = features.shape[1] // 2 * 2  # the encoder halves the frames
        return self._model.encode(features[:, :even])

    def _detect(self, heard: Any) -> tuple[str, str | None]:
        """The likeliest language, by Whisper's name, and its tag if that is sure."""
        token, probability = self._model.model.detect_language(heard)[0][0]
        code = str(token)[2:-2]  # "<|en|>"
        return code, _bcp47(code) if probability >= _LANGUAGE_SURE else None

    def _read(self, heard: Any, code: str, tokens: float) -> _Reading:
        """Decode greedily, at most ``tokens`` tokens."""
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        multilingual = bool(self._model.model.is_multilingual)
        tokenizer = Tokenizer(self._model.hf_tokenizer, multilingual, task="transcribe", language=code)
        limit = min(int(tokens), 224)  # half of Whisper's context, its own limit for one window
        suppressed = get_suppressed_tokens(tokenizer, cast(Any, [-1]))  # -1: what is not speech, as in stock
        result = self._model.model.generate(
            heard,
            [self._model.get_prompt(tokenizer, [], without_timestamps=True)],
            beam_size=1,
            max_length=2 * limit,  # CTranslate2 takes half of it (models/whisper.cc)
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=list(suppressed or ()),
        )[0]
        ids: list[int] = result.sequences_ids[0]
        return _Reading(
            text=tokenizer.decode(ids).strip(),
            log_probability=result.scores[0] * len(ids) / (len(ids) + 1),  # the mean over ids and the end token
            no_speech_probability=result.no_speech_prob,
            truncated=len(ids) >= limit,
        )


def _settle(first: _Reading, second: _Reading, language: str | None) -> Recognition:
    """Both windows ran away: keep one copy of what is repeated, unless it is likely that nobody spoke."""
    cut = cut_restart(second.text, truncated=True)
    sounds_like_speech = max(first.no_speech_probability, second.no_speech_probability) < NO_SPEECH_LIKELY
    text = cut if cut != second.text and sounds_like_speech else ""
    return Recognition(text, language if text else None, second.no_speech_probability, second.log_probability)


def _recognition(reading: _Reading, language: str | None) -> Recognition:
    speech = reading.is_speech
    return Recognition(
        reading.text if speech else "",
        language if speech else None,
        reading.no_speech_probability,
        reading.log_probability,
    )


def _whole(heard: Recognition, seconds: float) -> Segment:
    return Segment(
        heard.text,
        0.0,
        seconds,
        heard.language,
        average_log_probability=heard.average_log_probability,
        no_speech_probability=heard.no_speech_probability,
    )


def _timed(segment: Any, language: str | None, end_s: float) -> Segment:
    """A segment of faster-whisper; its times may lie behind the end of the sound, in the window's silence."""
    words = tuple(
        Word(word.word, min(float(word.start), end_s), min(float(word.end), end_s)) for word in segment.words or ()
    )
    return Segment(
        segment.text.strip(),
        min(float(segment.start), end_s),
        min(float(segment.end), end_s),
        language,
        words,
        average_log_probability=segment.avg_logprob,
        no_speech_probability=segment.no_speech_prob,
    )


def _of_segment(segment: Any) -> _Reading:
    return _Reading(segment.text.strip(), segment.avg_logprob, segment.no_speech_prob, truncated=False)


def _bcp47(code: str) -> str:
    return _WHISPER_TO_BCP47.get(code, code)


def _to_16khz(audio: Audio) -> Samples:
    samples = np.asarray(audio.samples, np.float32)
    if not np.isfinite(samples).all():
        raise AudioError("The audio holds samples that are not finite (NaN or infinity).", "Check how it was made.")
    return resample(Audio(samples, audio.sample_rate_hz), SAMPLE_RATE_HZ).samples
