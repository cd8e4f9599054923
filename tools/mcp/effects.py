"""From a server's hints, and its owner's word, to what a call may do.

The protocol calls annotations hints, says that they must not be believed from a server that is not trusted, and
gives them defaults: a tool that says nothing may change things, destroy things, and reach the open world.

| the server says | not trusted (the default) | ``trusted=True`` |
|---|---|---|
| ``readOnlyHint: true`` | write | read |
| ``destructiveHint: false`` | write | write |
| ``destructiveHint: true``, or nothing | irreversible | irreversible |

So a server that is not trusted never gets a call run early, repeated or thrown away, whatever it says, and its
silence means what the protocol says it means: a person is asked first. A write that only adds and is not said to be
idempotent (``idempotentHint``) is made a second time with the same arguments only if a person says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sayso.tools.mcp.server import Server
from sayso.tools.policy import OnDuplicate, Policy
from sayso.tools.tool import Effect

if TYPE_CHECKING:
    import mcp_types as types


def effect_of(tool: types.Tool, server: Server) -> Effect:
    """What a call of ``tool`` does to the world: the owner's word, else the hints as far as they are believed."""
    word = server.effects.get(tool.name, server.effects.get("*"))
    if word is not None:
        return Effect(word)
    hints = tool.annotations
    if hints is None:
        return Effect.IRREVERSIBLE
    if hints.read_only_hint:
        return Effect.READ if server.trusted else Effect.WRITE
    return Effect.WRITE if hints.destructive_hint is False else Effect.IRREVERSIBLE


def policy_of(tool: types.Tool, server: Server, effect: Effect) -> Policy:
    """How calls of ``tool`` are guarded.

    Results are data from outside, but for those of a trusted server that says its world is closed.
    """
    hints = tool.annotations
    closed = server.trusted and hints is not None and hints.open_world_hint is False
    adds = hints is not None and not (hints.read_only_hint or hints.idempotent_hint)
    by_hint = tool.name not in server.effects and "*" not in server.effects
    on_duplicate: OnDuplicate = "confirm" if effect is Effect.WRITE and adds and by_hint else "allow"
    return Policy(on_duplicate=on_duplicate, approval=effect is Effect.IRREVERSIBLE, untrusted=not closed)
