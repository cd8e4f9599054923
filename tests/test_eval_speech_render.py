"""Clips of users' turns: rendered once, found by content, heard back; with made voices."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="the extra local is not installed")

from sayso.errors import UsageError
from sayso.evals.loader import Loaded
from sayso.evals.scenario import Scenario, UserTurn
from sayso.evals.speech.cache import CacheMiss, ClipCache, Entry, key_of
from sayso.evals.speech.gate import voiced
from sayso.evals.speech.render import RATE_HZ, BadClip, Renderer
from sayso.items import Audio
from sayso.speech.audio import save
from sayso.voices import Voice

IDENTITY = {"engine": "tones", "version": "1", "weights": "0"}


def tone(seconds: float, hz: float = 300.0, rate_hz: int = RATE_HZ) -> Audio:
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return Audio((0.2 * np.sin(2 * np.pi * hz * at)).astype(np.float32), rate_hz)


class Tones:
    """A synthesiser: 50 ms a letter, a pitch for each voice."""

    sample_rate_hz = 16_000
    voices = tuple(
        Voice(f"{letter}f_{letter}", language)
        for letter, language in zip("abcdefz", ["en-US"] * 6 + ["zh"], strict=True)
    )

    def __init__(self) -> None:
        self.spoken: list[tuple[str, str | None, float]] = []

    def load(self) -> None:
        """Nothing to load."""

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        self.spoken.append((text, voice, speed))
        return tone(0.05 * len(text) / speed, 200 + 20 * ord((voice or "a")[0]), self.sample_rate_hz)


class Hears:
    def __init__(self, *heard: str) -> None:
        self.heard, self.asked = heard, 0

    def hear(self, audio: Audio, language: str | None = None) -> Sequence[tuple[str, str]]:
        self.asked += 1
        return [(text, f"ears {number}") for number, text in enumerate(self.heard)]


def loaded(tmp_path: Path, **more: object) -> Loaded:
    raw = {"schema": 1, "id": "a.b", "title": "t", "turns": [{"user": "Book a table for two."}]}
    return Loaded(Scenario.model_validate(raw | more), tmp_path / "a.yaml", {}, None, "0")


def renderer(tmp_path: Path, speaker: Tones | None = None, **options: object) -> Renderer:
    cache = ClipCache(tmp_path / "clips", may_make=bool(options.pop("may_make", True)))
    return Renderer(cache, synthesizer=speaker or Tones(), identity=IDENTITY, **options)  # type: ignore[arg-type]


def test_a_line_is_rendered_once(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    (turn,) = scenario.scenario.turns
    speaker = Tones()
    first = renderer(tmp_path, speaker).clip(turn, scenario, 1)
    again = renderer(tmp_path, speaker).clip(turn, scenario, 1)
    assert len(speaker.spoken) == 1
    assert np.array_equal(first.audio.samples, again.audio.samples)
    (facts,) = (tmp_path / "clips").glob("??/*.json")
    assert json.loads(facts.read_text())["line"] == "Book a table for two."


def test_voices_rotate_by_seed_and_stay_within_a_conversation(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    speaker = renderer(tmp_path)
    voices = [speaker.voices(scenario.scenario.audio.render, "en", seed)[0] for seed in range(40)]
    assert set(voices) == {f"{letter}f_{letter}" for letter in "abcdef"}
    assert voices == [speaker.voices(scenario.scenario.audio.render, "en", seed)[0] for seed in range(40)]
    assert speaker.voices(scenario.scenario.audio.render, "zh", 3) == ["zf_z"]
    pinned = loaded(tmp_path, audio={"render": {"voice": "cf_c"}})
    assert speaker.clip(pinned.scenario.turns[0], pinned, 5).voice == "cf_c"
    with pytest.raises(UsageError, match="speaks 'fr'"):
        speaker.voices(scenario.scenario.audio.render, "fr", 1)


def test_pauses_and_codes_are_in_the_sound(tmp_path: Path) -> None:
    speaker = Tones()
    turn = UserTurn(user="To Tuesday, no, ZK3.", say="To Tuesday <pause 500/> no, ZK3.")
    clip = renderer(tmp_path, speaker).clip(turn, loaded(tmp_path), 1)
    assert [text for text, _, _ in speaker.spoken][-2:] == ["To Tuesday", "no, Z, K, three."]
    one, two = voiced(clip.audio)
    assert two[0] - one[1] == pytest.approx(0.5, abs=0.005)
    assert clip.text == "To Tuesday, no, ZK3."


def test_silence_is_a_turn_too(tmp_path: Path) -> None:
    speaker = Tones()
    clip = renderer(tmp_path, speaker).clip(UserTurn(user="", say="<pause 700/>"), loaded(tmp_path), 1)
    assert (clip.audio.seconds, speaker.spoken) == (0.7, [])
    assert renderer(tmp_path, speaker).clip(UserTurn(user=""), loaded(tmp_path), 1).audio.seconds == 0


def test_one_rendering_serves_many_effects(tmp_path: Path) -> None:
    speaker = Tones()
    make = renderer(tmp_path, speaker)
    for snr_db in (20, 10, 5):
        scenario = loaded(tmp_path, audio={"effects": [{"noise": "pink", "snr_db": snr_db}, {"line": "g711u_8k"}]})
        clip = make.clip(scenario.scenario.turns[0], scenario, 1)
        assert len(clip.audio.samples) == len(clip.dry.samples)
        assert voiced(clip.dry)[0][0] == pytest.approx(0.35, abs=0.002)
    assert len(speaker.spoken) == 1
    assert len(list((tmp_path / "clips").glob("??/*.flac"))) == 4
    again = make.clip(scenario.scenario.turns[0], scenario, 1)
    assert np.array_equal(again.audio.samples, clip.audio.samples)
    assert not np.array_equal(make.clip(scenario.scenario.turns[0], scenario, 2).audio.samples, clip.audio.samples)


def test_babble_is_made_of_clips_whatever_their_keys(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, audio={"effects": [{"noise": "babble", "snr_db": 10}]})
    speaker = Tones()
    make = renderer(tmp_path, speaker)
    for seed in range(24):  # with one lock for both layers, some of these would wait for themselves
        assert len(make.clip(scenario.scenario.turns[0], scenario, seed).audio.samples)
    assert len({text for text, _, _ in speaker.spoken}) == 7


def test_a_turns_own_effects_replace_the_scenarios(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, audio={"effects": [{"gain_db": -20}]})
    make = renderer(tmp_path)
    soft = make.clip(scenario.scenario.turns[0], scenario, 1)
    plain = make.clip(UserTurn(user="Book a table for two.", effects=()), scenario, 1)
    assert np.abs(soft.audio.samples).max() == pytest.approx(np.abs(plain.audio.samples).max() / 10, rel=0.01)


def test_a_recording_is_taken_in_place_of_rendering(tmp_path: Path) -> None:
    save(tmp_path / "turn1.flac", tone(0.5, rate_hz=16_000))
    speaker, ears = Tones(), Hears("something else")
    clip = renderer(tmp_path, speaker, listener=ears).clip(
        UserTurn(user="Hello there.", audio="turn1.flac"), loaded(tmp_path), 1
    )
    assert (clip.audio.sample_rate_hz, clip.audio.seconds, clip.voice) == (RATE_HZ, 0.5, "")
    assert (speaker.spoken, ears.asked) == ([], 0)


def test_a_clip_is_heard_back_once_and_the_best_ears_count(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    ears = Hears("look at able for two", "book a table for 2")
    clip = renderer(tmp_path, listener=ears).clip(scenario.scenario.turns[0], scenario, 1)
    assert (clip.word_error_rate, clip.heard, clip.broken) == (0.0, "book a table for 2", "")
    again = renderer(tmp_path, listener=ears).clip(scenario.scenario.turns[0], scenario, 1)
    assert (again.word_error_rate, ears.asked) == (0.0, 1)


def test_a_clip_that_is_not_understood_is_told(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    with pytest.raises(BadClip, match="heard as 'look at able for two': 60% wrong"):
        renderer(tmp_path, listener=Hears("look at able for two")).clip(scenario.scenario.turns[0], scenario, 1)
    with pytest.raises(BadClip):  # it is kept, so that the next run need not listen again
        renderer(tmp_path).clip(scenario.scenario.turns[0], scenario, 1)


class HearsSome:
    """Understands one voice, by its pitch."""

    def __init__(self, understood: float, otherwise: str) -> None:
        self.understood, self.otherwise = understood, otherwise

    def hear(self, audio: Audio, language: str | None = None) -> Sequence[tuple[str, str]]:
        spectrum = np.abs(np.fft.rfft(audio.samples))
        hz = float(np.fft.rfftfreq(len(audio.samples), 1 / audio.sample_rate_hz)[int(spectrum.argmax())])
        return [("Book a table for two." if abs(hz - self.understood) < 5 else self.otherwise, "ears")]


def test_another_voice_is_taken_where_the_first_is_not_understood(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    order = renderer(tmp_path).voices(scenario.scenario.audio.render, "en", 1)
    third = HearsSome(200 + 20 * ord(order[2][0]), "look at able for two")
    assert renderer(tmp_path, listener=third).clip(scenario.scenario.turns[0], scenario, 1).voice == order[2]
    pinned = loaded(tmp_path, audio={"render": {"voice": order[0]}})
    with pytest.raises(BadClip):
        renderer(tmp_path, listener=third).clip(pinned.scenario.turns[0], pinned, 1)


@pytest.mark.parametrize(
    ("heard", "fine"),
    [
        ("Cook a table for two.", True),  # one word of five: a recogniser's own mistake is as likely
        ("Book a table for ten.", False),  # but not one that matters
        ("Cook a cable for two.", False),
    ],
)
def test_one_wrong_word_in_a_short_line_is_no_bad_clip(tmp_path: Path, heard: str, fine: bool) -> None:
    scenario = loaded(tmp_path, audio={"render": {"voice": "af_a"}})
    make = renderer(tmp_path, listener=Hears(heard))
    if fine:
        assert make.clip(scenario.scenario.turns[0], scenario, 1).word_error_rate == 0.2
    else:
        with pytest.raises(BadClip):
            make.clip(scenario.scenario.turns[0], scenario, 1)


def test_nothing_is_rendered_where_that_is_forbidden(tmp_path: Path) -> None:
    scenario = loaded(tmp_path)
    with pytest.raises(CacheMiss, match="'Book a table for two\\.' was not rendered") as missing:
        renderer(tmp_path, may_make=False).clip(scenario.scenario.turns[0], scenario, 1)
    assert "sayso eval render" in str(missing.value.hint)
    renderer(tmp_path).clip(scenario.scenario.turns[0], scenario, 1)
    renderer(tmp_path, may_make=False).clip(scenario.scenario.turns[0], scenario, 1)


def test_every_part_of_the_key_counts(tmp_path: Path) -> None:
    speaker = Tones()
    for more in ({}, {"rate": 1.5}, {"voice": "bf_b"}, {"seed": 1}):
        scenario = loaded(tmp_path, audio={"render": {"voice": "af_a"} | more})
        renderer(tmp_path, speaker).clip(scenario.scenario.turns[0], scenario, 1)
    scenario = loaded(tmp_path, audio={"render": {"voice": "af_a"}})
    newer = Renderer(ClipCache(tmp_path / "clips"), synthesizer=speaker, identity=IDENTITY | {"weights": "1"})
    newer.clip(scenario.scenario.turns[0], scenario, 1)
    assert len(speaker.spoken) == 5


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, most_bytes=60_000)
    noise = [np.random.default_rng(n).uniform(-0.5, 0.5, 8_000).astype(np.float32) for n in range(5)]
    keys = [key_of(n=n) for n in range(5)]
    for number in range(3):
        cache.get_or_make(keys[number], lambda n=number: Entry(Audio(noise[n], RATE_HZ), {}))
    assert cache.get(keys[0]) is not None  # used: now the second is the oldest
    for number in (3, 4):
        cache.get_or_make(keys[number], lambda n=number: Entry(Audio(noise[n], RATE_HZ), {}))
    assert cache.size() <= 60_000
    assert cache.get(keys[4]) is not None and cache.get(keys[0]) is not None
    assert cache.get(keys[1]) is None


@pytest.mark.parametrize("damage", ["sound", "facts", "no facts", "no sound"])
def test_damaged_entries_are_made_again(tmp_path: Path, damage: str) -> None:
    cache, key = ClipCache(tmp_path), key_of(n=1)
    made: list[int] = []

    def make() -> Entry:
        made.append(1)
        return Entry(tone(0.1), {"line": "x"})

    cache.get_or_make(key, make)
    base = tmp_path / key[:2] / key
    match damage:
        case "sound":
            base.with_suffix(".flac").write_bytes(b"fLaC broken")
        case "facts":
            base.with_suffix(".json").write_text("{")
        case "no facts":
            base.with_suffix(".json").unlink()
        case _:
            base.with_suffix(".flac").unlink()
    assert cache.get_or_make(key, make).facts["line"] == "x"
    assert len(made) == 2


def test_two_at_once_render_one_clip(tmp_path: Path) -> None:
    made: list[int] = []
    meeting = threading.Barrier(4)

    def make() -> Entry:
        made.append(1)
        return Entry(tone(0.1), {})

    def ask() -> None:
        meeting.wait()
        ClipCache(tmp_path).get_or_make(key_of(n=1), make)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
