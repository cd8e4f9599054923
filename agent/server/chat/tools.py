"""The client's functions as tools of a turn. They are never run here: the answer ends with their calls."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from sayso.agent import Agent
from sayso.errors import UsageError
from sayso.items import JsonObject, ToolSpec
from sayso.server.chat.request import ChatRequest, Function, JsonFormat, NamedTool, SchemaFormat
from sayso.server.errors import InvalidRequest
from sayso.tools.context import Context
from sayso.tools.mcp.schema import BadSchema, compile_schema, for_model
from sayso.tools.text import safe_text
from sayso.tools.tool import Effect, Mode, Tool, check_name
from sayso.turn_options import TurnOptions

MAX_DESCRIPTION_CHARS = 1024


def client_tools(body: ChatRequest, agent: Agent) -> tuple[Tool, ...]:
    """The tools that the client declared.

    Raises:
        InvalidRequest: One cannot be used, or has a name that is taken.
    """
    made: dict[str, Tool] = {}
    for at, declared in enumerate(body.tools or ()):
        name, place = declared.function.name, f"tools.{at}.function"
        if name in made or name in agent.registry:
            whose = "declared twice" if name in made else "one of the agent's own"
            raise InvalidRequest(f"The function {name!r} is {whose}.", "Rename it.", param=f"{place}.name")
        made[name] = _client_tool(declared.function, place)
    return tuple(made.values())


def _client_tool(function: Function, place: str) -> Tool:
    try:
        check_name(function.name, "The function")
    except UsageError as error:
        raise InvalidRequest(Exception.__str__(error), error.hint, param=f"{place}.name") from None
    schema = function.parameters or {"type": "object", "properties": {}}
    param = f"{place}.parameters"
    try:
        validate, shown = compile_schema(schema), for_model(schema)
    except BadSchema as error:
        raise InvalidRequest(f"The parameters of {function.name!r} cannot be used: {error}.", param=param) from None
    _check_references(schema, param)

    async def handler(arguments: dict[str, Any], ctx: Context) -> Any:
        await asyncio.Event().wait()  # until the turn is ended, which its call does

    return Tool(
        function=handler,
        spec=ToolSpec(function.name, safe_text(function.description or function.name, MAX_DESCRIPTION_CHARS), shown),
        effect=Effect.READ,  # nothing happens here, so calls are made side by side
        mode=Mode.ASYNC,
        validate=validate,
        handler=handler,
        timeout_s=None,
        where="the client",
    )


def turn_options(body: ChatRequest, agent: Agent, tools: tuple[Tool, ...]) -> TurnOptions:
    """What is different in the turn that ``body`` asks for.

    Raises:
        InvalidRequest: The model cannot do it.
    """
    choice, names = "auto", None
    match body.tool_choice:
        case None:
            pass
        case str():
            choice = body.tool_choice
        case NamedTool():
            choice = body.tool_choice.function.name
        case allowed:
            choice = allowed.allowed_tools.mode
            names = [tool.function.name for tool in allowed.allowed_tools.tools]
    known = {tool.name for tool in (*agent.tools, *tools)}
    if choice == "required" and not known:
        raise InvalidRequest("There are no tools, and tool_choice requires one.", param="tool_choice")
    if missing := {*(names or ()), choice} - known - {"auto", "none", "required"}:
        raise InvalidRequest(f"There is no tool {min(missing)!r}.", param="tool_choice")
    return TurnOptions(
        tool_choice=choice,
        tools=names,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        seed=body.seed,
        answer_schema=_answer_schema(body, agent),
    )


def _answer_schema(body: ChatRequest, agent: Agent) -> JsonObject | None:
    form = body.response_format
    if not isinstance(form, JsonFormat | SchemaFormat):
        return None
    profile = agent.voice_model.profile
    if not profile.constrains_answers or body.speaks:
        who = "A spoken answer" if profile.constrains_answers else f"The model {profile.name}"
        raise InvalidRequest(
            f"{who} cannot have the response_format {form.type!r}.",
            "Ask for text.",
            code="unsupported_value",
            param="response_format",
        )
    if isinstance(form, JsonFormat):
        return {"type": "object"}
    schema, param = form.json_schema.schema_, "response_format.json_schema.schema"
    try:
        compile_schema(schema)
        shown = for_model(schema)
    except BadSchema as error:
        raise InvalidRequest(f"The schema cannot be used: {error}.", param=param) from None
    _check_references(schema, param)
    return shown if "properties" in schema else {"type": "object", **schema}


def _check_references(schema: JsonObject, param: str) -> None:
    """Refuse references that lead nowhere, and those that come back without anything in between."""
    waiting: list[Any] = [schema]
    nodes: list[JsonObject] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += cast("list[Any]", node)
        elif isinstance(node, dict):
            fields = cast("JsonObject", node)
            nodes.append(fields)
            waiting += fields.values()
            reference = fields.get("$ref")
            if isinstance(reference, str) and _target(schema, reference) is None:
                raise InvalidRequest(f"The schema has no {reference!r}.", param=param)
    if _comes_back(schema, nodes):
        raise InvalidRequest("The schema refers to itself without end.", param=param)


def _comes_back(schema: JsonObject, nodes: list[JsonObject]) -> bool:
    """Whether one of them stands for itself, by references and alternatives alone. Each is looked at once."""
    over: set[int] = set()
    for start in nodes:
        path, trail = {id(start)}, [(id(start), iter(_stands_for(schema, start)))]
        while trail and id(start) not in over:
            at, options = trail[-1]
            option = next(options, None)
            if option is None:
                path.discard(at)
                over.add(at)
                trail.pop()
            elif id(option) in path:
                return True
            elif id(option) not in over:
                path.add(id(option))
                trail.append((id(option), iter(_stands_for(schema, option))))
    return False


def _stands_for(schema: JsonObject, node: JsonObject) -> list[JsonObject]:
    found: list[Any] = [_target(schema, node["$ref"])] if isinstance(node.get("$ref"), str) else []
    for key in ("anyOf", "oneOf", "allOf"):
        options = node.get(key)
        found += cast("list[Any]", options) if isinstance(options, list) else []
    return [option for option in found if isinstance(option, dict)]


def _target(schema: JsonObject, reference: str) -> JsonObject | None:
    target: Any = schema
    for key in reference.removeprefix("#").split("/")[1:]:
        target = cast("JsonObject", target).get(key.replace("~1", "/").replace("~0", "~"), None)
        if not isinstance(target, dict):
            return None
    return target
