"""Requests to a service through the environment's proxy, and past it."""

import socket
import ssl
import threading
from contextlib import contextmanager

import httpx
import pytest
from rude import Rude, answer

from service.client import Client
from service.client.errors import Unavailable
from service.client.proxies import client_options
from service.errors import ServiceError

EMPTY = answer(200, {"items": [], "next": None})
THERE = "http://tunebench.example:8000"


@pytest.fixture(autouse=True)
def environ(monkeypatch):
    """A function that sets variables; before, no proxy is set."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "TUNEBENCH_URL", "TUNEBENCH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def set_all(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@contextmanager
def socks():
    """Yield the URL of a SOCKS 5 proxy that answers by itself, and the list of the hosts it was asked to connect to."""
    asked = []

    def serve(listening):
        connection, _ = listening.accept()
        with connection:
            connection.recv(2 + connection.recv(2)[1])
            connection.sendall(b"\x05\x00")
            head = connection.recv(5)
            asked.append(connection.recv(head[4]).decode())
            connection.recv(2)
            connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
            connection.recv(65536)
            EMPTY(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(10)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_service_behind_a_socks_proxy(environ, scheme):
    with socks() as (address, asked):
        environ(ALL_PROXY=f"{scheme}://{address}")
        with Client(THERE) as client:
            assert list(client.studies()) == []
    assert asked == ["tunebench.example"]  # the proxy looks the name up


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_service_behind_an_http_proxy(environ, name):
    with Rude(EMPTY) as proxy:
        environ(**{name: proxy.url.removeprefix("http://"), "NO_PROXY": "[::1],localhost"})
        with Client(THERE) as client:
            assert list(client.studies()) == []
    assert proxy.asked[0].line.startswith(f"GET {THERE}/v1/studies?")


@pytest.mark.parametrize(
    "proxies",
    [
        {"ALL_PROXY": "socks5h://127.0.0.1:1"},
        {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "[::1]"},
        {"HTTP_PROXY": "nonsense://", "NO_PROXY": "10.0.0.0/8 , <local>, [, :, *x, ::1/200"},
        {"all_proxy": "http://[::1"},
    ],
)
def test_this_machine_is_never_asked_by_way_of_a_proxy(environ, proxies):
    environ(**proxies)
    with Rude(EMPTY) as server, Client(server.url) as client:
        assert list(client.studies()) == []
    for here in ("localhost", "127.8.9.1", "[::1]", "x.localhost"):
        assert client_options(httpx.URL(f"http://{here}:8000"))["proxy"] is None


@pytest.mark.parametrize(
    ("no_proxy", "url", "spared"),
    [
        ("*", "http://a.example", True),
        ("a.example", "http://a.example", True),
        ("A.EXAMPLE", "http://a.example", True),
        (".example", "http://a.example", True),
        ("*.example", "http://a.example", True),
        ("example", "http://a.example", True),
        ("ample", "http://a.example", False),
        ("a.example:80", "http://a.example", True),
        ("a.example:8000", "http://a.example", False),
        ("a.example:443", "https://a.example", True),
        ("x, b.example a.example", "http://a.example", True),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8:80", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("fd00::/8", "http://[fd00::1]", True),
        ("[fd00::1]", "http://[fd00::1]", True),
        ("[fd00::1]:80", "http://[fd00::1]", True),
        ("fd00::1", "http://[fd00::2]", False),
        ("[::1], , [, :, <local>, 1.2.3.4/99", "http://a.example", False),
        ("", "http://a.example", False),
    ],
)
def test_what_no_proxy_spares(environ, no_proxy, url, spared):
    environ(ALL_PROXY="http://proxy.example:3128", NO_PROXY=no_proxy)
    assert (client_options(httpx.URL(url))["proxy"] is None) is spared


@pytest.mark.parametrize(
    "proxy", ["socks4://a:1", "ftp://a", "http://", "http://a:99999", "http://[::1", "://x", "a://u:secret@b"]
)
def test_a_proxy_that_is_none_is_named(environ, proxy):
    environ(ALL_PROXY=proxy)
    with pytest.raises(ServiceError) as error:
        Client(THERE)
    shown = proxy.replace("a://u:secret", "***")
    assert str(error.value).startswith(f"the environment's proxy for http, {shown!r}, cannot be used")
    assert str(error.value).endswith("or NO_PROXY to tunebench.example")
    assert "secret" not in str(error.value)


def test_a_proxy_that_is_away_is_named(environ):
    environ(ALL_PROXY="http://u:secret@127.0.0.1:1")
    with Client(THERE, timeout=0.1) as client, pytest.raises(Unavailable) as error:
        list(client.studies())
    assert f"{THERE} cannot be reached through the proxy http://127.0.0.1:1 (" in str(error.value)


@pytest.mark.parametrize(
    ("url", "proxy"), [("https://tunebench.example", {}), (THERE, {"HTTP_PROXY": "https://127.0.0.1:1"})]
)
def test_certificates_that_cannot_be_read_are_named(url, proxy, environ, tmp_path):
    environ(SSL_CERT_FILE=str(tmp_path / "none.pem"), **proxy)
    with pytest.raises(
        ServiceError, match="the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read"
    ):
        Client(url)


def test_plain_http_needs_no_certificates(environ, tmp_path):
    environ(SSL_CERT_FILE=str(tmp_path / "none.pem"))
    context = client_options(httpx.URL(THERE))["verify"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.get_ca_certs() == [], "it trusts nobody"
