from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sayso import Agent
from sayso.cli_voices import voices_app
from sayso.errors import AudioError, ToolError, UsageError
from sayso.items import Audio, ToolCall
from sayso.speech.audio import load, save
from sayso.testing import ScriptedModel, call, say
from sayso.tools import Context, Executor
from sayso.tools.builtin.audio_search import (
    USER_AUDIO,
    USER_AUDIO_CONSENT,
    AudioFound,
    audio_search,
    timbre_rag,
)
from sayso.tools.voices.embed import SpeakerEmbedder
from sayso.tools.voices.library import Entry, VoiceLibrary, open_library
from sayso.tools.voices.meaning import nearest_known
from sayso.tools.voices.mixture import SIMILAR
from sayso.tools.voices.ranking import read_wish
from sayso.voices import Voice as SpokenVoice

SOUND = Audio(np.zeros(16_000, np.float32), 16_000)


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> VoiceLibrary:
    """A library of the test's own, and no models unless the test is marked."""
    monkeypatch.setenv("SAYSO_DATA", str(tmp_path / "data"))
    if request.node.get_closest_marker("models") is None:
        monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    return open_library()


class Voice:
    """A session's voice: what `Context.speak_as` was last given."""

    def __init__(self) -> None:
        self.spoken: list[str | None] = []
        self.ctx = Context(speak_as=self.spoken.append)

    def ask(self, description: str = "", example: str = "") -> AudioFound:
        return audio_search(self.ctx, description, example)


def said(found: AudioFound) -> str | None:
    assert audio_search.speak is not None
    return audio_search.speak(found)


def test_a_voice_is_switched_and_switched_back() -> None:
    voice = Voice()
    found = voice.ask("a deep British man")
    assert (found.found, found.name, found.licence) == ("voice", "bm_lewis", "Apache-2.0")
    assert said(found) == "This is Lewis, a British man. Is that what you had in mind?"
    assert said(voice.ask("your normal voice")) == "This is my normal voice again."
    assert voice.spoken == ["bm_lewis", None]


def test_another_one_is_the_next_that_fits() -> None:
    voice = Voice()
    first = voice.ask("a British woman")
    second, third = voice.ask("another one"), voice.ask("a different voice please")
    assert [second.name, third.name] == first.others[:2]
    assert voice.ask("another British woman").name != third.name
    assert Voice().ask("a different voice").name != "af_heart"


def test_voices_of_other_languages_speak_the_language_of_the_conversation() -> None:
    voice = Voice()
    assert voice.ask("a French lady").voice == "ff_siwis:1@en-US"
    voice.ctx.state["language"] = "fr"
    assert voice.ask("a French lady").voice == "ff_siwis"


def test_who_asks_in_chinese_gets_a_chinese_voice_and_the_models_own_words() -> None:
    voice = Voice()
    found = timbre_rag("低沉的男声", voice.ctx)
    assert found.name == "zm_yunyang"
    assert said(found) is None
    assert timbre_rag("英国男人", voice.ctx).name.startswith("bm_")
    assert timbre_rag("圣诞老人", voice.ctx).name == "am_santa"
    assert timbre_rag("默认男音色", voice.ctx).found == "normal voice"
    assert voice.spoken[-1] is None


def test_step_audio_knows_it_as_timbre_rag() -> None:
    assert timbre_rag.name == "timbre_rag"
    assert list(timbre_rag.spec.parameters["properties"]) == ["query"]
    assert timbre_rag.effect == audio_search.effect == "write"


def test_a_sound_is_found_and_no_voice_switched() -> None:
    voice = Voice()
    found = voice.ask("the sound of rain")
    assert (found.found, found.name, found.licence, found.seconds) == ("sound", "rain", "Apache-2.0", 4.0)
    assert found.path is not None and load(found.path).seconds == pytest.approx(4.0)
    assert said(found) == "Here is rain falling."
    assert voice.spoken == []


def test_the_model_is_shown_no_paths() -> None:
    async def run() -> str:
        executor = Executor([audio_search])
        outcome = await executor.call(ToolCall("1", "audio_search", {"description": "an old telephone ringing"}))
        assert outcome.status == "ok"
        return outcome.output

    shown = json.loads(asyncio.run(run()))
    assert shown["name"] == "telephone"
    assert not {"path", "voice", "chinese"} & shown.keys()


def test_a_session_keeps_its_voice_where_the_model_has_not_the_other() -> None:
    model = ScriptedModel(
        {"deep": call("audio_search", description="a deep British man")}, {"the voices tone": say("I cannot.")}
    )
    agent = Agent(model=model, tools=[audio_search])
    result = agent.ask_sync("Talk like a deep British man", speak=False)
    assert [one.status for one in result.calls] == ["error"]
    assert result.text == "I cannot."


def test_a_session_speaks_with_the_voice_from_then_on() -> None:
    model = ScriptedModel(
        {"deep": call("audio_search", description="a deep British man")},
        {"normal": call("audio_search", description="your normal voice")},
        {"Hello": say("Hello yourself.")},
    )
    model.profile = replace(model.profile, voices=("tone", "bm_lewis"))
    agent = Agent(model=model, tools=[audio_search])

    async def talk() -> None:
        async with agent.session(speak=False) as session:
            assert "This is Lewis" in (await session.ask("Talk like a deep British man")).text
            await session.ask("Now your normal voice")
            await session.ask("Hello")

    asyncio.run(talk())
    assert [request.voice for request in model.requests] == [None, "bm_lewis", None]


@pytest.mark.parametrize(
    ("description", "message"),
    [("", "Nothing was described"), ("a Korean man", "No voice or sound fits"), ("xyzzy", "No voice or sound fits")],
)
def test_what_cannot_be_found(description: str, message: str) -> None:
    voice = Voice()
    with pytest.raises(ToolError, match=message):
        voice.ask(description)
    assert voice.spoken == []


def test_a_clip_without_licence_or_consent_is_refused(library: VoiceLibrary) -> None:
    library.add(Entry("aunt", "clip", "aunt Ada", gender="female", licence="CC0-1.0", file="aunt.flac"))
    library.add(Entry("uncle", "clip", "uncle Ulf", gender="male", consent="he said yes", file="uncle.flac"))
    voice = Voice()
    for request in ({"example": "aunt"}, {"example": "uncle"}, {"description": "aunt Ada"}, {"description": "Ulf"}):
        with pytest.raises(ToolError, match="licence or its speaker's consent is not stated"):
            voice.ask(**request)
    assert voice.spoken == []


def test_a_clip_that_was_compared_is_spoken_with_at_once(library: VoiceLibrary) -> None:
    library.add(Entry("ada", "clip", "Ada", licence="CC0-1.0", consent="in writing", file="ada.flac"))
    library.set_likeness("ada", "af_kore:0.6+bf_emma:0.4", 0.71)
    voice = Voice()
    found = voice.ask(example="ada")
    assert (found.found, found.similarity, voice.spoken) == ("similar voice", 0.71, ["af_kore:0.6+bf_emma:0.4"])
    assert said(found) == "This is the most similar voice that I have. It is not the same."
    library.set_likeness("ada", "af_kore", SIMILAR - 0.01)
    with pytest.raises(ToolError, match="No voice here is similar enough to ada"):
        voice.ask(example="ada")


@pytest.mark.parametrize("example", ["../../etc/passwd", "/etc/passwd", "nobody", "clips/x.flac"])
def test_an_example_is_a_name_never_a_path(example: str) -> None:
    with pytest.raises(ToolError, match="There is no clip"):
        Voice().ask(example=example)


def test_an_example_that_is_none_is_passed_over_beside_a_description() -> None:
    assert Voice().ask("a deep British man", example="a deep British man").name == "bm_lewis"
    assert Voice().ask("a deep British man", example="BF_Emma").name == "bf_emma"


def test_the_user_is_imitated_with_consent_only() -> None:
    voice = Voice()
    voice.ctx.state[USER_AUDIO] = Audio(np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(ToolError, match="Nobody has agreed"):
        voice.ask(example="me")
    voice.ctx.state[USER_AUDIO_CONSENT] = "unknown"
    with pytest.raises(ToolError, match="Nobody has agreed"):
        voice.ask(example="me")
    del voice.ctx.state[USER_AUDIO]
    voice.ctx.state[USER_AUDIO_CONSENT] = "asked for it in the app"
    with pytest.raises(ToolError, match="no recording"):
        voice.ask(example="me")


def test_a_recording_without_speech_is_told() -> None:
    voice = Voice()
    hiss = np.random.default_rng(1).standard_normal(32_000).astype(np.float32) * 0.01
    voice.ctx.state.update({USER_AUDIO: Audio(hiss, 16_000), USER_AUDIO_CONSENT: "asked for it in the app"})
    with pytest.raises(ToolError, match="2 s are needed"):
        voice.ask(example="me")


def test_a_model_that_is_not_here_is_told(library: VoiceLibrary) -> None:
    vector = np.ones(256, np.float32) / 16
    library.add(Entry("ada", "clip", "Ada", licence="CC0-1.0", consent="in writing", file="ada.flac"), vector)
    with pytest.raises(ToolError, match=r"speaker-embedder is not on this machine.*sayso models pull speaker-embedder"):
        Voice().ask(example="ada")


def test_a_library_that_broke_is_told(library: VoiceLibrary, tmp_path: Path) -> None:
    for file in (tmp_path / "data" / "voices").glob("library.sqlite*"):
        file.unlink()
    with pytest.raises(ToolError, match="Voices cannot be searched: no such table"):
        Voice().ask("a British man")


def test_a_voice_that_the_agent_has_not_is_told() -> None:
    def refuse(voice: str | None) -> None:
        raise UsageError(f"There is no voice {voice!r}.")

    with pytest.raises(ToolError, match="This agent has no voice"):
        audio_search(Context(speak_as=refuse), "a British man")


def test_a_call_that_was_given_up_switches_nothing() -> None:
    voice = Voice()
    voice.ctx.cancelled.set()
    with pytest.raises(ToolError, match="stopped"):
        voice.ask("a British man")
    assert voice.spoken == []


# --- a model with voices of its own ---------------------------------------------------------------------------------

OWN = (
    SpokenVoice("default_female", gender="female", description="the default female voice"),
    SpokenVoice("default_male", gender="male", description="the default male voice"),
)


def voice_with(*voices: SpokenVoice) -> Voice:
    voice = Voice()
    voice.ctx = replace(voice.ctx, voices=voices)
    return voice


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("默认女音色", "default_female"),
        ("默认男音色", "default_male"),
        ("default male voice", "default_male"),
        ("低沉的男声", "default_male"),
        ("a woman", "default_female"),
    ],
)
def test_only_what_the_model_speaks_is_found(query: str, name: str) -> None:
    voice = voice_with(*OWN)
    found = timbre_rag(query, voice.ctx)
    assert (found.found, found.name, found.voice, voice.spoken) == ("voice", name, name, [name])


def test_the_model_s_own_voice_again_and_another_one() -> None:
    voice = voice_with(*OWN)
    assert voice.ask("a different voice").name == "default_male"
    assert voice.ask("another one").name == "default_female"
    assert voice.ask("your normal voice").found == "normal voice"
    assert voice.spoken == ["default_male", "default_female", None]


def test_a_clip_that_the_model_speaks_like_is_spoken_with_as_it_is(library: VoiceLibrary, tmp_path: Path) -> None:
    library.add(
        Entry("ada", "clip", "Ada, our guide", gender="female", licence="CC0-1.0", consent="yes", file="a.flac")
    )
    voice = voice_with(*OWN, SpokenVoice("ada", clip=tmp_path / "a.flac"))
    for found in (voice.ask("our guide"), voice.ask(example="ada"), voice.ask("ada")):
        assert (found.found, found.voice, found.path) == ("voice", "ada", tmp_path / "a.flac")
        assert said(found) == "This is Ada, our guide. Is that what you had in mind?"
    assert voice.ask("the default female voice").voice == "default_female"


def test_a_model_of_clips_mixes_no_voices_and_says_which_it_has(library: VoiceLibrary) -> None:
    library.add(Entry("ada", "clip", "Ada", licence="CC0-1.0", consent="in writing", file="ada.flac"))
    library.add(Entry("ulf", "clip", "Ulf", file="ulf.flac"))
    voice = voice_with(*OWN)
    voice.ctx.state.update({USER_AUDIO: SOUND, USER_AUDIO_CONSENT: "asked for it in the app"})
    for request in ({"example": "ada"}, {"example": "me"}):  # ada was added after the agent was made
        with pytest.raises(ToolError, match=r"cannot sound like that.*default_male \(the default male voice\)"):
            voice.ask(**request)
    with pytest.raises(ToolError, match=r"fits 'a Korean man'.*There are the voices default_female"):
        voice.ask("a Korean man")
    with pytest.raises(ToolError, match="consent is not stated"):
        voice.ask("Ulf")
    assert voice.spoken == []


# --- the command line -----------------------------------------------------------------------------------------------


def command(*arguments: str) -> None:
    voices_app(list(arguments), standalone_mode=False)


def test_clips_are_added_searched_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "gong.wav", Audio(np.sin(np.arange(8000) / 10).astype(np.float32), 8000))
    command("add", str(source), "--description", "our samovar", "--sound", "--licence", "CC0-1.0", "--name", "gong")
    assert capsys.readouterr().out == "Added gong: 1.0 s\n"
    command("search", "samovar", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found[0]["name"], found[0]["licence"]) == ("gong", "CC0-1.0")
    assert Path(found[0]["path"]).is_file()
    command("search", "samovar")
    assert "our samovar" in capsys.readouterr().out
    command("remove", "gong")
    command("search", "samovar")
    assert capsys.readouterr().out.startswith("Removed gong\nNothing fits.")
    with pytest.raises(UsageError, match="There is no file"):
        command("add", str(tmp_path / "nothing.wav"), "--description", "x")


# --- real models ----------------------------------------------------------------------------------------------------


@pytest.mark.models
def test_a_persons_clip_gets_a_similar_voice(
    tmp_path: Path, shared_data: Path, model_path: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("speaker-embedder", "kokoro-82m", "kokoro-voices"):
        model_path(name)
    clip = tmp_path / "speaker.flac"
    shutil.copy(shared_data / "speech" / "read" / "aishell_BAC009S0724W0121.flac", clip)
    command("add", str(clip), "--description", "a reader from Beijing, a man", "--name", "reader")
    assert "Nobody may speak similarly" in capsys.readouterr().out
    voice = Voice()
    with pytest.raises(ToolError, match="not stated"):
        voice.ask(example="reader")
    command("remove", "reader")
    command(
        "add", str(clip), "--description", "a reader from Beijing, a man", "--name", "reader",
        "--licence", "Apache-2.0", "--consent", "a published corpus for research",
    )  # fmt: skip
    found = voice.ask(example="reader")
    assert found.found == "similar voice"
    assert found.similarity is not None and SIMILAR <= found.similarity <= 1
    assert voice.spoken == [found.voice]
    assert voice.ask(example="reader").voice == found.voice  # remembered: nothing is rendered again


@pytest.mark.models
def test_strange_words_are_read_by_their_meaning(model_path: Callable[[str], Path], library: VoiceLibrary) -> None:
    model_path("minilm")
    assert nearest_known(["bavarian", "infant", "table", "低"]) == {"bavarian": "german", "infant": "toddler"}
    assert read_wish(library, "a Welsh lad").language == "en-GB"
    assert Voice().ask("a Tokyoite, female").name.startswith("jf_")


@pytest.mark.models
def test_the_embedder_tells_speakers_apart(shared_data: Path, model_path: Callable[[str], Path]) -> None:
    embedder = SpeakerEmbedder(model_path("speaker-embedder"))
    read = shared_data / "speech" / "read"
    jfk, book = load(read / "jfk.flac"), load(read / "librivox_sas_0870.flac")
    half = len(jfk.samples) // 2
    one, two = (embedder.embed(Audio(part, jfk.sample_rate_hz)) for part in np.split(jfk.samples, [half]))
    assert one @ two > 0.7 > 0.6 > one @ embedder.embed(book)
    with pytest.raises(AudioError, match="too short"):
        embedder.embed(Audio(jfk.samples[:1000], jfk.sample_rate_hz))
