"""The page: its files, and what a real browser does with it and a fake microphone against a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")

from starlette.testclient import TestClient

from sayso import Agent, tool
from sayso.items import AssistantReply, UserInput
from sayso.server.app import create_app
from sayso.server.host import Host
from sayso.server.page.route import STATIC
from sayso.server.settings import ServerSettings
from sayso.testing import ScriptedModel, call, hear, say, wait
from sayso.tools.context import Context
from sayso.tools.journal import Journal

STORY = "Once upon a time there was a baker who rose at three every night and told the bread what the day would bring."


@tool(effect="read", say="{result}")
def price(item: str) -> str:
    """The price of an item."""
    return f"{item} costs three euros"


@tool(effect="irreversible", confirm="Shall I order {item}?")
def order(item: str) -> str:
    """Order an item."""
    return f"{item} is ordered"


@tool(effect="write", timeout_s=300)
async def bake(context: Context) -> str:
    """Bake bread."""
    await context.report("the oven is warm")
    await asyncio.sleep(200)
    return "baked"


def served(*steps: Any, tmp_path: Path, **settings: Any) -> Any:
    agent = Agent(model=ScriptedModel(*steps), tools=[price, order, bake], journal=Journal())
    return create_app({"bakery": agent}, ServerSettings(conversations=tmp_path / "talks.sqlite", drain_s=0, **settings))


# --- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path) -> Generator[TestClient]:
    with TestClient(served(tmp_path=tmp_path), "http://127.0.0.1:8000") as client:
        yield client


def test_the_page_is_served_with_a_strict_policy(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'" and policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    again = client.get("/", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


def test_every_part_of_the_page_is_there(client: TestClient) -> None:
    page = client.get("/").text
    wanted = set(re.findall(r'(?:src|href)="page/([^"]+)"', page))
    assert {"app.js", "style.css", "theme.js", "icon.svg"} <= wanted
    for script in STATIC.glob("*.js"):
        wanted |= set(re.findall(r'(?:from|import|new URL\() ?"(?:\./)?([\w-]+\.js)"', script.read_text()))
    assert wanted == {path.name for path in STATIC.iterdir()} - {"index.html"}
    for name in wanted:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200, name
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/page/app.js").headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("path", ["/page/none.js", "/page/route.py", "/page/..%2froute.py", "/page/index.html"])
def test_nothing_else_is_served(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"


def test_the_page_asks_no_other_server_and_makes_no_html_of_text() -> None:
    for path in STATIC.iterdir():
        text = path.read_text()
        assert len(text.splitlines()) < 400, path.name
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|@import", text), (
            path.name
        )
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", page)


# --- a browser ----------------------------------------------------------------------------------------------------

Visit = Callable[..., Any]


async def data(page: Any, name: str) -> float:
    """A number that the page measured."""
    return float(await page.evaluate(f"document.documentElement.dataset.{name} ?? 0"))


async def write(page: Any, text: str) -> None:
    await page.get_by_role("textbox", name="Write instead of talking").fill(text)
    await page.keyboard.press("Enter")


async def quiet(page: Any) -> None:
    await page.wait_for_selector("html[data-phase=ready]")


def session_of(app: Any) -> Any:
    host: Host = app.state.host
    (opened,) = host.sessions
    return opened.session


def test_a_spoken_question_is_answered_with_a_tool_and_sound(chromium: Any, tmp_path: Path) -> None:
    app = served((None, [*hear("What is the bread?"), *call("price", item="bread")]), tmp_path=tmp_path)

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await page.get_by_role("switch", name="Hands-free").click()
            card = page.get_by_role("region", name="Tool price")
            await card.get_by_text("bread costs three euros").wait_for()
            assert await card.locator("dt, dd").all_inner_texts() == ["item", "bread"]
            assert await card.locator(".effect").inner_text() == "read"
            assert await card.get_attribute("data-status") == "ok"
            await page.wait_for_selector("html[data-phase=listening]:has(.latency[data-heard-ms])")
            assert await page.locator(".you").text_content() == "You: What is the bread?"
            assert await page.locator(".reply").text_content() == "Agent: bread costs three euros"
            assert await page.locator(".ahead").text_content() == ""  # all of it was heard
            assert await data(page, "playedMs") == pytest.approx(60 * len("bread costs three euros"), abs=5)
            assert await data(page, "outputPeak") > 20 and await data(page, "micPeak") > 20
            assert await data(page, "heardAfterMs") > 0
            said = await page.get_by_role("log", name="What was said last").locator("p").all_inner_texts()
            assert said[-3:] == ["You: What is the bread?", "Tool price: done.", "Agent: bread costs three euros"]

    chromium.run(main)


def test_the_button_is_held_to_talk(chromium: Any, tmp_path: Path) -> None:
    model = ScriptedModel((None, [*hear("what time"), *say("It is noon.")]))
    app = create_app({"bakery": Agent(model=model)}, ServerSettings(conversations=tmp_path / "talks", drain_s=0))

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            talk = page.get_by_role("button", name="Hold to talk")
            box = await talk.bounding_box()
            await page.mouse.move(box["x"] + 20, box["y"] + 20)
            await page.mouse.down()
            await page.wait_for_selector("html[data-phase=recording]")
            assert await talk.get_attribute("aria-pressed") == "true"
            await page.wait_for_timeout(2000)
            await page.mouse.up()
            await page.get_by_text("It is noon.").first.wait_for()
            await quiet(page)
        (said,) = [item for item in model.requests[0].items if isinstance(item, UserInput)]
        assert said.audio is not None and said.audio.sample_rate_hz == 16_000
        assert 1.7 < said.audio.seconds < 3 and abs(said.audio.samples).max() > 0.1

    chromium.run(main)


SLIP = """() => new Promise((done) => {
  const talk = document.getElementById("talk"), root = document.documentElement;
  new MutationObserver((_, observer) => {
    if (root.dataset.phase !== "recording") return;
    observer.disconnect();
    talk.click();
    done();
  }).observe(root, { attributes: true });
  talk.click();
})"""


def test_a_slip_of_the_finger_is_told(chromium: Any, tmp_path: Path) -> None:
    async def main(visit: Visit) -> None:
        async with visit(served(tmp_path=tmp_path)) as page:
            await page.evaluate(SLIP)  # a click talks until the next one, as for screen readers
            await page.get_by_role("alert").get_by_text("too short").wait_for()
            await quiet(page)

    chromium.run(main)


def test_a_call_is_approved_or_refused_by_its_buttons(chromium: Any, tmp_path: Path) -> None:
    app = served(
        (None, call("order", item="bread")),
        (None, say("It is ordered.")),
        (None, call("order", item="cake")),
        tmp_path=tmp_path,
    )

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await write(page, "Order bread")
            card = page.get_by_role("region", name="Tool order").first
            await card.get_by_text("Shall I order bread?").wait_for()
            assert await card.get_attribute("data-status") == "waiting"
            await card.get_by_role("button", name="Approve").click()
            await card.get_by_text("bread is ordered").wait_for()
            await page.get_by_text("It is ordered.").first.wait_for()
            assert await page.get_by_role("region", name="Tool order").count() == 1
            await quiet(page)
            await write(page, "Order cake")
            await page.get_by_role("button", name="Refuse").click()
            await page.get_by_text("You said no.").wait_for()
            session = session_of(app)
            assert session.approval is None
            assert [entry.status for entry in session.agent.call_journal.entries(session.id)] == ["ok"]

    chromium.run(main)


def test_stop_cuts_the_reply_where_it_was_heard(chromium: Any, tmp_path: Path) -> None:
    app = served((None, [*say(STORY), *wait(30)]), (None, say(STORY)), tmp_path=tmp_path)

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            for turn in (1, 2):  # while the turn runs, and once it is over and still plays
                await write(page, "Tell me")
                await page.wait_for_selector(f"html[data-phase=speaking][data-played-turn='{turn}']")
                await page.wait_for_timeout(700)
                await page.get_by_role("button", name="Stop", exact=True).click()
                await quiet(page)
                told = page.locator(".turn").nth(turn - 1)
                await told.locator(".cut-note").wait_for()
                heard = (await told.locator(".said").inner_text()).strip()
                assert heard and STORY.startswith(heard) and len(heard) < len(STORY) / 2
                assert heard + " " + await told.locator(".cut").inner_text() == STORY
                reply = session_of(app).history[-1]
                assert isinstance(reply, AssistantReply) and reply.interrupted
                assert abs(len(reply.text) - len(heard)) < 20
                played = await data(page, "playedMs")
                await page.wait_for_timeout(200)
                assert await data(page, "playedMs") == played

    chromium.run(main)


def test_speaking_interrupts(chromium: Any, tmp_path: Path) -> None:
    app = served((None, say(STORY * 3)), (None, [*hear("What is the bread?"), *say("Three.")]), tmp_path=tmp_path)

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await write(page, "Tell me")
            await page.wait_for_selector("html[data-phase=speaking]")
            await page.get_by_role("switch", name="Hands-free").click()
            await page.get_by_text("cut off").wait_for()
            await page.locator(".reply", has_text="Three.").wait_for()
            assert [item.text for item in session_of(app).history if isinstance(item, AssistantReply)][1:] == ["Three."]

    chromium.run(main)


def test_a_running_call_shows_progress_and_is_cancelled(chromium: Any, tmp_path: Path) -> None:
    app = served((None, call("bake")), (None, say("I stopped.")), tmp_path=tmp_path)

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            await write(page, "Bake")
            card = page.get_by_role("region", name="Tool bake")
            await card.get_by_text("the oven is warm").wait_for()
            assert await page.locator("#state").inner_text() == "Working…"
            await card.get_by_role("button", name="Cancel").click()
            await page.wait_for_selector(".card[data-status=cancelled]")
            await page.get_by_text("I stopped.").first.wait_for()

    chromium.run(main)


def test_the_keyboard_is_enough(chromium: Any, tmp_path: Path) -> None:
    app = served(
        (None, [*hear("Order bread"), *call("order", item="bread")]),
        (None, say(STORY)),
        (None, say("Bye.")),
        tmp_path=tmp_path,
    )

    async def main(visit: Visit) -> None:
        async with visit(app) as page:
            names = []
            for _ in range(7):
                await page.keyboard.press("Tab")
                names.append(await page.evaluate("document.activeElement.id || document.activeElement.className"))
                shown = "getComputedStyle(document.activeElement).outlineStyle"
                assert names[-1] in ("skip", "text") or await page.evaluate(shown) != "none"
            assert names[:3] == ["skip", "new", "settings-open"] and names[-3:] == ["hands-free", "talk", "text"]
            await page.keyboard.press("Shift+Tab")  # the button
            await page.keyboard.down("Space")
            await page.wait_for_selector("html[data-phase=recording]")
            await page.wait_for_timeout(1200)
            await page.keyboard.up("Space")
            await page.get_by_role("button", name="Approve").wait_for()
            await page.keyboard.press("Shift+Tab")
            for _ in range(12):
                await page.keyboard.press("Shift+Tab")
                if await page.evaluate("document.activeElement.textContent") == "Approve":
                    break
            await page.keyboard.press("Enter")
            await page.wait_for_selector("html[data-phase=speaking][data-played-turn='2']")
            await page.keyboard.press("Escape")
            await page.get_by_text("cut off").wait_for()
            await page.get_by_role("textbox").focus()
            await page.keyboard.type("Good bye")
            await page.keyboard.press("Enter")
            await page.locator(".reply", has_text="Bye.").wait_for()
            await page.get_by_role("button", name="Voice and look").focus()
            await page.keyboard.press("Enter")
            await page.get_by_role("dialog", name="Voice and look").wait_for()
            await page.keyboard.press("Escape")
            assert await page.evaluate("document.activeElement.id") == "settings-open"

    chromium.run(main)
