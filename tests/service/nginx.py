"""A real nginx with the documented configuration, under the prefix /tb/; under /zipped/ it compresses."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serving import await_port

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
DOCUMENT = Path(__file__).parents[2] / "docs" / "proxy.md"
KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # own folders: the default ones are root's
SETTINGS = """
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    {folders}
    server {{
        listen 127.0.0.1:{port};
        {location}
        location /zipped/ {{
            gzip on;
            gzip_types *;
            proxy_pass {served}/;
        }}
    }}
}}
"""


def problem_responses() -> str:
    """Return the configuration block of the document, unchanged."""
    (block,) = re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(block)


@contextmanager
def nginx(served: str, folder: Path) -> Iterator[str]:
    """Yield the outside address of the service at `served`, without the slash at its end."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    location, times = re.subn(r"127\.0\.0\.1:8000", urlsplit(served).netloc, problem_responses())
    assert times == 1
    folders = "\n    ".join(f"{kind}_temp_path {kind};" for kind in KINDS)
    file = folder / "nginx.conf"
    file.write_text(SETTINGS.format(folders=folders, port=port, location=location, served=served))
    command = [NGINX, "-p", str(folder), "-c", str(file), "-e", "stderr"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            await_port(port, process, (folder / "log").read_text)
            yield f"http://127.0.0.1:{port}/tb"
        finally:
            process.terminate()
