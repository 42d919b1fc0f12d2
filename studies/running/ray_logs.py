"""The reason why Ray or its workers did not start, from Ray's own logs."""

import re
from collections.abc import Iterator
from pathlib import Path

TAIL = 65536  # bytes of a log that are read
LONGEST = 300  # characters of a line that are quoted
PRINTED, LOGGED = "printed", "logged"
# the first file with a telling line decides: what a process says as it dies comes before what others say of it
FILES = (
    ("raylet.err", PRINTED),  # by workers and agents that die before they have logs
    ("*_agent.err", PRINTED),
    ("*_agent.log", LOGGED),
    ("worker-*.err", PRINTED),
    ("raylet.err", LOGGED),
    ("gcs_server.err", LOGGED),
    ("dashboard.err", PRINTED),
    ("dashboard.log", LOGGED),
)
NATIVE = re.compile(r"\[[\d:, -]+ (?P<level>[A-Z]) \d+ \d+\] \(\w+\) [\w.]+:\d+: +(?P<words>.*)")
PYTHON = re.compile(r"[\d:, -]+\t(?P<level>[A-Z])[A-Z]+ [\w.]+:\d+ -- (?P<words>.*)")
# not telling: the loader's complaint about a library that Ray can do without, stacks, warnings, Ray's guesses, markers
IDLE = re.compile(
    r"ERROR: ld\.so: |/\S+\(|\*\*\* |\S+:\d+: \w*Warning: |- |\s|The raylet fate shares|Traceback |:\w+:|\[state-dump\]"
)
# not telling: another process's end, a dashboard that is not up, of which its own logs say more, or a port that another
# Ray here has taken from the dashboard's unused metrics
ECHO = re.compile(r"Raylet is terminated|Get dashboard http address failed|starting the metrics server")


def why(logs: Path) -> str:
    """Return the most telling line of a session's logs; empty if no line is telling."""
    for pattern, kind in FILES:
        for file in sorted(logs.glob(pattern)):
            if line := next(_telling(_tail(file), kind), ""):
                return f"{line[:LONGEST]} ({file.name})"
    return ""


def _telling(text: str, kind: str) -> Iterator[str]:
    """Yield the lines that say what is wrong: all printed lines that are not idle, or all logged errors."""
    for line in text.splitlines():
        found = NATIVE.match(line) or PYTHON.match(line)
        if kind == PRINTED and line and not found and not IDLE.match(line):
            yield line.strip()
        if kind == LOGGED and found and found["level"] in "ECF" and not ECHO.search(found["words"]):
            yield found["words"].strip()


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TAIL))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
