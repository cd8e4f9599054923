"""The routes of chat completions and models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from sayso.server.auth import CalledBy
from sayso.server.chat.answer import Job, chunks, whole
from sayso.server.chat.memory import memory_of
from sayso.server.chat.request import ChatRequest
from sayso.server.chat.response import ChatCompletion
from sayso.server.host import host_of
from sayso.server.streaming import EVENTS, Events, Primed, while_connected

router = APIRouter(prefix="/v1", tags=["chat"])

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or, with `stream`, its chunks as Server-Sent Events, `[DONE]` at the end.",
        "content": {"text/event-stream": EVENTS},
    }
}


class Model(BaseModel):
    """An agent, as a model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "sayso"


class ModelList(BaseModel):
    """All that this caller may use."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models")
async def list_models(request: Request, caller: CalledBy) -> ModelList:
    """The agents that this caller may talk to, as models."""
    return ModelList(data=[Model(id=name) for name in host_of(request).agents if caller.may_use(name)])


@router.get("/models/{model}")
async def get_model(
    model: Annotated[str, Path(description="The agent's name.")], request: Request, caller: CalledBy
) -> Model:
    """One agent, as a model."""
    return Model(id=host_of(request).agent_name(model, caller))


@router.post("/chat/completions", response_model=ChatCompletion, response_model_exclude_none=False, responses=STREAM)
async def create_chat_completion(body: ChatRequest, request: Request, caller: CalledBy) -> Any:
    """Answer a conversation that the client keeps: one turn of the agent, written or spoken."""
    job = Job.of(host_of(request), memory_of(request), caller, body)
    if not body.stream:
        return await while_connected(request, whole(job))
    return Events(await while_connected(request, Primed(chunks(job)).start()))
