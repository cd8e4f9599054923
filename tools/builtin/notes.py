"""`remember`, `recall` and `forget`: facts that a user wants kept, in SQLite, across conversations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field

from sayso import settings
from sayso.errors import ToolError
from sayso.tools.builtin.notes_store import Note, NotesError, NoteStore, query_words
from sayso.tools.builtin.spoken_dates import speak_date
from sayso.tools.context import Context
from sayso.tools.text import neutralise
from sayso.tools.tool import Tool, tool

T = TypeVar("T")
MAX_CHARS = 500
BEST = 5
"""Notes that a recall returns, and candidates that an unclear "forget" is answered with."""


class Remembered(BaseModel):
    """A note that is kept now.

    Attributes:
        number: The note's.
        text: As it is kept.
        already_known: It was there before.
    """

    number: int
    text: str
    already_known: bool


class Fact(BaseModel):
    """A note as it is shown."""

    number: int
    text: str
    topic: str
    noted_on: str


class Recalled(BaseModel):
    """The notes that fit a question, the best first."""

    notes: list[Fact]


class Forgotten(BaseModel):
    """The note that was forgotten."""

    number: int
    text: str


def _say_recalled(found: Recalled) -> str | None:
    if not found.notes:
        return "I have no note about that."
    return f"You asked me to remember: {found.notes[0].text}" if len(found.notes) == 1 else None


@dataclass(frozen=True)
class Notes:
    """The three tools over one file.

    Attributes:
        path: The file; None is ``notes.sqlite3`` in sayso's data folder.
    """

    path: Path | None = None

    @property
    def tools(self) -> tuple[Tool, ...]:
        """`remember`, `recall` and `forget`."""
        return (self.remember, self.recall, self.forget)

    @tool(
        effect="write",
        resource="notes",
        say=lambda note: "I knew that already." if note.already_known else "I will remember that.",
        filler="Let me write that down.",
        examples={
            "remember that my locker code is 4711": {"text": "The locker code is 4711", "topic": "locker"},
            "note that Ana is allergic to peanuts": {"text": "Ana is allergic to peanuts"},
        },
    )
    def remember(
        self,
        text: Annotated[str, Field(min_length=1, max_length=MAX_CHARS)],
        ctx: Context,
        topic: Annotated[str, Field(max_length=60)] = "",
    ) -> Remembered:
        """Remember a fact for the user beyond this conversation, when they ask to remember or note something.

        Args:
            text: The fact as one full sentence that can be understood later.
            ctx: The session.
            topic: What it is about, in one or two words.
        """
        words = _tidy(text)
        if not words:
            raise ToolError("There is nothing to remember.", "Ask the user what to remember.")
        note, is_new = _kept(lambda: self._store().add(ctx.user, words, _tidy(topic), ctx.clock()))
        return Remembered(number=note.id, text=note.text, already_known=not is_new)

    @tool(
        effect="read",
        say=_say_recalled,
        filler="Let me look at my notes.",
        examples={
            "what is my locker code": {"query": "locker code"},
            "what did I ask you to remember": {},
        },
    )
    def recall(self, ctx: Context, query: str = "") -> Recalled:
        """Look up what the user asked to remember in this or an earlier conversation.

        Args:
            ctx: The session.
            query: The words that matter. Leave out for the latest notes.
        """
        found = _kept(lambda: self._store().search(ctx.user, query[:MAX_CHARS], BEST))
        return Recalled(notes=[_fact(note, ctx) for note in found])

    @tool(
        effect="write",
        resource="notes",
        say="I have forgotten this: {text}",
        filler="One moment.",
        examples={
            "forget my locker code": {"what": "locker code"},
            "you can forget note 3": {"what": "3"},
        },
    )
    def forget(self, what: Annotated[str, Field(min_length=1)], ctx: Context) -> Forgotten:
        """Forget one fact that was remembered for the user.

        Args:
            what: The words that tell the note from others, or its number.
            ctx: The session.
        """
        note = _kept(lambda: self._the_one(ctx.user, what[:MAX_CHARS]))
        if not _kept(lambda: self._store().remove(ctx.user, note.id)):
            raise ToolError("That note is gone already.")
        return Forgotten(number=note.id, text=note.text)

    def _the_one(self, user: str, what: str) -> Note:
        """The note that is meant.

        Raises:
            ToolError: None is, or more than one may be.
            NotesError: The file cannot be read.
        """
        number = what.casefold().replace("number", "").replace("note", "").strip(" #.")
        if number.isdecimal() and len(number) < 16 and (note := self._store().get(user, int(number))):
            return note
        if not query_words(what):
            raise ToolError("It is not clear what to forget.", "Ask the user which note is meant.")
        fitting = self._store().search(user, what, BEST + 1, every_word=True)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ToolError(f"More than one note fits: {_listed(fitting)}.", "Ask the user which, and give its number.")
        near = self._store().search(user, what, BEST)
        if near:
            raise ToolError(f"No note says just that. Near it are: {_listed(near)}.", "Ask the user which is meant.")
        raise ToolError("There is no note about that.", "Nothing was forgotten; tell the user.")

    def _store(self) -> NoteStore:
        return NoteStore(self.path or settings.data_root() / "notes.sqlite3")


def _kept(work: Callable[[], T]) -> T:
    try:
        return work()
    except NotesError as error:
        raise ToolError(str(error)) from error


def _tidy(text: str) -> str:
    return " ".join(neutralise(text).split())


def _fact(note: Note, ctx: Context) -> Fact:
    day = datetime.fromtimestamp(note.created_s, ctx.timezone).date()
    return Fact(number=note.id, text=note.text, topic=note.topic, noted_on=speak_date(day))


def _listed(notes: list[Note]) -> str:
    more = ", and more" if len(notes) > BEST else ""
    return "; ".join(f"number {note.id}: {note.text[:80]}" for note in notes[:BEST]) + more


_NOTES = Notes()
remember, recall, forget = _NOTES.remember, _NOTES.recall, _NOTES.forget
NOTE_TOOLS: tuple[Tool, ...] = (remember, recall, forget)
