"""GET requests to a system that somebody named: bounded in time, bytes and tries, to one host, and never to where a cloud keeps its secrets.

What is allowed: http and https, any port, any address but those of `forbidden`. Private and loopback addresses are allowed: that is where
Grafana and Prometheus live, and only a person with a token of the API may name one. A name is resolved once a request, every address that
it may have is judged, and the connection goes to the address that was judged (a second answer of the name server changes nothing).
Redirects are followed to the same host only; proxies of the environment and `.netrc` are not used.

Errors are the kernel's: `Refused` (theirs: a status of 4xx, an address, an answer of the wrong shape), `Busy` (later: 429 and 5xx),
`Unreachable` (later: no connection, or no answer in time). No message repeats a header, a body or a token.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Any, Self

import httpx

from flowgate.errors import Busy, FlowgateError, NotFound, Refused, Unauthorized, Unreachable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, bytes and counts. `body` is counted after decompression."""

    connect: float = 5.0
    read: float = 30.0
    request: float = 90.0
    total: float = 900.0
    body: int = 32 * 2**20
    all_bodies: int = 512 * 2**20
    tries: int = 4
    backoff: float = 0.5
    longest_wait: float = 30.0
    concurrency: int = 8
    page: int = 1000
    pages: int = 1000
    in_a_row: int = 20
    """So many documents that fail one after another end a fetch: the system is down, not the documents."""


DEFAULT = Limits()


# --- where to ---------------------------------------------------------------------------------------------------------------------------

_METADATA = (ipaddress.ip_network("100.100.100.200/32"), ipaddress.ip_network("fd00:ec2::/32"))
"""Metadata services outside link-local: Alibaba Cloud's, and AWS's over IPv6."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052, 2.1


def forbidden(text: str) -> bool:
    """Link-local (169.254.0.0/16, fe80::/10: metadata services), other metadata services, unspecified, multicast; also inside an IPv6 address."""
    address = _embedded(ipaddress.ip_address(text.partition("%")[0]))
    return (
        address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or any(address.version == net.version and address in net for net in _METADATA)
    )


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), or itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, by this machine's resolver; it also reads decimal, octal and short forms, which are judged like any other."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Pinned(httpx.AsyncBaseTransport):
    """Sends a request to an address that was judged, under the name that was asked for (`Host`, and TLS's server name)."""

    def __init__(self, inner: httpx.AsyncBaseTransport, resolver: Resolve = resolve) -> None:
        self._inner, self._resolve = inner, resolver

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        request.extensions = {**request.extensions, "sni_hostname": host}
        failure: httpx.TransportError = httpx.ConnectError("no address")
        for address in await self._addresses(host, _port(request.url)):
            request.url = request.url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # `localhost` is ::1 first, and few listen there
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise Unreachable(f"the name {host} cannot be resolved") from None
        if any(forbidden(a) for a in addresses):
            raise Refused(f"{host} is an address that is never asked: link-local, metadata, unspecified or multicast")
        return addresses

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pool(limits: Limits) -> httpx.AsyncHTTPTransport:
    """Connections that know no proxy of the environment."""
    return httpx.AsyncHTTPTransport(verify=trusted(), limits=httpx.Limits(max_connections=limits.concurrency), trust_env=False)


@cache
def trusted() -> ssl.SSLContext:
    """Made once, as reading them takes 0.2 s: Mozilla's authorities (or those of SSL_CERT_FILE) and this machine's own: on premises, certificates are often signed at home."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


# --- one system ----------------------------------------------------------------------------------------------------------------------------

_AGAIN = {429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """`delimited`: the server said where the body ends, so that a connection that broke cannot look like a shorter body."""

    status: int
    body: bytes
    delimited: bool


class Outbound:
    """GET requests to one base address. Use as an async context manager; `credentials` are httpx's, `headers` go with every request."""

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        limits: Limits = DEFAULT,
        auth: httpx.Auth | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        self._base = _url(base)
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._left = limits.all_bodies
        transport = Pinned(_pool(limits), resolver)
        self._client = httpx.AsyncClient(
            headers={"accept-encoding": "gzip", "user-agent": "flowgate", **headers},
            auth=auth,
            transport=transport,
            timeout=httpx.Timeout(limits.read, connect=limits.connect, pool=None),
            follow_redirects=False,
            trust_env=False,
        )

    @property
    def limits(self) -> Limits:
        return self._limits

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def json(self, path: str, **query: str | int) -> Any:
        """The answer's JSON. Raises `NotFound`, `Unauthorized`, `Refused`, `Busy` or `Unreachable`."""
        return as_json(await self.bytes(path, **query), path)

    async def bytes(self, path: str, **query: str | int) -> bytes:
        """The body of a 200; every other status is raised."""
        answer = await self.get(path, **query)
        if answer.status != HTTPStatus.OK:
            raise refusal(answer.status, path)
        return answer.body

    async def get(self, path: str, **query: str | int) -> Answer:
        """An answer that another try would not change; what another try might change is tried again first."""
        url = self._base.copy_with(raw_path=self._base.raw_path.rstrip(b"/") + path.encode())
        if query:
            url = url.copy_merge_params({k: str(v) for k, v in query.items()})
        for number in range(1, self._limits.tries + 1):
            wait = self._limits.backoff * 2 ** (number - 1)
            try:
                async with self._slots, asyncio.timeout(self._limits.request):
                    return await self._once(url, path)
            except Busy as busy:
                failure: FlowgateError = busy
                wait = max(wait, busy.retry_after)
            except (TimeoutError, httpx.TransportError) as error:
                failure = _failure(error, path)
            except Unreachable as unreachable:
                failure = unreachable
            if isinstance(failure, Refused) or number == self._limits.tries or wait > self._limits.longest_wait:
                raise failure
            await asyncio.sleep(wait)
        raise Unreachable(f"{path}: not tried")

    async def _once(self, url: httpx.URL, path: str) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(url, path)
            try:
                if response.status_code in _REDIRECTS:
                    url = self._redirected(url, response, path)
                    continue
                if response.status_code in _AGAIN:
                    raise Busy(f"{path}: status {response.status_code}", _retry_after(response))
                delimited = "content-length" in response.headers or "transfer-encoding" in response.headers
                return Answer(response.status_code, await self._body(response, path), delimited)
            finally:
                await response.aclose()
        raise Refused(f"{path}: redirected more than {MAX_REDIRECTS} times")

    async def _send(self, url: httpx.URL, path: str) -> httpx.Response:
        try:
            return await self._client.send(self._client.build_request("GET", url), stream=True)
        except (httpx.InvalidURL, UnicodeError):  # httpx looks at `location` though it does not follow; idna's errors are UnicodeErrors
            raise Refused(f"{path}: redirected to what is no URL") from None

    def _redirected(self, url: httpx.URL, response: httpx.Response, path: str) -> httpx.URL:
        target = url.join(response.headers.get("location", ""))
        if target.host != url.host or _port(target) not in (_port(url), 443) or target.scheme not in (url.scheme, "https"):
            raise Refused(f"{path}: redirected to another host, which is not followed")
        return target

    async def _body(self, response: httpx.Response, path: str) -> bytes:
        """Whole, decompressed within bounds: httpx would inflate a whole chunk before anybody could count it."""
        body, coding = bytearray(), _coding(response, path)
        async for chunk in response.aiter_raw():
            body += coding.decode(chunk, self._limits.body + 1 - len(body))
            if len(body) > self._limits.body:
                raise Refused(f"{path}: larger than {self._limits.body} bytes")
        if not coding.whole:
            raise Refused(f"{path}: damaged gzip")
        self._left -= len(body)
        if self._left < 0:
            raise Refused(f"{path}: all answers together are larger than {self._limits.all_bodies} bytes")
        return bytes(body)


class _Identity:
    whole = True

    def decode(self, chunk: bytes, most: int) -> bytes:
        return chunk


class _Gzip:
    """RFC 1952; a stream that ends early is not whole."""

    def __init__(self, path: str) -> None:
        self._inflater, self._path = zlib.decompressobj(wbits=31), path  # 16 + the largest window

    @property
    def whole(self) -> bool:
        return self._inflater.eof

    def decode(self, chunk: bytes, most: int) -> bytes:
        try:
            return self._inflater.decompress(chunk, most)
        except zlib.error:
            raise Refused(f"{self._path}: damaged gzip") from None


def _coding(response: httpx.Response, path: str) -> _Identity | _Gzip:
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return _Identity()
    if coding in ("gzip", "x-gzip"):
        return _Gzip(path)
    raise Refused(f"{path}: in a coding that was not asked for")


def _url(base: str) -> httpx.URL:
    try:
        url = httpx.URL(base.rstrip("/"))
        known = url.scheme in ("http", "https") and bool(url.host)  # the host is decoded when it is asked for
    except (httpx.InvalidURL, UnicodeError):
        raise Refused("the address is not a URL") from None
    if not known:
        raise Refused("only http and https addresses are asked")
    return url


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _retry_after(response: httpx.Response) -> float:
    """RFC 9110, 10.2.3: seconds or a date; 0 where there is none, or none that can be read."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        sent = parsedate_to_datetime(response.headers.get("date", ""))
        return max((parsedate_to_datetime(value) - sent).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def _failure(error: Exception, path: str) -> Unreachable | Refused:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Unreachable(f"{path}: no whole answer in time")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Refused(f"{path}: its certificate is not trusted here")
    return Unreachable(f"{path}: no connection, or one that broke ({type(error).__name__})")


def refusal(status: int, path: str) -> FlowgateError:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Unauthorized(f"{path}: status {status}, the token may not read this")
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(f"{path}: status 404")
    return Refused(f"{path}: status {status}")


def as_json(body: bytes, path: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(f"{path}: the answer is not JSON") from None
