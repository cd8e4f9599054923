"""The page when things go wrong or are different: lost connections, keys, full servers, phones, colours, voices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")

from sayso import Agent, tool
from sayso.errors import ModelError
from sayso.server.app import create_app
from sayso.server.auth import Caller
from sayso.server.host import Host
from sayso.server.keys import KeyFile
from sayso.server.settings import Limits, ServerSettings
from sayso.testing import ScriptedModel, call, fail, hear, say, wait
from sayso.tools.journal import Journal

MARKUP = "<img src=x onerror=alert(1)><b>bold</b>"
HARMLESS = MARKUP.replace("<", "‹")
"""As tools' outputs and questions have it."""
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

Visit = Callable[..., Any]


@tool(effect="read")
def echo(text: str) -> str:
    """Say it again."""
    return text


@tool(effect="irreversible", confirm="Shall I send {text}?")
def send(text: str) -> str:
    """Send a text."""
    return text


def served(*steps: Any, tmp_path: Path, **settings: Any) -> Any:
    agent = Agent(model=ScriptedModel(*steps), tools=[echo, send], journal=Journal())
    return create_app({"bakery": agent}, ServerSettings(conversations=tmp_path / "talks.sqlite", drain_s=0, **settings))


async def write(page: Any, text: str) -> None:
    await page.get_by_role("textbox", name="Write instead of talking").fill(text)
    await page.keyboard.press("Enter")


async def phase(page: Any, name: str) -> None:
    await page.wait_for_selector(f"html[data-phase={name}]")


def test_words_of_others_are_text(chromium: Any, tmp_path: Path) -> None:
    app = served(
        (None, call("echo", text=MARKUP)),
        (None, say(MARKUP)),
        (None, call("send", text=MARKUP)),
        (None, fail(ModelError(MARKUP))),
        tmp_path=tmp_path,
    )

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await write(page, MARKUP)
            await page.locator(".reply", has_text=MARKUP).wait_for()
            await write(page, "Send it")
            await page.locator(".ask", has_text=f"Shall I send {HARMLESS}?").wait_for()
            await write(page, "Break")
            await page.locator(".error", has_text=MARKUP).wait_for()
            assert await page.locator(".you", has_text=MARKUP).count() == 1
            assert await page.locator("dd", has_text=MARKUP).count() == 2
            assert await page.locator(".result", has_text=HARMLESS).count() == 1
            assert await page.locator("img, #turns b").count() == 0

    chromium.run(main)


def test_the_browser_itself_refuses_html(chromium: Any, tmp_path: Path) -> None:
    async def main(visit: Visit) -> None:
        async with visit(served(tmp_path=tmp_path)) as page:
            with pytest.raises(Exception, match="TrustedHTML"):
                await page.evaluate("document.body.innerHTML = '<b>x</b>'")

    with pytest.raises(AssertionError, match="TrustedHTML"):  # the console told it too
        chromium.run(main)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_phone(chromium: Any, tmp_path: Path, colours: str) -> None:
    app = served(
        (None, [*hear("What did I say? " * 9), *call("echo", text="long" * 60)]), (None, say("It was long. " * 9)),
        tmp_path=tmp_path,
    )  # fmt: skip

    async def main(visit: Visit) -> None:
        async with visit(app, color_scheme=colours, **PHONE) as page:
            assert "space bar" not in await page.locator("#empty-hint").inner_text()
            await page.get_by_role("button", name="Hold to talk").tap()
            await phase(page, "recording")
            await page.wait_for_timeout(1500)
            await page.get_by_role("button", name="Hold to talk").tap()
            await page.locator(".reply", has_text="It was long.").wait_for()
            assert await page.evaluate("document.documentElement.scrollWidth") == 390
            assert await page.evaluate("document.querySelector('main').scrollWidth") == 390
            for name in ("Hands-free", "Hold to talk", "Stop", "New conversation", "Voice and look"):
                box = await page.locator(f"button:has-text('{name}'), button[aria-label='{name}']").bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] + box["height"] <= 844, name
                assert box["height"] >= 40, name
            shade = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]")
            assert (int(shade) > 200) == (colours == "light")

    chromium.run(main)


def test_dark_and_light_are_chosen_and_kept(chromium: Any, tmp_path: Path) -> None:
    async def main(visit: Visit) -> None:
        async with visit(served(tmp_path=tmp_path), color_scheme="light") as page:
            shade = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]"
            assert int(await page.evaluate(shade)) > 200
            await page.get_by_role("button", name="Voice and look").click()
            await page.get_by_text("Dark", exact=True).click()
            assert int(await page.evaluate(shade)) < 60
            await page.reload()
            await phase(page, "ready")
            assert int(await page.evaluate(shade)) < 60

    chromium.run(main)


def test_voices_are_tried_and_chosen(chromium: Any, tmp_path: Path) -> None:
    pytest.importorskip("sayso.server.audio", reason="the server speaks no given text")
    app = served(tmp_path=tmp_path)

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await page.get_by_role("button", name="Voice and look").click()
            assert await page.get_by_role("radio", name="tone").is_checked()
            await page.get_by_role("button", name="Listen to tone").click()
            await page.wait_for_selector("html[data-tried=tone]")
            assert await page.locator("#voices-message").inner_text() == ""
            assert app.state.host.agents["bakery"].voice_model.said == ["Hello. This is how I sound."]

    chromium.run(main)


def test_a_lost_connection_comes_back_and_misses_nothing(chromium: Any, tmp_path: Path) -> None:
    app = served((None, [*say("One. "), *wait(1.5), *say("Two. Three.")]), tmp_path=tmp_path)

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await write(page, "Count")
            await page.locator(".reply", has_text="One.").wait_for()
            await page.evaluate("window.dispatchEvent(new Event('offline'))")
            await phase(page, "broken")
            await page.locator(".reply", has_text="One. Two. Three.").wait_for()
            await phase(page, "ready")
            assert await page.locator(".turn").count() == 1
            assert float(await page.evaluate("document.documentElement.dataset.playedMs")) == pytest.approx(
                60 * len("One. Two. Three."), abs=5
            )

    chromium.run(main)


def test_a_reloaded_page_knows_what_was_said(chromium: Any, tmp_path: Path) -> None:
    app = served(
        (None, call("echo", text="again")),
        (None, say("I said it.")),
        (None, call("send", text="a card")),
        (None, say("Sent.")),
        tmp_path=tmp_path,
    )

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await write(page, "Say it again")
            await page.locator(".said", has_text="I said it.").wait_for()
            await phase(page, "ready")
            await write(page, "Send a card")
            await page.get_by_role("button", name="Approve").wait_for()
            await phase(page, "ready")
            await page.reload()
            await page.locator(".reply", has_text="I said it.").wait_for()
            assert await page.locator(".you").all_text_contents() == ["You: Say it again", "You: Send a card"]
            assert await page.locator(".card[data-status=ok] .card-name").inner_text() == "echo"
            await page.get_by_role("button", name="Approve").click()
            await page.locator(".reply", has_text="Sent.").wait_for()
            await page.get_by_role("button", name="New conversation").click()
            await phase(page, "ready")
            await page.get_by_role("heading", name="What can I do for you?").wait_for()
            assert len(app.state.host.conversations.list(agent="bakery", user="local")) == 1

    chromium.run(main)


def test_a_key_is_asked_for_and_kept_in_the_tab(chromium: Any, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("ann", Limits(), None)
    app = served((None, say("Hello Ann.")), tmp_path=tmp_path, keys=keys.path)

    async def main(visit: Visit) -> None:
        async with visit(app, phase="opening") as page:
            dialog = page.get_by_role("dialog", name="This server asks for a key")
            await dialog.get_by_label("API key").fill("wrong")
            await page.keyboard.press("Enter")
            await dialog.get_by_text("wrong, revoked, or expired").wait_for()
            await dialog.get_by_label("API key").fill(key)
            await page.keyboard.press("Enter")
            await phase(page, "ready")
            await write(page, "Hello")
            await page.locator(".reply", has_text="Hello Ann.").wait_for()
            assert key in await page.evaluate("JSON.stringify(sessionStorage)")
            assert key not in await page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
            await page.reload()
            await phase(page, "ready")

    chromium.run(main)


def test_who_waits_for_a_place_is_told(chromium: Any, tmp_path: Path) -> None:
    app = served(tmp_path=tmp_path, max_sessions=1, warm=False)
    host: Host = app.state.host
    caller = Caller("other", "other", "anonymous")

    async def main(visit: Visit) -> None:
        gone = asyncio.Event()
        taken = asyncio.Event()

        async def other() -> None:
            async with host.open_session("bakery", caller):
                taken.set()
                await gone.wait()

        holding = asyncio.create_task(other())
        await taken.wait()
        async with visit(app, phase="waiting") as page:
            await page.get_by_text("Waiting for a free place: number 1 in the queue").wait_for()
            gone.set()
            await phase(page, "ready")
        await holding

    chromium.run(main)


def test_what_is_wrong_is_told_in_words(chromium: Any, tmp_path: Path) -> None:
    app = served((None, fail(ModelError("The model is out of order."))), tmp_path=tmp_path)

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await write(page, "Hello")
            await page.locator(".error", has_text="The model is out of order.").wait_for()
            refuse = "() => Promise.reject(new DOMException('no', 'NotAllowedError'))"
            await page.evaluate(f"void (navigator.mediaDevices.getUserMedia = {refuse})")
            await page.get_by_role("switch", name="Hands-free").click()
            await page.get_by_role("alert").get_by_text("The microphone is blocked.").wait_for()
            assert await page.get_by_role("switch", name="Hands-free").get_attribute("aria-checked") == "false"
            await page.get_by_role("button", name="Close").click()
            assert not await page.get_by_role("alert").is_visible()

    chromium.run(main)


RESAMPLE = """async ([rate, hz]) => {
  const { Resampler } = await import("/page/resample.js");
  const input = Float32Array.from({ length: rate }, (_, at) => Math.sin(2 * Math.PI * hz * at / rate));
  const made = new Resampler(rate, 16000), pieces = [];
  for (let at = 0; at < rate; at += 128) pieces.push(...made.feed(input.subarray(at, at + 128)));
  pieces.push(...made.flush());
  const middle = pieces.slice(2000, 14000);
  const power = (list) => list.reduce((sum, one) => sum + one * one, 0) / list.length;
  const off = middle.map((one, at) => one - Math.sin(2 * Math.PI * hz * (at + 2000) / 16000));
  return [pieces.length, 10 * Math.log10(2 * power(middle) + 1e-20), 10 * Math.log10(2 * power(off) + 1e-20)];
}"""


@pytest.mark.parametrize("rate", [48_000, 44_100, 8_000])
def test_sound_is_resampled_without_aliases(chromium: Any, tmp_path: Path, rate: int) -> None:
    async def main(visit: Visit) -> None:
        async with visit(served(tmp_path=tmp_path)) as page:
            count, level_db, off_db = await page.evaluate(RESAMPLE, [rate, 1000])
            assert count == pytest.approx(16_000, abs=2)
            assert level_db == pytest.approx(0, abs=0.05) and off_db < -50  # the same tone, at the same time
            if rate > 20_000:
                _, alias_db, _ = await page.evaluate(RESAMPLE, [rate, 10_000])
                assert alias_db < -65

    chromium.run(main)


@pytest.mark.models
def test_a_question_to_the_embedded_model(chromium: Any, tmp_path: Path, model_path: Callable[[str], Path]) -> None:
    pytest.importorskip("faster_whisper", reason="the extra local is not installed")
    from sayso.models.embedded import embedded_model
    from sayso.tools.builtin import BUILTIN_TOOLS

    agent = Agent(model=embedded_model(), tools=BUILTIN_TOOLS, journal=Journal())
    app = create_app(agent, ServerSettings(conversations=tmp_path / "talks.sqlite", drain_s=0))

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            page.set_default_timeout(80_000)
            await page.get_by_role("switch", name="Hands-free").click()
            await page.wait_for_selector(".card[data-status=ok]")
            await page.wait_for_selector("html[data-phase=listening]:has(.latency[data-heard-ms])")
            assert "time" in (await page.locator(".you").first.text_content()).casefold()
            assert int(await page.evaluate("document.documentElement.dataset.outputPeak")) > 20
            voices = await page.locator("#voices li").count()
            assert voices > 1

    chromium.run(main)
