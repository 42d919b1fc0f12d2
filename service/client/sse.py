"""Server-sent events (text/event-stream of the HTML standard), read as they arrive."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """An event, or a comment, which has neither id nor data and shows that the stream is alive."""

    id: str = ""
    data: str = ""


async def messages(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[Message, None]:
    """Yield the messages of a stream. A message that is cut off before its empty line is dropped.

    Lines end only in LF or CRLF: JSON may hold the other characters at which `str.splitlines` splits.
    """
    rest, number, data = b"", "", list[str]()
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            match line.removesuffix(b"\r").decode(errors="replace").partition(":"):
                case ("", "", _):
                    yield Message(number, "\n".join(data))
                    number, data = "", []
                case ("", ":", _):
                    yield Message()
                case ("id", _, value):
                    number = value.removeprefix(" ")
                case ("data", _, value):
                    data.append(value.removeprefix(" "))
