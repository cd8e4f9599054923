"""`sayso.client`: talks to the agents of a server, with the events that a session in this process would give.

async with Client("http://127.0.0.1:8000") as client:
session = await client.session("sayso")
result = await session.ask("What time is it in Lisbon?")
print(result.text)
"""

from sayso.client.client import AgentInfo, Client, ClientError, RemoteTool, SessionInfo
from sayso.client.session import RemoteSession
from sayso.client.talk import RemoteTalk

__all__ = ["AgentInfo", "Client", "ClientError", "RemoteSession", "RemoteTalk", "RemoteTool", "SessionInfo"]
