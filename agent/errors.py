"""The errors sayso raises: what was wrong, where, and what to do about it."""

from __future__ import annotations

from typing import ClassVar


class SaysoError(Exception):
    """Base of every error that sayso raises on purpose.

    The message is one or two plain sentences: what was wrong and where. ``hint`` says what to do next; the
    command line prints both on one line.

    Attributes:
        hint: What the reader can do about it, or an empty string.
        exit_code: What the command line exits with: 2 where the user can mend it, 1 where the fault is elsewhere.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.hint}" if self.hint else message


class UsageError(SaysoError):
    """The caller asked for something that cannot be: a bad option, a bad value, a missing file."""

    exit_code = 2


class ToolDefinitionError(UsageError):
    """A function cannot be a tool: an untyped parameter, a type without a schema, a name used twice."""


class AudioError(UsageError):
    """Audio that cannot be read or used: empty, broken, not finite, too long."""


class ModelMissingError(UsageError):
    """A model's files are not on this machine, or the packages that run them are not installed."""


class ModelStoreError(SaysoError):
    """An artefact could not be fetched or assembled: no network, no disk space, no such package."""


class IntegrityError(ModelStoreError):
    """A file is not what the manifest says it is: wrong size or wrong SHA-256."""


class ModelError(SaysoError):
    """A model failed while it ran."""


class ToolError(SaysoError):
    """Raise this inside a tool to tell the model, in your words, what went wrong."""


class CallInDoubt(ToolError):
    """Raise this inside a tool that lost sight of what it did: nobody knows whether the call took effect."""


class NeedsApproval(ToolError):
    """Raise this inside a tool, before it did anything, where a person has to agree to what only the tool knows.

    The call ends as one that waits. Once the person agreed it runs again, with ``ctx.agreed`` set to the question.

    Attributes:
        question: What the person is asked.
    """

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self.question = question
