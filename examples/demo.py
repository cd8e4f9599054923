"""The first thing to run: three spoken questions go through the agent, which calls tools and answers aloud.

    make demo

The replies are left as WAV files in out/demo/.
"""

import asyncio
from pathlib import Path

from rich.console import Console

from sayso import Agent
from sayso.cli import print_result
from sayso.models.embedded import embedded_model
from sayso.speech.audio import save
from sayso.tools.builtin import BUILTIN_TOOLS

QUESTIONS = Path(__file__).parent / "questions"
OUT = Path("out/demo")


async def main() -> None:
    console = Console()
    agent = Agent(
        instructions="You are a friendly voice assistant.",
        tools=BUILTIN_TOOLS,
        model=embedded_model(),
    )
    async with agent.session() as session:
        with console.status("Loading the models"):
            await session.warm()
        for question in sorted(QUESTIONS.glob("*.wav")):
            console.rule(question.name)
            result = await session.ask(question)
            reply = OUT / question.name
            if result.audio is not None:
                save(reply, result.audio)
            print_result(result, reply)
            await session.warm()  # in a conversation the model reads on while its reply plays
    await agent.aclose()


OUT.mkdir(parents=True, exist_ok=True)
asyncio.run(main())
