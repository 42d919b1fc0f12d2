"""A real PgBouncer in transaction mode: each transaction may use another connection to the server."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import await_port
from sqlalchemy import make_url
from writers import SERVER

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
SETTINGS = """
[databases]
here = {server} connect_query='SET search_path = {schema}'
nowhere = host=127.0.0.1 port=1 dbname=none
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
ignore_startup_parameters = options
"""


@contextmanager
def pgbouncer(schema: str) -> Iterator[str]:
    """Yield its URL without a database's name: `here` has the schema in its search path, `nowhere` has no server."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    url = make_url(SERVER)
    server = f"host={url.host} port={url.port or 5432} dbname={url.database} user={url.username}"
    if url.password:
        server += f" password={url.password}"
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(SETTINGS.format(server=server, schema=schema, port=port))
        Path(folder).chmod(0o755)  # it refuses to run as root
        nobody = 65534 if os.getuid() == 0 else None
        with subprocess.Popen(
            [PGBOUNCER, "--quiet", str(file)], user=nobody, stderr=subprocess.PIPE
        ) as process:
            try:
                await_port(port, process, lambda: process.stderr and process.stderr.read())
                yield f"postgresql://anybody@127.0.0.1:{port}"
            finally:
                process.kill()
