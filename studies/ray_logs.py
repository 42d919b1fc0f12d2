"""Why Ray or its workers did not start, out of Ray's own logs."""

import re
from collections.abc import Iterator
from pathlib import Path

TAIL = 65536  # bytes of a log that are read
LONGEST = 300  # characters of a line that are told
# the first with a telling line decides: what a process says as it dies before what its parent makes of it
FILES = (
    "runtime_env_agent.err",
    "dashboard_agent.err",
    "runtime_env_agent.log",
    "dashboard_agent.log",
    "worker-*.err",
    "raylet.err",
    "gcs_server.err",
    "dashboard.err",
    "dashboard.log",
)
NATIVE = re.compile(r"\[[\d:, -]+ (?P<level>[A-Z]) \d+ \d+\] \(\w+\) [\w.]+:\d+: +(?P<words>.*)")
PYTHON = re.compile(r"[\d:, -]+\t(?P<level>[A-Z])[A-Z]+ [\w.]+:\d+ -- (?P<words>.*)")
# the loader's complaint about a library that Ray can do without; a stack; warnings; Ray's guesses and markers
IDLE = re.compile(
    r"ERROR: ld\.so: |/\S+\(|\*\*\* |\S+:\d+: \w*Warning: |- |\s|The raylet fate shares|Traceback |:\w+:|\[state-dump\]"
)
ERROR = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt)\b")


def why(logs: Path) -> str:
    """The line of a session's logs that tells the most; empty where none tells anything."""
    for pattern in FILES:
        for file in sorted(logs.glob(pattern)):
            if line := next(_telling(_tail(file), log=file.suffix == ".log"), ""):
                return f"{line[:LONGEST]} ({file.name})"
    return ""


def _telling(text: str, *, log: bool) -> Iterator[str]:
    """Lines that say what is wrong. Of what was logged only errors; of what was printed, all that is not idle."""
    for line in text.splitlines():
        if found := NATIVE.match(line) or PYTHON.match(line):
            if found["level"] in "ECF":
                yield found["words"].strip()
        elif line and not IDLE.match(line) and (not log or ERROR.match(line)):
            yield line.strip()


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - TAIL))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
