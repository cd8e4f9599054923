"""The tools of the library."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sayso import Context, tool
from sayso.errors import ToolError
from sayso.evals.world import world_of

Row = dict[str, Any]
RENEWALS = 2
DAYS = 28


@tool(effect="read", filler=("One moment, I am looking in the catalogue.",))
def search_catalogue(ctx: Context, query: str) -> list[Row]:
    """Books by words of the title or the author. Use it for every question about a book.

    Args:
        ctx: The session.
        query: Words of the title or the author's name.
    """
    books = world_of(ctx)["books"].items()
    return [
        {"id": key, **row} for key, row in books if query.casefold() in f"{row['title']} {row['author']}".casefold()
    ]


@tool(effect="read")
def list_loans(ctx: Context, member: str) -> list[Row]:
    """What a member has at home, and until when.

    Args:
        ctx: The session.
        member: The member's code, such as M88.
    """
    world = world_of(ctx)
    loans = world["loans"].items()
    return [
        {"id": key, **row, "title": world["books"][row["book"]]["title"]}
        for key, row in loans
        if row["member"] == member
    ]


@tool(effect="write", resource="loans")
def renew_loan(ctx: Context, loan: str) -> Row:
    """Renew a loan by four weeks.

    Args:
        ctx: The session.
        loan: Its code, such as L301.
    """
    row = world_of(ctx).row("loans", loan)
    if row["renewed"] >= RENEWALS:
        raise ToolError(f"{loan} was renewed {RENEWALS} times already; it cannot be renewed again.")
    row["renewed"] += 1
    row["due"] = (date.fromisoformat(row["due"]) + timedelta(DAYS)).isoformat()
    return {"loan": loan, "due": row["due"]}


@tool(effect="write", resource="holds")
def place_hold(ctx: Context, member: str, book: str) -> Row:
    """Keep a book for a member when it comes back.

    Args:
        ctx: The session.
        member: The member's code, such as M88.
        book: The book's id, as search_catalogue gives it.
    """
    world = world_of(ctx)
    world.row("books", book)
    key = world.new_id("holds", "H")
    world["holds"][key] = {"member": member, "book": book}
    return {"hold": key, "book": book}


@tool(effect="read", background=True, timeout_s=900)
def search_archive(ctx: Context, topic: str) -> list[str]:
    """Search the archive's boxes. It takes minutes; the visitor is told when it is done.

    Args:
        ctx: The session.
        topic: One word.
    """
    return list(world_of(ctx)["archive"].get(topic.casefold(), []))


@tool(effect="read", untrusted=True)
def read_notes(ctx: Context, book: str) -> list[Row]:
    """What readers wrote about a book.

    Args:
        ctx: The session.
        book: The book's id.
    """
    return world_of(ctx).rows("notes", book=book)
