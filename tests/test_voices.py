"""The library of voices: words, measured figures, clips, mixtures; all on real files, without models."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import AudioError, UsageError
from sayso.items import Audio
from sayso.speech.audio import load, save
from sayso.speech.tts.kokoro_voices import VoiceFolder, measured_voices
from sayso.tools.voices import clips, words
from sayso.tools.voices.embed import SIZE, log_mel, mean_direction, mel_filters
from sayso.tools.voices.library import Entry, VoiceLibrary
from sayso.tools.voices.measure import RATE_HZ, measure, pitch_track
from sayso.tools.voices.mixture import MAX_RENDERS, SIMILAR, Fit, fit, spelled
from sayso.tools.voices.ranking import search
from sayso.tools.voices.samples import spoken_name
from sayso.tools.voices.sounds import SOUNDS
from sayso.tools.voices.stock import voice_embeddings
from sayso.tools.voices.words import known_words, parse_wish, replace_words

REQUESTS = Path(__file__).parent.parent / "benchmarks" / "requests" / "voices.jsonl"


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    return VoiceLibrary(tmp_path / "data", tmp_path / "cache")


def names(library: VoiceLibrary, description: str) -> list[str]:
    return [hit.entry.name for hit in search(library, parse_wish(description))]


def buzz(hz: float, seconds: float = 1.0, rate_hz: int = RATE_HZ) -> Audio:
    """A vowel-like tone: harmonics that fall by 6 dB an octave."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = np.sum([np.sin(2 * np.pi * hz * n * t) / n for n in range(1, int(4000 / hz))], axis=0)
    return Audio((0.3 * wave / np.abs(wave).max()).astype(np.float32), rate_hz)


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "gender", "language", "leanings"),
    [
        ("a deep British man", "male", "en-GB", {"pitch": -1}),
        ("Japanese female", "female", "ja", {}),
        ("a man, but not too deep", "male", None, {"pitch": 1}),
        ("less bright, American, female", "female", "en-US", {"tone": -1}),
        ("a bright young woman who speaks quickly", "female", None, {"tone": 1, "pitch": 0.5, "pace": 1}),
        ("低沉的英国男声", "male", "en-GB", {"pitch": -1}),
        ("英文女声,慢一点", "female", None, {"pace": -1}),
    ],
)
def test_descriptions_are_understood(
    text: str, gender: str | None, language: str | None, leanings: dict[str, float]
) -> None:
    wish = parse_wish(text)
    assert (wish.gender, wish.language, dict(wish.leanings)) == (gender, language, leanings)


def test_words_are_replaced_whole() -> None:
    text = replace_words("A lad’s voice that isn't bright", {"lad": "man", "isn": "is", "bright": "dark"})
    assert text == "a man voice that isn't dark"


@pytest.mark.parametrize(
    "text",
    [
        "your normal voice",
        "go back to your usual voice",
        "switch back please",
        "stop that and go back to normal",
        "默认男音色",
        "换回你原来的声音",
    ],
)
def test_the_way_back_is_understood(text: str) -> None:
    assert parse_wish(text).normal


@pytest.mark.parametrize("text", ["a normal American woman", "a regular deep voice", "the back door"])
def test_other_wishes_are_no_way_back(text: str) -> None:
    assert not parse_wish(text).normal


def test_the_lexicon_holds_known_meanings_only() -> None:
    lexicon = words._lexicon()
    meanings = [*lexicon["english"].values(), *lexicon["phrases"].values(), *lexicon["chinese"].values()]
    for part in " ".join(meanings).split():
        kind, _, value = part.partition(":")
        if kind in ("pitch", "pace", "tone", "melody"):
            assert float(value)
        else:
            assert kind in ("gender", "language", "note", "word", "flag")
            assert value
    assert not set(known_words()) & lexicon["empty"]


@given(st.text(max_size=80))
def test_any_text_can_be_searched_for(text: str) -> None:
    assert len(search(_shared_library(), parse_wish(text))) <= 5


_made: list[VoiceLibrary] = []


def _shared_library() -> VoiceLibrary:
    return _made[0]


@pytest.fixture(autouse=True, scope="module")
def _one_library(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("voices")
    _made[:] = [VoiceLibrary(folder / "data", folder / "cache")]


# --- the library ----------------------------------------------------------------------------------------------------


def test_the_library_starts_with_all_voices_and_sounds(library: VoiceLibrary) -> None:
    entries = library.entries()
    assert {entry.name for entry in entries if entry.kind == "voice"} == set(measured_voices())
    assert {entry.name for entry in entries if entry.kind == "sound"} == {sound.name for sound in SOUNDS}
    assert set(voice_embeddings()) == set(measured_voices())
    for vector in voice_embeddings().values():
        assert vector.shape == (SIZE,)
        assert np.linalg.norm(vector) == pytest.approx(1)


def test_descriptions_find_their_voice() -> None:
    requests = [json.loads(line) for line in REQUESTS.read_text("utf-8").splitlines()]
    missed = [one for one in requests if not set(names(_shared_library(), one["description"])[:1]) & set(one["accept"])]
    assert len(requests) == 100
    assert len(missed) <= 2, missed


def test_somebody_who_sounds_some_way_is_no_sound() -> None:
    assert parse_wish("someone who sounds calm and warm").sound is False
    assert parse_wish("the sound of a drum").sound is True
    assert names(_shared_library(), "what does rain sound like") == ["rain"]


def test_what_is_not_there_is_not_found() -> None:
    assert names(_shared_library(), "a Korean man") == []
    assert names(_shared_library(), "xyzzy") == []
    assert names(_shared_library(), "") == []
    assert names(_shared_library(), 'a " OR 1 -- NEAR(') == []


def test_a_library_is_opened_by_many_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def open_it() -> None:
        try:
            VoiceLibrary(tmp_path / "data", tmp_path / "cache")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(VoiceLibrary(tmp_path / "data", tmp_path / "cache").entries()) == 54 + len(SOUNDS)


def test_a_new_version_keeps_the_clips(tmp_path: Path, library: VoiceLibrary) -> None:
    library.add(Entry("mine", "clip", "my uncle", file="mine.flac"))
    with sqlite3.connect(tmp_path / "data" / "library.sqlite") as db:
        db.execute("UPDATE entries SET description = 'stale' WHERE name = 'rain'")
        db.execute("PRAGMA user_version = 0")
    db.close()
    again = VoiceLibrary(tmp_path / "data", tmp_path / "cache")
    assert again.entry("mine") is not None
    rain = again.entry("rain")
    assert rain is not None and rain.description != "stale"
    assert again.matches(["uncle"]) == {"mine": 1.0}


def test_a_library_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UsageError, match="cannot be used"):
        VoiceLibrary(tmp_path / "data", tmp_path / "cache")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "library.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(UsageError, match="cannot be used"):
        VoiceLibrary(tmp_path / "other", tmp_path / "cache")


def test_sounds_are_rendered_when_asked_for(library: VoiceLibrary) -> None:
    for sound in SOUNDS:
        entry = library.entry(sound.name)
        assert entry is not None and entry.seconds is not None
        path = library.path(entry)
        assert path is not None
        audio = load(path)
        assert audio.seconds == pytest.approx(entry.seconds, abs=0.01)
        assert 0.4 < np.abs(audio.samples).max() <= 0.51
        assert np.abs(audio.samples[[0, -1]]).max() < 0.01  # no click at the ends


# --- measuring ------------------------------------------------------------------------------------------------------


@given(st.floats(70, 400))
def test_pitch_is_found(hz: float) -> None:
    figures = measure(buzz(hz, 0.5))
    assert figures.pitch_hz == pytest.approx(hz, rel=0.01)
    assert figures.pitch_sd_semitones < 0.3
    assert figures.words_per_s is None


def test_figures_of_what_is_known() -> None:
    dull, bright = buzz(120), Audio(np.diff(buzz(120).samples, prepend=np.float32(0)), RATE_HZ)
    assert measure(bright).centroid_hz > 1.5 * measure(dull).centroid_hz
    quiet = Audio(np.pad(buzz(120, 2.0).samples, RATE_HZ), RATE_HZ)
    assert measure(quiet, "one two three four five six").words_per_s == pytest.approx(3, rel=0.05)
    assert measure(buzz(200, 1.0, 24_000)).pitch_hz == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize("seconds", [0.001, 0.05, 1.0])
def test_noise_has_no_voice(seconds: float) -> None:
    noise = np.random.default_rng(1).standard_normal(int(seconds * RATE_HZ)).astype(np.float32)
    with pytest.raises(AudioError, match="no voice"):
        measure(Audio(0.1 * noise, RATE_HZ))
    assert not pitch_track(np.zeros(RATE_HZ, np.float32)).any()


def test_mel_filters_are_slaneys() -> None:
    filters = mel_filters()
    assert filters.shape == (201, 40)
    assert (filters >= 0).all()
    peaks = np.fft.rfftfreq(400, 1 / 16_000)[filters.argmax(axis=0)]
    assert (np.diff(peaks) >= 0).all()
    assert peaks[-1] > 7000
    assert log_mel(buzz(120).samples).shape == (98, 40)


def test_mean_direction_has_length_one() -> None:
    vectors = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    assert mean_direction(vectors) == pytest.approx([2**-0.5, 2**-0.5])


# --- clips ----------------------------------------------------------------------------------------------------------


def test_a_sound_is_added_found_and_removed(tmp_path: Path, library: VoiceLibrary) -> None:
    source = save(tmp_path / "x.wav", buzz(300))
    entry = clips.add_clip(library, source, "the dinner gong of our house", kind="sound", licence="CC0-1.0")
    assert entry.name == "the-dinner-gong-of-our-house-1"
    assert names(library, "the dinner gong")[0] == entry.name
    path = library.path(entry)
    assert path is not None and path.parent == library.clips and path.is_file()
    library.remove(entry.name)
    assert not path.exists()
    assert entry.name not in names(library, "the dinner gong")


def test_a_clip_without_enough_speech_is_refused(tmp_path: Path, library: VoiceLibrary) -> None:
    source = save(tmp_path / "x.wav", buzz(150, 4.0))
    with pytest.raises(AudioError, match="of speech in the clip; 2 s are needed"):
        clips.add_clip(library, source, "a hum")
    assert list(library.clips.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"RIFF" + b"\1" * 100, "broken header"), (b"hello, I am a text", "text, not sound")],
)
def test_broken_files_are_refused(tmp_path: Path, library: VoiceLibrary, content: bytes, message: str) -> None:
    source = tmp_path / "x.wav"
    source.write_bytes(content)
    with pytest.raises(AudioError, match=message):
        clips.add_clip(library, source, "a noise", kind="sound")


def test_clips_that_are_too_long_are_refused(tmp_path: Path, library: VoiceLibrary) -> None:
    source = save(tmp_path / "long.flac", buzz(100, 61.0, 8000))
    with pytest.raises(AudioError, match="at most 60 s"):
        clips.add_clip(library, source, "long", kind="sound")
    with pytest.raises(AudioError, match="at most 60 s"):
        clips.require_speech(load(source))


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "Name", "x" * 41, ".hidden"])
def test_names_lead_nowhere_else(tmp_path: Path, library: VoiceLibrary, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a clip"):
        clips.add_clip(library, save(tmp_path / "x.wav", buzz(300)), "a gong", kind="sound", name=name)


def test_other_mistakes_with_clips(tmp_path: Path, library: VoiceLibrary) -> None:
    source = save(tmp_path / "x.wav", buzz(300))
    for description in ("", " ", "x" * 501):
        with pytest.raises(UsageError, match="A description"):
            clips.add_clip(library, source, description, kind="sound")
    with pytest.raises(UsageError, match="There is no file"):
        clips.add_clip(library, tmp_path, "a folder", kind="sound")
    with pytest.raises(UsageError, match="already"):
        clips.add_clip(library, source, "a gong", kind="sound", name="rain")
    with pytest.raises(UsageError, match="already"):
        library.add(Entry("rain", "sound", "again"))
    with pytest.raises(UsageError, match="no clip"):
        library.remove("bf_emma")
    assert clips.add_clip(library, source, "../../etc/passwd", kind="sound").name == "etc-passwd-1"


@pytest.mark.parametrize("text", ["", " ", "unknown", "None", "N/A", "no.", "?"])
def test_nothing_stated_is_nothing(text: str) -> None:
    assert not clips.stated(text)
    assert not clips.may_speak(Entry("x", "clip", "x", licence="CC0-1.0", consent=text))
    assert not clips.may_speak(Entry("x", "clip", "x", licence=text, consent="the speaker agreed in writing"))


def test_clips_nobody_may_imitate_are_found_by_their_words_only(library: VoiceLibrary) -> None:
    low = Entry("bob", "clip", "my neighbour Bob", gender="male", pitch_hz=60, file="bob.flac")
    library.add(low)
    assert "bob" not in names(library, "the deepest man")
    assert names(library, "my neighbour Bob")[0] == "bob"


# --- mixtures -------------------------------------------------------------------------------------------------------


def unit(*values: float) -> np.ndarray:
    return mean_direction(np.array([values], np.float32))


VOICES = {"a": unit(1, 0, 0), "b": unit(0, 1, 0), "c": unit(0, 0, 1), "d": unit(-1, -1, -1)}


def mix(target: np.ndarray, stop_after: int | None = None) -> tuple[Fit, list[str]]:
    """`fit` in a world where a mixture's embedding is the mean of its voices'."""
    from sayso.speech.tts.kokoro_voices import parse_mixture

    said: list[str] = []

    def speak(spec: str) -> Audio:
        said.append(spec)
        parts = parse_mixture(spec)
        return Audio(np.sum([VOICES[name] * weight for name, weight in parts.items()], axis=0), 1000)

    def stopped() -> bool:
        return stop_after is not None and len(said) >= stop_after

    return fit(target, VOICES, speak, lambda audio: mean_direction(audio.samples[None]), stopped=stopped), said


def test_a_voice_that_is_there_is_found() -> None:
    found, said = mix(VOICES["b"])
    assert found == Fit("b", pytest.approx(1), "b", pytest.approx(1))
    assert found.similar
    assert len(said) <= MAX_RENDERS


def test_a_mixture_that_fits_better_is_taken() -> None:
    found, said = mix(unit(0.7, 0.3, 0.0))
    assert found.voice == "a:0.7+b:0.3"
    assert found.likeness > found.nearest_likeness
    assert len(said) <= MAX_RENDERS
    three, _ = mix(unit(0.5, 0.4, 0.3))
    assert three.voice.count("+") == 2


def test_what_is_like_nobody_is_not_called_similar() -> None:
    found, _ = mix(unit(1, -1, 0.1))
    assert found.likeness >= SIMILAR
    far = Fit("a", SIMILAR - 0.01, "a", SIMILAR - 0.01)
    assert not far.similar


def test_a_search_that_is_given_up_ends_soon() -> None:
    found, said = mix(unit(0.7, 0.3, 0.0), stop_after=1)
    assert said == ["a"]
    assert found.voice == "a"


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 1), min_size=1))
def test_mixtures_are_spelled_as_kokoro_reads_them(weights: dict[str, float]) -> None:
    from sayso.speech.tts.kokoro_voices import parse_mixture

    total = sum(weights.values())
    read = parse_mixture(spelled(weights))
    assert read.keys() == weights.keys()
    assert all(read[name] == pytest.approx(weight / total, abs=0.02) for name, weight in weights.items())


def test_a_voice_reads_another_language(tmp_path: Path) -> None:
    for name in ("af_heart", "jf_alpha"):
        np.zeros((3, 1, 256), "<f4").tofile(tmp_path / f"{name}.bin")
    folder = VoiceFolder(tmp_path)
    assert folder.mixture(spoken_name("jf_alpha", "ja"))[0].language == "en-US"
    assert folder.mixture("jf_alpha:2+af_heart:1@en-US")[0].language == "en-US"
    assert folder.mixture("jf_alpha")[0].language == "ja"
    assert spoken_name("jf_alpha", "ja", "ja-JP") == "jf_alpha"
    assert spoken_name("zf_xiaoni", "zh") == "zf_xiaoni"
    with pytest.raises(UsageError, match="Nothing is read as 'xx'"):
        folder.mixture("jf_alpha@xx")
