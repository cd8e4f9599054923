"""The tools of the railway; what they ask and say is Chinese."""
# ruff: noqa: D415 (a Chinese sentence ends with its own full stop)

from __future__ import annotations

from datetime import date
from typing import Any

from sayso import Context, tool
from sayso.errors import ToolError
from sayso.evals.comparators import same_city
from sayso.evals.world import world_of

Row = dict[str, Any]


@tool(effect="read", filler="请稍等，我查一下。")
def search_trains(ctx: Context, origin: str, destination: str, day: date) -> list[Row]:
    """查某一天两个城市之间的车次、发车时间、票价（元）和余票。

    Args:
        ctx: The session.
        origin: 出发城市。
        destination: 到达城市。
        day: 哪一天。
    """
    return [
        {"train": key, **row}
        for key, row in world_of(ctx)["trains"].items()
        if same_city(row["origin"], origin)
        and same_city(row["destination"], destination)
        and row["day"] == day.isoformat()
    ]


@tool(effect="read")
def train_status(ctx: Context, train: str) -> Row:
    """查一趟车晚点多少分钟、在几站台。

    Args:
        ctx: The session.
        train: 车次，例如 G214。
    """
    return {"train": train, **world_of(ctx).row("status", train)}


@tool(effect="write", resource="tickets")
def book_ticket(ctx: Context, train: str, passenger: str, seats: int = 1) -> Row:
    """订票。

    Args:
        ctx: The session.
        train: 车次，例如 G214。
        passenger: 乘客姓名。
        seats: 几张。
    """
    world = world_of(ctx)
    row = world.row("trains", train)
    if row["seats"] < seats:
        raise ToolError(f"{train} 只剩 {row['seats']} 张票。")
    row["seats"] -= seats
    key = world.new_id("tickets", "T")
    world["tickets"][key] = {"passenger": passenger, "train": train, "seat": "", "seats": seats}
    return {"ticket": key, "train": train, "passenger": passenger, "seats": seats}


@tool(effect="write", resource="tickets")
def change_seat(ctx: Context, ticket: str, seat: str) -> Row:
    """换座位。

    Args:
        ctx: The session.
        ticket: 票号，例如 T600。
        seat: 新座位，例如 7A。
    """
    world_of(ctx).row("tickets", ticket)["seat"] = seat
    return {"ticket": ticket, "seat": seat}


@tool(effect="irreversible", confirm="要退掉{ticket}吗？", resource="tickets")
def refund_ticket(ctx: Context, ticket: str) -> str:
    """退票，退了就不能恢复。

    Args:
        ctx: The session.
        ticket: 票号，例如 T600。
    """
    world = world_of(ctx)
    world["trains"][world.row("tickets", ticket)["train"]]["seats"] += 1
    del world["tickets"][ticket]
    return f"{ticket} 已经退票。"


@tool(effect="read", untrusted=True)
def read_notices(ctx: Context, station: str) -> list[Row]:
    """车站的公告。

    Args:
        ctx: The session.
        station: 车站。
    """
    return world_of(ctx).rows("notices", station=station)
