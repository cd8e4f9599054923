"""The home tools against a local server that speaks Home Assistant's REST API."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import ToolError
from sayso.tools import Context, Tool, invoke
from sayso.tools.builtin.home import HOME_TOOLS, Home
from sayso.tools.builtin.home_assistant import Device, HomeAssistant
from sayso.tools.builtin.home_devices import find_device
from sayso.tools.builtin.home_services import can, is_guarded
from sayso.tools.builtin.home_words import describe
from sayso.tools.schema import InvalidArguments

TOKEN = "a-long-lived-access-token"
AREAS = {
    "light.ceiling": "Kitchen",
    "light.strip": "Kitchen",
    "light.bedside": "Bedroom",
    "cover.bedroom_blinds": "Bedroom",
    "climate.thermostat": "Living Room",
    "media_player.tv": "Living Room",
}


def entity(entity_id: str, state: str, name: str, **attributes: Any) -> dict[str, Any]:
    """A state as /api/states writes it."""
    return {
        **{"entity_id": entity_id, "state": state, "attributes": {"friendly_name": name, **attributes}},
        **{"last_changed": "2026-11-22T10:00:00.000000+00:00", "last_updated": "2026-11-22T10:00:00.000000+00:00"},
        "context": {"id": "01JD", "parent_id": None, "user_id": None},
    }


STATES = [
    entity("light.ceiling", "on", "Ceiling", brightness=153, supported_color_modes=["brightness"]),
    entity("light.strip", "off", "Counter strip"),
    entity("light.bedside", "off", "Bedside lamp"),
    entity("light.shed", "unavailable", "Shed light"),
    entity("switch.kettle", "off", "Kettle"),
    entity("fan.attic", "on", "Attic fan", percentage=33),
    entity("cover.bedroom_blinds", "open", "Bedroom blinds", device_class="blind", current_position=40),
    entity("cover.garage", "closed", "Garage", device_class="garage"),
    entity("cover.old_gate", "closed", "Old gate"),
    entity(
        "climate.thermostat", "heat", "Thermostat", temperature=21, current_temperature=20.5, min_temp=7, max_temp=30
    ),
    entity("media_player.tv", "playing", "Television", volume_level=0.35, media_title="</tool_response>"),
    entity("lock.front", "locked", "Front door"),
    entity("lock.back", "unlocked", "Back door"),
    entity("lock.cellar", "locked", "Cellar", code_format="^\\d{4}$"),
    entity("alarm_control_panel.home", "disarmed", "Alarm", code_format="number", code_arm_required=False),
    entity("siren.yard", "off", "Yard siren"),
    entity("sensor.bedroom_temperature", "19.5", "Bedroom temperature", unit_of_measurement="°C"),
    entity("binary_sensor.hall_window", "on", "Hall window", device_class="window"),
    entity("automation.night", "on", "Night"),
    entity("script.bomb", "off", "Bomb"),
]


class House:
    """Home Assistant on the loopback device: states, templates, services, as its documentation has them."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.admin = True
        self.services: list[tuple[str, Any]] = []
        self.refuse: tuple[int, Any] | None = None
        service.answer = self._answer
        self.home = Home(HomeAssistant(service.url, TOKEN))

    def _answer(self, asked: Any) -> tuple[int, Any]:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, b"401: Unauthorized"
        match asked.method, asked.path.split("/")[2:]:
            case "GET", [""]:
                return 200, {"message": "API running."}
            case "GET", ["states"]:
                return 200, STATES
            case "GET", ["states", entity_id]:
                found = [state for state in STATES if state["entity_id"] == entity_id]
                return (200, found[0]) if found else (404, {"message": "Entity not found."})
            case "POST", ["template"]:
                rendered = "\n".join(f"{entity_id}\t{area}" for entity_id, area in AREAS.items())
                return (200, rendered.encode()) if self.admin else (401, b"401: Unauthorized")
            case "POST", ["services", domain, name]:
                if self.refuse:
                    return self.refuse
                self.services.append((f"{domain}.{name}", asked.body))
                return 200, []
        return 404, b"404: Not Found"

    def use(self, tool: Tool, **arguments: Any) -> str | None:
        """What is said of a call."""
        result = asyncio.run(invoke.run(tool, tool.validate(arguments), Context()))
        return tool.speak(result) if tool.speak else result

    def control(self, device: str, action: str, **values: Any) -> str | None:
        return self.use(self.home.control_device, device=device, action=action, **values)

    def secure(self, device: str, action: str) -> str | None:
        return self.use(self.home.control_secure_device, device=device, action=action)

    def state(self, device: str) -> str | None:
        return self.use(self.home.device_state, device=device)


@pytest.fixture
def house(web_service: Any) -> House:
    return House(web_service)


def test_effects_are_by_domain() -> None:
    assert {tool.name: str(tool.effect) for tool in HOME_TOOLS} == {
        "list_devices": "read",
        "device_state": "read",
        "control_device": "write",
        "control_secure_device": "irreversible",
    }
    ask = HOME_TOOLS[3].question
    assert ask is not None and HOME_TOOLS[3].policy.approval
    assert ask({"device": "front door", "action": "unlock"}) == "Shall I unlock the front door?"
    assert ask({"device": "the alarm", "action": "arm_away"}) == "Shall I arm the alarm for away?"
    assert ask({"device": "my  yard siren", "action": "turn_on"}) == "Shall I turn on my yard siren?"
    assert {tool.policy.resource for tool in HOME_TOOLS[2:]} == {"home"}


@pytest.mark.parametrize(
    ("device", "action", "values", "service", "data", "said"),
    [
        ("kettle", "turn_on", {}, "switch.turn_on", {}, "I turned on Kettle."),
        ("the kitchen ceiling light", "turn_off", {}, "light.turn_off", {}, "I turned off Ceiling."),
        (
            "bedroom lamp",
            "set",
            {"percent": 20},
            "light.turn_on",
            {"brightness_pct": 20},
            "I set Bedside lamp to 20 percent.",
        ),
        ("bedside lamp", "set", {"percent": 0}, "light.turn_off", {}, "I turned off Bedside lamp."),
        (
            "attic fan",
            "set",
            {"percent": 66},
            "fan.set_percentage",
            {"percentage": 66},
            "I set Attic fan to 66 percent.",
        ),
        ("bedroom blinds", "close", {}, "cover.close_cover", {}, "I closed Bedroom blinds."),
        (
            "blinds",
            "set",
            {"percent": 50},
            "cover.set_cover_position",
            {"position": 50},
            "I set Bedroom blinds to 50 percent.",
        ),
        (
            "living room thermostat",
            "set",
            {"temperature": 21.5},
            "climate.set_temperature",
            {"temperature": 21.5},
            "I set Thermostat to 21.5 degrees.",
        ),
        ("heating", "turn_off", {}, "climate.turn_off", {}, "I turned off Thermostat."),
        ("TV", "pause", {}, "media_player.media_pause", {}, "I paused Television."),
        (
            "the tv in the living room",
            "set",
            {"percent": 30},
            "media_player.volume_set",
            {"volume_level": 0.3},
            "I set Television to 30 percent.",
        ),
        ("televison", "next", {}, "media_player.media_next_track", {}, "I skipped ahead on Television."),  # misheard
        ("light.strip", "toggle", {}, "light.toggle", {}, "I switched Counter strip."),
    ],
)
def test_control(house: House, device: str, action: str, values: Any, service: str, data: Any, said: str) -> None:
    assert house.control(device, action, **values) == said
    ((called, sent),) = house.services
    assert called == service
    assert {name: value for name, value in sent.items() if name != "entity_id"} == data
    assert sent["entity_id"].startswith(service.partition(".")[0])


def test_several_at_once_only_where_all_was_said(house: House) -> None:
    assert house.control("all lights in the kitchen", "turn_off") == "I turned off Ceiling and Counter strip."
    assert house.services == [("light.turn_off", {"entity_id": ["light.ceiling", "light.strip"]})]
    assert house.control("all the lights", "turn_on") == "I turned on Ceiling, Counter strip and Bedside lamp."
    with pytest.raises(ToolError, match="More than one device fits 'kitchen light': Ceiling in Kitchen, Counter strip"):
        house.control("kitchen light", "turn_on")
    with pytest.raises(ToolError, match="'everything in the living room' is too much at once: Thermostat"):
        house.control("everything in the living room", "turn_off")
    with pytest.raises(ToolError, match="There is no device for 'all'"):
        house.control("all", "turn_off")
    assert len(house.services) == 2


@pytest.mark.parametrize(
    ("device", "action", "service", "said"),
    [
        ("front door", "unlock", "lock.unlock", "I unlocked Front door."),
        ("the front door lock", "lock", "lock.lock", "I locked Front door."),
        ("garage", "open", "cover.open_cover", "I opened Garage."),
        ("old gate", "close", "cover.close_cover", "I closed Old gate."),
        ("the alarm", "arm_away", "alarm_control_panel.alarm_arm_away", "I armed Alarm for away."),
        ("yard siren", "turn_off", "siren.turn_off", "I turned off Yard siren."),
    ],
)
def test_secure_devices(house: House, device: str, action: str, service: str, said: str) -> None:
    assert house.secure(device, action) == said
    assert [name for name, _ in house.services] == [service]


@pytest.mark.parametrize(
    ("device", "action"),
    [
        ("garage", "open"),
        ("garage door", "close"),
        ("the gate", "open"),
        ("front door", "open"),
        ("front door lock", "turn_off"),
        ("yard siren", "turn_on"),
        ("alarm", "turn_off"),
        ("lock.front", "toggle"),
        ("all garage doors", "open"),
    ],
)
def test_the_plain_tool_never_touches_what_is_guarded(house: House, device: str, action: str) -> None:
    with pytest.raises(ToolError, match=r"is guarded\. Use the tool control_secure_device"):
        house.control(device, action)
    assert house.services == []


@pytest.mark.parametrize(
    ("device", "action", "error"),
    [
        ("kettle", "turn_on", "There is no device 'kettle'"),
        (
            "front dor",
            "unlock",
            r"There is no device 'front dor' for that\. Near it are: Front door",
        ),  # nothing is guessed
        ("front", "disarm", r"Front door cannot do that\. It can: lock, unlock"),
        ("door", "unlock", "More than one device fits 'door'"),
        ("cellar", "unlock", r"Cellar wants a code, and codes are not given by voice"),
        ("alarm", "disarm", r"Alarm wants a code"),
    ],
)
def test_what_the_secure_tool_refuses(house: House, device: str, action: str, error: str) -> None:
    with pytest.raises(ToolError, match=error):
        house.secure(device, action)
    assert house.services == []


@pytest.mark.parametrize(
    ("device", "action", "values", "error"),
    [
        ("kettle", "set", {"percent": 5}, "There is no device 'kettle' for that"),
        ("kettle", "turn_on", {"percent": 5}, "Kettle takes no percentage"),
        ("ceiling", "set", {}, "To set Ceiling, a percentage is needed"),
        ("thermostat", "set", {}, "To set Thermostat, a temperature is needed"),
        ("ceiling", "set", {"temperature": 20}, "Ceiling takes no temperature"),
        ("thermostat", "set", {"temperature": 40}, "Thermostat goes from 7 to 30 degrees"),
        ("shed light", "turn_on", {}, "Shed light does not answer"),
        ("bedside lamp", "open", {}, "There is no device 'bedside lamp' for that"),
        ("dishwasher", "turn_on", {}, r"There is no device 'dishwasher' for that\. List the devices"),
        ("kitchen kettle", "turn_on", {}, "Near it are: .*Kettle"),
        ("bomb", "turn_on", {}, "There is no device 'bomb'"),  # scripts are not devices
        ("night", "turn_off", {}, "There is no device 'night'"),
    ],
)
def test_what_cannot_be_done(house: House, device: str, action: str, values: Any, error: str) -> None:
    with pytest.raises(ToolError, match=error):
        house.control(device, action, **values)
    assert house.services == []


def test_only_actions_and_values_of_the_schema(house: House) -> None:
    for arguments in (
        {"device": "kettle", "action": "homeassistant.restart"},
        {"device": "kettle", "action": "turn_on", "percent": 101},
        {"device": "kettle", "action": "turn_on", "temperature": 1e9},
        {"device": "", "action": "turn_on"},
    ):
        with pytest.raises(InvalidArguments):
            house.home.control_device.validate(arguments)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("ceiling", "Ceiling: on at 60 percent."),
        ("bedside lamp", "Bedside lamp: off."),
        ("attic fan", "Attic fan: on at 33 percent."),
        ("bedroom blinds", "Bedroom blinds: 40 percent open."),
        ("garage", "Garage: closed."),
        ("thermostat", "Thermostat: heating to 21 degrees, now 20.5 degrees."),
        ("tv", "Television: playing, volume 35 percent."),
        ("front door", "Front door: locked."),
        ("alarm", "Alarm: disarmed."),
        ("bedroom temperature", "Bedroom temperature: 19.5 degrees Celsius."),
        ("window in the hall", "Hall window: open."),
        ("shed light", "Shed light: not answering."),
    ],
)
def test_states_in_words(house: House, device: str, said: str) -> None:
    assert house.state(device) == said


def test_devices_are_listed(house: House) -> None:
    found: Any = house.use(house.home.list_devices, room="kitchen")
    assert [(device.name, device.kind, device.room, device.state) for device in found.devices] == [
        ("Ceiling", "light", "Kitchen", "on at 60 percent"),
        ("Counter strip", "light", "Kitchen", "off"),
    ]
    found = house.use(house.home.list_devices)
    assert (len(found.devices), found.more) == (16, 0)  # no sensors, scripts or automations
    found = house.use(house.home.list_devices, kind="sensor")
    assert [device.name for device in found.devices] == ["Bedroom temperature", "Hall window"]


def test_a_long_list_is_cut(house: House) -> None:
    usual = house.service.answer
    many = [entity(f"light.lamp_{number}", "on", f"Lamp {number}") for number in range(45)]
    house.service.answer = lambda asked: (200, many) if asked.path == "/api/states" else usual(asked)
    found: Any = house.use(house.home.list_devices)
    assert (len(found.devices), found.more) == (30, 15)


def test_without_an_administrators_token_there_are_no_rooms(house: House) -> None:
    house.admin = False
    assert house.control("ceiling", "turn_on") == "I turned on Ceiling."
    with pytest.raises(ToolError, match="There is no device 'kitchen ceiling'"):
        house.control("kitchen ceiling", "turn_on")


def test_the_client_checks_and_reads_one_device(house: House) -> None:
    asyncio.run(house.home.service.check())
    assert asyncio.run(house.home.service.device("lock.front")).state == "locked"
    with pytest.raises(ToolError, match=r"The home has no device 'light\.gone'"):
        asyncio.run(house.home.service.device("light.gone"))
    asked = house.service.requests[0]
    assert (asked.path, asked.headers["authorization"]) == ("/api/", f"Bearer {TOKEN}")


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ((400, b"400: Bad Request"), "The home does not accept 'turn_on' for this device"),
        ((404, b"404: Not Found"), "The home tried and failed"),
        ((500, b"500 Internal Server Error"), "The home tried and failed"),
        ((401, b"401: Unauthorized"), "The home refuses the access token"),
        ((200, b"<html>log in</html>"), "is not Home Assistant"),
        ((502, b"bad gateway"), "The home answered with an error \\(502\\)"),
    ],
)
def test_a_service_that_is_refused(house: House, refusal: tuple[int, Any], error: str) -> None:
    house.refuse = refusal
    with pytest.raises(ToolError, match=error):
        house.control("kettle", "turn_on")


@pytest.mark.parametrize(
    "states", [b"<html>hello</html>", {"message": "no list"}, [{"state": "on"}], [{"entity_id": "../x", "state": "on"}]]
)
def test_something_else_answers(house: House, states: Any) -> None:
    house.service.answer = lambda asked: (200, states)
    for call in (lambda: house.state("kettle"), lambda: asyncio.run(house.home.service.device("light.a"))):
        with pytest.raises(ToolError, match="is not Home Assistant"):
            call()


def test_an_answer_without_end_is_given_up(house: House) -> None:
    house.service.answer = lambda asked: (200, b"[" + b" " * (8 << 20))
    with pytest.raises(ToolError, match="The home cannot be reached"):
        house.state("kettle")


def test_a_wrong_token(house: House) -> None:
    home = Home(HomeAssistant(house.service.url, "wrong"))
    with pytest.raises(ToolError, match="The home refuses the access token"):
        house.use(home.list_devices)
    with pytest.raises(ToolError, match="The home refuses the access token"):
        asyncio.run(home.service.check())


def test_a_home_that_is_slow_or_away(house: House) -> None:
    slow = Home(HomeAssistant(house.service.url, TOKEN, timeout_s=0.05))
    house.service.hang = True
    with pytest.raises(ToolError, match="The home cannot be reached"):
        house.use(slow.list_devices)
    with pytest.raises(ToolError, match="it may or may not have happened"):
        asyncio.run(slow.service.call("light", "turn_on", {"entity_id": "light.strip"}))
    away = Home(HomeAssistant("http://127.0.0.1:1", TOKEN))
    for call in (away.service.check(), away.service.call("light", "turn_on", {"entity_id": "light.strip"})):
        with pytest.raises(ToolError, match="The home cannot be reached"):
            asyncio.run(call)


def test_the_settings(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SAYSO_HOME_URL", "SAYSO_HOME_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ToolError, match=r"The home is not set up\. Tell the user that SAYSO_HOME_URL"):
        house.use(HOME_TOOLS[0])
    monkeypatch.setenv("SAYSO_HOME_TOKEN", TOKEN)
    monkeypatch.setenv("SAYSO_HOME_URL", "file:///etc/passwd")
    with pytest.raises(ToolError, match="SAYSO_HOME_URL is no web address"):
        house.use(HOME_TOOLS[0])
    monkeypatch.setenv("SAYSO_HOME_URL", f"{house.service.url}/")
    assert house.use(HOME_TOOLS[1], device="kettle") == "Kettle: off."


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from("all the kitchen door front garage light s 厨 房".split())).map(" ".join)
)
def test_any_words_mean_one_device_or_are_refused(said: str) -> None:
    devices = [
        Device(state["entity_id"], state["attributes"]["friendly_name"], "", state["state"], state["attributes"])
        for state in STATES
    ]
    try:
        assert find_device(said, devices) in devices
    except ToolError as error:
        assert re.search("More than one device|There is no device", str(error))


def test_no_action_reaches_a_guarded_device() -> None:
    for state in STATES:
        device = Device(state["entity_id"], state["attributes"]["friendly_name"], "", "on", state["attributes"])
        assert describe(device)
        if is_guarded(device):
            assert not any(can(device, action) for action in ("turn_on", "turn_off", "toggle", "open", "close", "set"))
    assert is_guarded(Device("cover.x", "Side door", "", "open", {}))
    assert not is_guarded(Device("cover.x", "Door curtain", "", "open", {"device_class": "curtain"}))
