"""Conversations that outlive their process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso import Agent, tool
from sayso.conversations import KEPT_S, Conversations, Keeper, StoreError
from sayso.items import AssistantReply, Audio, Instruction, Item, ToolCall, ToolOutput, UserInput
from sayso.models.base import Text
from sayso.testing import ScriptedModel, call, run
from sayso.tools.journal import Entry, Journal

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
items = st.lists(
    st.one_of(
        st.builds(UserInput, text, language=st.none() | st.just("en"), id=text),
        st.builds(Instruction, text, id=text),
        st.builds(AssistantReply, text, st.lists(st.integers(0, 200_000), max_size=4).map(tuple), st.booleans(), text),
        st.builds(ToolCall, text, text, st.dictionaries(text, st.integers() | text | st.none(), max_size=3)),
        st.builds(ToolOutput, text, text, text, st.sampled_from(["ok", "error", "running"])),
    ),
    max_size=8,
)


@given(st.lists(items, min_size=1, max_size=4))
def test_what_is_kept_comes_back(versions: list[list[Item]]) -> None:
    store = Conversations()
    keeper = Keeper(store, "talk", store.open("talk", agent="a", user="u")[1])
    shown: list[Item] = []
    for turn, version in enumerate(versions):
        shown = [*shown[: len(version)], *version]  # some of it stays, some is new
        keeper.keep(shown, turn=turn, voice="v")
    saved, found = store.open("talk", agent="other", user="other")
    assert found == shown
    assert [one.id for one in found if hasattr(one, "id")] == [one.id for one in shown if hasattr(one, "id")]
    assert (saved.turn, saved.voice, saved.agent, saved.user) == (len(versions) - 1, "v", "a", "u")
    store.close()


def test_the_sound_of_a_user_comes_back(tmp_path: Path) -> None:
    store = Conversations(tmp_path / "store.sqlite")
    store.open("talk", agent="a", user="u")
    samples = np.linspace(-1, 1, 100, dtype=np.float32)
    store.save("talk", 0, [UserInput("hello", Audio(samples, 16_000))], turn=1, voice=None)
    store.close()
    again = Conversations(tmp_path / "store.sqlite")
    (found,) = again.open("talk", agent="a", user="u")[1]
    assert isinstance(found, UserInput) and found.audio is not None and found.audio.sample_rate_hz == 16_000
    np.testing.assert_allclose(found.audio.samples, samples, atol=1 / 32768)
    again.close()


def test_conversations_are_listed_deleted_and_forgotten(tmp_path: Path) -> None:
    now = 1000.0
    store = Conversations(tmp_path / "store.sqlite", clock=lambda: now)
    for number, agent in enumerate(("a", "b", "a")):
        now += 1
        store.open(f"talk{number}", agent=agent, user="u")
        store.save(f"talk{number}", 0, [UserInput("hi")], turn=1, voice=None)
    assert [saved.id for saved in store.list(agent="a")] == ["talk2", "talk0"]
    assert [saved.id for saved in store.list(last=2)] == ["talk2", "talk1"]
    assert store.delete("talk1") and not store.delete("talk1")
    assert store.find("talk1") is None
    store.close()
    store = Conversations(tmp_path / "store.sqlite", clock=lambda: now + KEPT_S + 1)
    assert store.list() == []
    assert store.open("talk0", agent="a", user="u")[1] == []
    store.close()


def test_a_file_that_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match="cannot be opened"):
        Conversations(tmp_path / "text")
    store = Conversations()
    keeper = Keeper(store, "talk", store.open("talk", agent="a", user="u")[1])
    store.close()
    with pytest.raises(StoreError, match="failed"):
        store.list()
    keeper.keep([UserInput("hi")], turn=1, voice=None)
    assert "conversation talk is not stored" in caplog.text


def test_a_session_goes_on_where_another_process_ended(tmp_path: Path) -> None:
    async def main() -> None:
        for said, heard in (("My name is Ada.", 0), ("Who am I?", 2)):
            store = Conversations(tmp_path / "store.sqlite")
            model = ScriptedModel((None, [Text("Ada.")]))
            async with Agent(model=model).session(id="talk", conversations=store) as session:
                assert len(session.history) == heard
                result = await session.ask(said)
                assert result.events[0].turn == 1 + heard // 2
            assert [type(item) for item in model.requests[0].items] == [UserInput, AssistantReply] * (heard // 2) + [
                UserInput
            ]
            store.close()

    run(main())


def test_a_write_whose_turn_was_not_seen_to_end_is_known(tmp_path: Path) -> None:
    """The process died after the write and before the turn was over: the model must not make it again."""

    @tool
    def book(seat: str) -> str:
        """Book a seat."""
        return "booked"

    async def main() -> None:
        store, journal = Conversations(), Journal()
        agent = Agent(
            model=ScriptedModel((None, call("book", seat="1A")), (None, [Text("Yes.")])), tools=[book], journal=journal
        )
        async with agent.session(id="talk", conversations=store) as session:
            await session.ask("Book 1A")
        told = session.history
        for call_id, effect in (("call_2_1", "write"), ("call_2_2", "read"), ("call_2_3", "write")):
            journal.begin(Entry("talk", call_id, "book", '{"seat":"2B"}', effect, turn=2))
            if call_id != "call_2_3":
                journal.end("talk", call_id, "ok", "booked")
        for _ in range(2):  # it is not told twice
            async with Agent(model=ScriptedModel(), tools=[book], journal=journal).session(
                id="talk", conversations=store
            ) as again:
                assert again.history[: len(told)] == told
                assert [(item.call_id, item.status) for item in again.history if isinstance(item, ToolOutput)] == [
                    ("call_1_1", "ok"),
                    ("call_2_1", "ok"),
                    ("call_2_3", "in_doubt"),
                ]
        store.close()

    run(main())


def test_the_voice_and_removed_items_are_kept() -> None:
    async def main() -> None:
        store = Conversations()
        model = ScriptedModel((None, [Text("Hello.")]))
        async with Agent(model=model).session(id="talk", conversations=store) as session:
            session.add(UserInput("Forget me.", id="x"), UserInput("Hello.", id="y"))
            session.remove("x")
            async for _ in session.respond():
                pass
        assert store.open("talk", agent="a", user="u")[1] == [UserInput("Hello."), AssistantReply("Hello.")]

    run(main())
