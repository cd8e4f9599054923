"""`Responder`: begins, continues and ends the responses of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from sayso.agent import Agent
from sayso.conductor import Conductor
from sayso.events import Event
from sayso.items import Item, ToolOutput
from sayso.server.errors import InvalidRequest
from sayso.server.realtime.client_tools import ClientCalls, Toolbox, is_clients
from sayso.server.realtime.config_models import FunctionTool, NamedTool
from sayso.server.realtime.protocol import ResponseOptions
from sayso.server.realtime.responses import Response, Terms
from sayso.server.realtime.session_config import SessionConfig, checked_format, checked_tools, voice_name
from sayso.server.realtime.turn_view import Turn, TurnView
from sayso.server.voices import voice_for
from sayso.session import Session
from sayso.settings import redact
from sayso.tools.tool import Tool
from sayso.turn_options import TurnOptions
from sayso.turns import Work

MAX_BESIDE = 4
"""Responses beside the conversation at a time."""
NO_RESULT = "The result has not come yet."


class Told(Protocol):
    """Who is told what happens; see `Responder`."""

    def push(self, event: Event, response: Response | None = None) -> None:
        """An event of the session; of a turn that answers a client, with its response."""
        ...

    def turn_settled(self) -> None:
        """A turn is over, and the conversation holds what came of it."""
        ...

    def response_over(self, response: Response) -> None:
        """A response is over; its turn may wait for the client."""
        ...

    def turn_ended(self) -> None:
        """A turn that answered a client has ended: another may begin."""
        ...


class Responder:
    """Makes the turns of a session responses.

    Args:
        session: The conversation.
        own: The agent as it was, whose tools and voice are the server's.
        config: What is set now.
        new_response: Makes a response, and so tells that it was created.
        tasks: Own the turns.
        told: Is told what happens.

    Attributes:
        calls: Those that the client runs.
        toolbox: What may be called.
        view: Shows the turns.
        touched: Items came since the client was asked to run its tools.
    """

    def __init__(
        self,
        session: Session,
        own: Agent,
        config: Callable[[], SessionConfig],
        new_response: Callable[[Terms], Response],
        tasks: asyncio.TaskGroup,
        told: Told,
    ) -> None:
        self._session = session
        self._own = own
        self._config = config
        self._new_response = new_response
        self._tasks = tasks
        self._told = told
        self._active: Response | None = None
        self._task: asyncio.Task[None] | None = None
        self._beside: dict[str, tuple[Response, asyncio.Task[None]]] = {}
        self._borrowed = False  # the tools of one response
        self.calls = ClientCalls()
        self.toolbox = Toolbox(own.registry.values())
        self.touched = False
        self.view = TurnView(self._begin, self._is_clients, self._ended, self._turn_over)

    @property
    def active(self) -> Response | None:
        """The response of the conversation that is being made."""
        return self._active

    @property
    def parked(self) -> Turn | None:
        """The turn that waits for the client's tools."""
        turn = self.view.turn
        return turn if turn is not None and turn.is_parked else None

    def options(self) -> TurnOptions:
        """What the session's configuration means for a turn."""
        return _turn_options(self._config(), None)

    def take(self, event: Event, response: Response | None = None) -> None:
        """An event of the session."""
        self.view.take(event, response)

    async def create(self, asked: ResponseOptions | None) -> None:
        """Begin a response, or go on with the turn that waits for the client's tools.

        Raises:
            InvalidRequest: One is being made, or it cannot be as asked.
        """
        self._check_free()
        config = self._config()
        terms, options, declared = self._terms(asked, config, self.calls)
        if (turn := self.parked) is not None and self._goes_on(turn, asked):
            self._continue(turn, terms)
            return
        if self._session.is_busy:  # it waits for the client, or answers what the user may not have finished
            await self._session.interrupt()
        if declared is not None:
            self._session.update(tools=self.toolbox.all(*declared))
            self._borrowed = True
        self.start(self._session.conductor.respond(options), terms)

    def start(self, work: Work, terms: Terms | None = None) -> None:
        """Begin a turn that answers a client.

        Raises:
            InvalidRequest: A response is being made.
        """
        self._check_free()
        response = self._active = self._new_response(terms or terms_of(self._config()))
        self._task = self._tasks.create_task(self._run(response, work))

    async def cancel(self, id: str | None, played_ms: int | None) -> None:
        """Cut a response off.

        Raises:
            InvalidRequest: None is being made, or none of this id.
        """
        if id is not None and (found := self._beside.get(id)) is not None:
            response, task = found
            response.cut_off("client_cancelled")
            task.cancel()
            return
        response = self._active
        if response is None or id not in (None, response.id):
            raise InvalidRequest(
                "Cancellation failed: no active response found.",
                code="response_cancel_not_active",
                param=None if id is None else "response_id",
            )
        await self.interrupt(response, played_ms)

    async def interrupt(self, response: Response, played_ms: int | None) -> None:
        """Cut the active response off, because the client says so."""
        self.view.reason = "client_cancelled"
        if not self._session.is_busy and self._task is not None:  # it did not begin
            self._task.cancel()
        else:
            await self._session.interrupt(played_ms)
        response.cut_off("client_cancelled")
        self._ended(response)

    def beside(self, asked: ResponseOptions, items: Sequence[Item]) -> None:
        """Make a response that is no part of the conversation, by a session that is thrown away.

        Raises:
            InvalidRequest: It cannot be as asked, or there are too many.
        """
        if len(self._beside) >= MAX_BESIDE:
            raise InvalidRequest(
                f"{MAX_BESIDE} responses beside the conversation are being made.",
                "Wait until one is finished.",
                code="too_many_responses",
            )
        calls = ClientCalls()  # of its own: calls of two sessions may have one id
        terms, options, declared = self._terms(asked, self._config(), calls)
        own = calls.tools(self._config().tools, "session.tools") if declared is None else declared
        agent = self._session.agent.variant(tools=self.toolbox.only(own))
        response = self._new_response(replace(terms, keeps=False))
        task = self._tasks.create_task(self._run_beside(response, agent, items, options))
        self._beside[response.id] = response, task

    def answer(self, call_id: str, output: str) -> bool:
        """The client ran a call; whether the turn waits for it."""
        turn = self.parked
        if turn is None or turn.parked.get(call_id, "") is not None:
            return False
        turn.parked[call_id] = output
        return True

    def _check_free(self) -> None:
        if self._active is not None:
            raise InvalidRequest(
                f"Conversation already has an active response in progress: {self._active.id}.",
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )

    def _goes_on(self, turn: Turn, asked: ResponseOptions | None) -> bool:
        """Whether the turn can be gone on with as it is: all results are there, and nothing else is asked."""
        plain = asked is None or not asked.model_dump(exclude_none=True, exclude={"metadata", "conversation"})
        return plain and not self.touched and all(output is not None for output in turn.parked.values())

    def _continue(self, turn: Turn, terms: Terms) -> None:
        outputs = dict(turn.parked)
        self._active = self._new_response(terms)
        self.view.go_on(self._active)
        for call_id, output in outputs.items():
            self.calls.answer(call_id, output or "")

    async def _run(self, response: Response, work: Work) -> None:
        try:
            await self._session.conductor.run_turn(work, partial(self._told.push, response=response))
        except AssertionError:
            raise  # a test's
        except Exception as error:
            response.fail(redact(str(error)))  # unless it told so already
            self._ended(response)
        self._told.turn_ended()

    async def _run_beside(self, response: Response, agent: Agent, items: Sequence[Item], options: TurnOptions) -> None:
        over = asyncio.Event()
        try:
            async with agent.session(user=self._session.conductor.context.user) as session:
                session.add(*items)
                view = TurnView(lambda: response, _names_clients(agent), lambda _: over.set(), lambda _: over.set())
                turn = self._tasks.create_task(_run_alone(session.conductor, options, view))
                try:
                    await over.wait()
                finally:
                    await session.interrupt()
                    turn.cancel()
        except Exception as error:
            response.fail(redact(str(error)))
        finally:
            response.cut_off("client_cancelled")
            del self._beside[response.id]

    def _terms(
        self, asked: ResponseOptions | None, config: SessionConfig, calls: ClientCalls
    ) -> tuple[Terms, TurnOptions, tuple[Tool, ...] | None]:
        """What is asked of a response, of its turn, and the tools that it brings."""
        if asked is None:
            return terms_of(config), _turn_options(config, None), None
        if asked.prompt is not None:
            raise _unsupported("response.prompt", "this server keeps no prompts.")
        if asked.input is not None and asked.conversation != "none":
            raise _unsupported("response.input", "only with response.conversation 'none'.")
        voice = None
        output = asked.audio.output if asked.audio is not None else None
        if output is not None and output.voice is not None:
            voice = voice_for(voice_name(output.voice), self._own, "response.audio.output.voice")
            config = replace(config, voice=voice_name(output.voice))
        if output is not None and output.format is not None:
            format = checked_format(output.format, "response.audio.output.format")
            config = replace(config, output_format=format)
        if asked.output_modalities is not None:
            config = replace(config, modality=asked.output_modalities[0])
        if asked.max_output_tokens is not None:
            config = replace(config, max_output_tokens=asked.max_output_tokens)
        if asked.tool_choice is not None:
            config = replace(config, tool_choice=asked.tool_choice)
        declared, names = None, None
        if asked.tools is not None:
            functions = checked_tools(asked.tools, "response.tools")
            if any(not isinstance(tool, FunctionTool) for tool in functions):
                raise _unsupported("response.tools", "MCP servers are declared by session.update.")
            declared = calls.tools(functions, "response.tools")
            names = tuple(tool.name for tool in self.toolbox.only(declared))
        self._check_choice(config.tool_choice, declared)
        options = replace(_turn_options(config, names), instructions=asked.instructions, voice=voice)
        return terms_of(config, asked.metadata), options, declared

    def _check_choice(self, choice: str | NamedTool, declared: Sequence[Tool] | None) -> None:
        if isinstance(choice, NamedTool) and choice.name is not None:
            known = {tool.name for tool in self.toolbox.all(*(declared or ()))}
            if choice.name not in known:
                raise InvalidRequest(
                    f"Invalid 'response.tool_choice.name': there is no tool '{choice.name}'.",
                    code="invalid_value",
                    param="response.tool_choice.name",
                )

    def _begin(self) -> Response:
        """A turn began that no client asked for: the user spoke, or a result came late."""
        self._active = self._new_response(terms_of(self._config()))
        return self._active

    def _ended(self, response: Response) -> None:
        if self._active is response:
            self._active, self.touched = None, False
            self._told.response_over(response)

    def _turn_over(self, turn: Turn) -> None:
        conversation = self._session.conductor.conversation
        conversation.name_replies(turn.word_ids)
        for call_id, output in turn.parked.items():  # it was cut off while it waited for them
            conversation.change(call_id, partial(_with_output, output))
        if self._borrowed:
            self._borrowed = False
            self._session.update(tools=self.toolbox.all())
        self._told.turn_settled()

    def _is_clients(self, name: str) -> bool:
        return is_clients(self._session.agent.registry.get(name))


async def _run_alone(conductor: Conductor, options: TurnOptions, view: TurnView) -> None:
    try:
        await conductor.run_turn(conductor.respond(options), view.take)
    except AssertionError:
        raise
    except Exception:
        return  # `TurnFailed` told


def _with_output(output: str | None, item: Item) -> Item:
    if not isinstance(item, ToolOutput):
        return item
    if output is None:
        return replace(item, output=NO_RESULT, status="running")
    return replace(item, output=output, status="ok")


def _names_clients(agent: Agent) -> Callable[[str], bool]:
    return lambda name: is_clients(agent.registry.get(name))


def terms_of(config: SessionConfig, metadata: dict[str, str] | None = None) -> Terms:
    """What the session's configuration asks of a response."""
    return Terms(
        modality=config.modality,
        format=config.output_format,
        voice=config.voice,
        max_output_tokens=config.max_output_tokens,
        metadata=metadata,
    )


def _turn_options(config: SessionConfig, tools: Sequence[str] | None) -> TurnOptions:
    choice = config.tool_choice
    limit = config.max_output_tokens
    return TurnOptions(
        speak=False if config.modality == "text" else None,
        tools=tools,
        tool_choice=choice if isinstance(choice, str) else choice.name or "required",
        max_tokens=None if limit == "inf" else limit,
    )


def _unsupported(param: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"'{param}' is not supported: {why}", code="unsupported_value", param=param)
