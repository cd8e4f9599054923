"""The voice that a client of OpenAI's protocols asks for."""

from __future__ import annotations

from sayso.agent import Agent
from sayso.errors import UsageError
from sayso.server.errors import InvalidRequest
from sayso.session_context import check_voice

OPENAI_VOICES = frozenset("alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split())
"""Names that stock clients ask for when nobody chose one: they mean the agent's own voice."""


def voice_for(name: str, agent: Agent, param: str) -> str | None:
    """The voice of ``agent``'s model that ``name`` means; None: its default.

    Args:
        name: One of the model's voices, a mixture of them, or one of `OPENAI_VOICES`.
        agent: Whose own voice the latter mean.
        param: The field, for the error.

    Raises:
        InvalidRequest: There is no such voice.
    """
    known = agent.voice_model.profile.voices
    if name not in known and name.lower() in OPENAI_VOICES:
        return agent.voice
    try:
        return check_voice(name, known)
    except UsageError as error:
        hint = f"Voices are: {', '.join(known)}." if known else ""
        raise InvalidRequest(Exception.__str__(error), hint, code="invalid_value", param=param) from None
