"""Server-sent events (text/event-stream of the HTML standard), read as they come in."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """What one empty line ended; a comment, which is how a stream shows that it lives, is a message without both."""

    id: str = ""
    data: str = ""


async def messages(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[Message, None]:
    """The messages of a stream. One that the connection breaks off before its empty line is dropped.

    Lines end in LF or CRLF, and in nothing else: JSON may hold the other characters that `str.splitlines` splits at.
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
