"""The tools of tau2-bench's mock domain over a `World` with tasks and users; written for sayso."""

from __future__ import annotations

from typing import Literal

from sayso import tool
from sayso.errors import ToolError
from sayso.evals.code_checks import CodeCheck
from sayso.evals.world import world_of
from sayso.items import JsonObject
from sayso.tools.context import Context


@tool(effect="write", thread=False)
def create_task(ctx: Context, user_id: str, title: str, description: str | None = None) -> JsonObject:
    """Create a new task for a user.

    Args:
        ctx: Leads to the world.
        user_id: The user who creates the task.
        title: Its title.
        description: What it is about.
    """
    world = world_of(ctx)
    user = world.row("users", user_id)
    number = f"task_{len(world['tasks']) + 1}"
    made: JsonObject = {"task_id": number, "title": title, "description": description, "status": "pending"}
    world["tasks"][number] = made
    user["tasks"].append(number)
    return made


@tool(effect="read", thread=False)
def get_users(ctx: Context) -> list[JsonObject]:
    """Get all users."""
    return world_of(ctx).rows("users")


@tool(effect="write", thread=False)
def update_task_status(ctx: Context, task_id: str, status: Literal["pending", "completed"]) -> JsonObject:
    """Update the status of a task.

    Args:
        ctx: Leads to the world.
        task_id: The task.
        status: Its new status.
    """
    world = world_of(ctx)
    if task_id not in world["tasks"]:
        raise ToolError(f"There is no task {task_id}.")
    task: JsonObject = world["tasks"][task_id]
    task["status"] = status
    return task


@tool(effect="pure", thread=False)
def transfer_to_human_agents(summary: str) -> str:
    """Transfer the user to a human agent: where they ask for one, or the policy and the tools cannot solve the issue.

    Args:
        summary: The user's issue.
    """
    return "Transfer successful"


def _called(name: str) -> CodeCheck:
    return lambda ending: any(call.tool == name and call.status == "ok" for call in ending.calls)


TOOLS = [create_task, get_users, update_task_status, transfer_to_human_agents]
CHECKS = {f"called_{one.name}": _called(one.name) for one in TOOLS}
"""Whether a tool was called at all, for tasks that are scored by their actions."""
