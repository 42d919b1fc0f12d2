"""The route to a service: direct, or through the proxy that the environment names."""

import ipaddress
import re
import ssl
from contextlib import suppress
from typing import Any
from urllib.request import getproxies

import httpx

from service.errors import SettingError


def client_options(url: httpx.URL) -> dict[str, Any]:
    """Return an httpx client's options for this URL. Raises SettingError for an invalid proxy or invalid certificates.

    httpx's own reading of the environment fails for every URL if NO_PROXY has an entry that httpx does not understand.
    """
    proxy = _proxy(url)
    secure = "https" in (url.scheme, proxy and proxy.url.scheme)
    return {"trust_env": False, "verify": _certificates() if secure else _no_certificates(), "proxy": proxy}


def _certificates() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context(trust_env=True)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            f"the certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}"
        ) from error


def _no_certificates() -> ssl.SSLContext:
    """Return a context that trusts nobody, for plain HTTP: to read the certificates takes 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _proxy(url: httpx.URL) -> httpx.Proxy | None:
    known = getproxies()
    given = known.get(url.scheme) or known.get("all")
    if not given or _is_this_machine(url.host) or _is_excluded(url, known.get("no", "")):
        return None
    text = given if "://" in given else f"http://{given}"
    try:
        proxy = httpx.Proxy(text)
        if not proxy.url.host or (proxy.url.port or 0) >= 2**16:
            raise ValueError("no host and port")
    except (httpx.InvalidURL, ValueError) as error:
        shown = text if "@" not in text else "***@" + text.rpartition("@")[2]
        raise SettingError(
            f"the environment's proxy for {url.scheme}, {shown!r}, cannot be used ({error}); set "
            f"{url.scheme.upper()}_PROXY or ALL_PROXY to a URL like http://HOST:PORT or socks5h://HOST:PORT, or "
            f"NO_PROXY to {url.host}"
        ) from error
    return proxy


def _is_this_machine(host: str) -> bool:
    """Return whether `host` is this machine, which no proxy can reach for us."""
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_excluded(url: httpx.URL, no_proxy: str) -> bool:
    """Return whether NO_PROXY names the host, or a domain or network that contains it, with or without its port."""
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    return any(_names(entry, url.host, port) for entry in no_proxy.lower().replace(",", " ").split())


def _names(entry: str, host: str, port: int) -> bool:
    if found := re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", entry):
        entry, its_port = found.groups()
        if int(its_port) != port:
            return False
    name, address = entry.strip("[]"), _address(host)
    if address is not None:
        with suppress(ValueError):  # the entry is a name, not a network
            return address in ipaddress.ip_network(name, strict=False)
    domain = name.removeprefix("*").removeprefix(".")
    return name == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
