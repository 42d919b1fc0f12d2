"""A study's events, over as many connections as necessary."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from service.client.errors import Unavailable, unreachable
from service.client.retrying import Call, Caller, RetrySchedule
from service.client.sse import Message, messages
from service.schemas import Event

SILENCE_SECONDS = 45.0  # three heartbeats of an event stream: after that its connection is dead


class EventStream:
    """The events at `path` after event `after`, each once and in order, for as long as their study exists.

    A connection that breaks or falls silent is retried for up to `seconds` of the caller, and continues where it was.
    """

    def __init__(self, caller: Caller, path: str, after: int) -> None:
        self._caller, self._path, self._after = caller, path, after
        self._patience: RetrySchedule | None = None  # since the connection broke
        self._broken: Unavailable | None = None

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield the events. Raises ApiError: for a transient failure, after `seconds` of retries."""
        while True:
            async with aclosing(self._connection()) as events:
                async for event in events:
                    yield event
            broken = self._broken or unreachable(self._caller.url, "the connection ended")
            self._patience = self._patience or RetrySchedule(self._caller.seconds)
            await self._caller.transport.sleep(self._patience.pause(broken))

    async def _connection(self) -> AsyncGenerator[Event, None]:
        """Yield the events of one connection, until it ends or an event is missing."""
        async with aclosing(self._messages()) as heard:
            async for message in heard:
                event = self._event(message)
                if event is None or event.number <= self._after:
                    continue
                if event.number > self._after + 1:
                    return
                self._after = event.number
                yield event

    def _event(self, message: Message) -> Event | None:
        """Return the message's event; None for the opening of the stream and for heartbeats."""
        if message.id and not message.data:
            self._after = min(self._after, int(message.id))  # less: the study was deleted and created again
            return None
        self._patience = None
        return self._caller.read(Event, message.data) if message.data else None

    async def _messages(self) -> AsyncGenerator[Message, None]:
        """Yield the messages of one connection. Set `_broken` if it fails."""
        headers = {"Last-Event-ID": str(self._after), "Accept": "text/event-stream"}
        stream = self._caller.stream(Call("GET", self._path, headers=headers), silence=SILENCE_SECONDS)
        self._broken = None
        try:
            async with aclosing(stream) as chunks, aclosing(messages(chunks)) as heard:
                async for message in heard:
                    yield message
        except Unavailable as error:
            self._broken = error
