"""WebRTC: the Realtime protocol with its events on a data channel and its sound on tracks."""

from sayso.server.rtc.route import router

__all__ = ["router"]
