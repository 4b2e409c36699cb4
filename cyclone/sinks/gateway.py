"""A Pushgateway: one group for each target, put and deleted over HTTP.

Owns where it is, who we are there, and what its answers mean. prometheus-client makes the text and the address of a
group. A proxy is used where the environment names one (http_proxy, no_proxy), as by every other program.
"""

import base64
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, InvalidURL
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPSHandler, Request, build_opener

from prometheus_client import delete_from_gateway, push_to_gateway
from prometheus_client.registry import Collector

from cyclone.errors import ConfigError, CycloneError
from cyclone.settings import PushSettings
from cyclone.sinks.password_file import read_password

_GROUP = re.compile(r"(?P<base>.*?)/metrics(?:/job(?P<base64>@base64)?/(?P<job>[^/]+)(?P<rest>/.+)?)?")
_DEFAULT_JOB = "cyclone"
# Of what a gateway says about a refusal; the first line tells.
_REASON_CHARS_MAX = 300


class GatewayUnreachable(CycloneError):
    """There is no answer: nothing else that is sent now would arrive either."""


class GatewayRefused(CycloneError):
    """The gateway answers that it does not take this."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway is, and as whom to go there."""

    url: str
    job: str
    timeout_s: float
    user: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None


def read_address(settings: PushSettings) -> Address:
    """The gateway of ``[push]``, with the files that it names. Raises ConfigError."""
    url, job = _split_url(settings.url, settings.job)
    secure = url.startswith("https://")
    for name in ("tls_ca", "tls_cert", "tls_key"):
        if getattr(settings, name) and not secure:
            raise ConfigError(f"[push] {name}: is for https, and url is {url}")
    if bool(settings.user) != bool(settings.password_file):
        given, missing = ("user", "password_file") if settings.user else ("password_file", "user")
        raise ConfigError(f"[push] {missing}: is empty, and there is a {given}: write both, or none")
    password = read_password(settings.password_file, "[push] password_file") if settings.password_file else ""
    context = _tls(settings) if secure else None
    return Address(url, job, settings.timeout_s, settings.user, password, context)


def _split_url(text: str, job: str) -> tuple[str, str]:
    """The gateway's own address, and the job; files of the original have the job's group in their url."""
    url = text if "://" in text else f"http://{text}"

    # It may hold a password, where none belongs; of that nothing is shown, also where it has a slash in it.
    shown = re.sub("//.*@(?!base64/)", "//...@", url)

    def fault(reason: str) -> ConfigError:
        return ConfigError(f"[push] url: {shown if shown != url else text!r} {reason}")

    if shown != url:
        raise fault("holds a user: write user and password_file")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise fault(f"is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not _is_host(host) or not re.fullmatch(r"[!-~]+", url):
        raise fault("is no address of a Pushgateway: write such as http://gateway:9091")
    if parts.query or parts.fragment:
        raise fault("has more than a path: leave out what begins with ? or #")
    group = _GROUP.fullmatch(parts.path.rstrip("/"))
    base = group["base"] if group else parts.path
    if group and group["job"]:
        if group["rest"] or group["base64"]:
            raise fault("names more than a job: each target is a group of its own, leave out all behind the job")
        if job not in (_DEFAULT_JOB, unquote(group["job"])):
            raise fault(f"names another job than job = {job}: keep one of them")
        job = unquote(group["job"])
    if not job:
        raise ConfigError("[push] job: is empty: write a name, such as cyclone")
    return f"{parts.scheme}://{parts.netloc}{base}".rstrip("/"), job


def _is_host(name: str) -> bool:
    """Whether the resolver may be asked for it."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


def _tls(settings: PushSettings) -> ssl.SSLContext:
    if settings.tls_key and not settings.tls_cert:
        raise ConfigError("[push] tls_cert: is empty, and there is a tls_key: write both, or none")
    key, path = "tls_ca", settings.tls_ca
    try:
        context = ssl.create_default_context(cafile=path)
        if settings.tls_cert:
            key, path = "tls_cert", settings.tls_cert
            # Asked for nothing: a daemon has nobody who could type a passphrase.
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password=lambda: b"")
    except ssl.SSLError as error:
        raise ConfigError(f"[push] {key}: {path} is no PEM file that can be used: {error}") from None
    except OSError as error:
        raise ConfigError(f"[push] {key}: {path} cannot be read: {error.strerror}") from None
    return context


class Gateway:
    """See the module. What it raises says why, and where the gateway is."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._opener = build_opener(HTTPSHandler(context=address.tls)) if address.tls else build_opener()
        self._authorisation: dict[str, str] = {}
        if address.user:
            token = base64.b64encode(f"{address.user}:{address.password}".encode()).decode()
            self._authorisation = {"Authorization": f"Basic {token}"}

    def put(self, target: str, metrics: Collector) -> None:
        """Replace the target's group, with all that it held. Raises GatewayRefused, GatewayUnreachable."""
        where = self.address
        push_to_gateway(where.url, where.job, metrics, {"target": target}, where.timeout_s, self._handler)

    def delete(self, target: str) -> None:
        """Remove the target's group. Raises GatewayRefused, GatewayUnreachable."""
        where = self.address
        delete_from_gateway(where.url, where.job, {"target": target}, where.timeout_s, self._handler)

    def _handler(
        self, url: str, method: str, timeout: float | None, headers: Sequence[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """What prometheus-client calls to send something."""
        own: Mapping[str, str] = {**dict(headers), **self._authorisation}
        request = Request(url, data, own, method=method)

        def send() -> None:
            about = self.address.url
            try:
                with self._opener.open(request, timeout=timeout) as response:
                    response.read(_REASON_CHARS_MAX)
            except HTTPError as error:
                with error:
                    raise GatewayRefused(f"{about} answers {_answer(error)}") from None
            except OSError as error:
                reason = error.reason if isinstance(error, URLError) else error
                raise GatewayUnreachable(f"{about} does not answer: {reason}") from None
            except (ValueError, InvalidURL) as error:
                # Our own address was looked at when it was read.
                raise GatewayUnreachable(
                    f"{about} cannot be asked: {error}: see http_proxy and https_proxy in the environment"
                ) from None
            except HTTPException as error:
                raise GatewayUnreachable(
                    f"{about} does not answer as a gateway does: {type(error).__name__}: {str(error).strip()}"
                ) from None

        return send


def _answer(error: HTTPError) -> str:
    """What was answered, for people. Whoever answers so may not even end what they began to say."""
    status = f"{error.code} {error.reason}".strip()
    if elsewhere := error.headers.get("Location"):
        return f"{status}, and points to {elsewhere[:_REASON_CHARS_MAX]}: write where the gateway itself is"
    try:
        text = error.read(_REASON_CHARS_MAX).decode("utf-8", "replace").partition("\n")[0].strip()
    except (OSError, HTTPException):
        text = ""
    return f"{status}{text and f': {text}'}"
