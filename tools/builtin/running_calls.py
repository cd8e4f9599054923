"""`list_running` and `stop_running`: what the agent still works on, and an end to it."""

from __future__ import annotations

from typing import TypedDict

from sayso.errors import ToolError
from sayso.tools.context import Context
from sayso.tools.tool import tool


class RunningTool(TypedDict):
    """A call at work."""

    tool: str
    seconds: int
    arguments: str


class Stopped(TypedDict):
    """What was stopped."""

    stopped: str


def _say_running(found: list[RunningTool]) -> str | None:
    if not found:
        return "Nothing is running."
    names = " and ".join(f"{one['tool'].replace('_', ' ')} for {one['seconds']} seconds" for one in found)
    return f"Still running: {names}."


@tool(effect="read", thread=False, say=_say_running, examples={"what are you still working on": {}})
def list_running(ctx: Context) -> list[RunningTool]:
    """What the agent is still working on in the background."""
    return [
        {"tool": call.name, "seconds": round(call.seconds), "arguments": call.arguments}
        for call in ctx.calls.calls()
        if call.call_id != ctx.call_id
    ]


@tool(
    effect="write",
    resource="the calls at work",  # a lane of its own: it must not wait for the write that it is to stop
    say="I stopped {stopped}.",
    examples={"stop writing the report": {"name": "write_report"}},
)
async def stop_running(name: str, ctx: Context) -> Stopped:
    """Stop something that the agent is still working on.

    Args:
        name: The tool that runs.
        ctx: Of the call.
    """
    wanted = name.casefold().replace(" ", "_")
    for call in reversed(ctx.calls.calls()):
        if call.call_id != ctx.call_id and wanted in (call.name.casefold(), call.call_id):
            ctx.calls.cancel(call.call_id)
            return {"stopped": call.name.replace("_", " ")}
    running = ", ".join(call.name for call in ctx.calls.calls() if call.call_id != ctx.call_id)
    raise ToolError(f"{name} is not running. Running now: {running or 'nothing'}.")


CALL_TOOLS = (list_running, stop_running)
