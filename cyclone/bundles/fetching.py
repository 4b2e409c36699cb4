"""A bundle's archive, from wherever it lies, into a file of our own.

Owns what may be named: a path, or a URL of file, http or https. Reads no farther than it must, follows no redirection
to anything else, and believes nothing: its caller compares the checksum.
"""

import hashlib
import http.client
import io
import os
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from cyclone.bundles import BundleError

FETCH_S_MAX = 3600.0
"""How long fetching may take in all; a server that falls silent is given up sooner."""

_SILENCE_S_MAX = 60.0
_BLOCK_BYTES = 1 << 20
_REMOTE = ("http", "https")
_EXPECTED = "expected a path, or a URL of file, http or https"


def local_path(url: str) -> Path | None:
    """The file that it names, or None for one on another host. BundleError for what is neither."""
    if not isinstance(url, str):
        raise BundleError(f"{url!r:.200} names no bundle: {_EXPECTED}")
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise BundleError(f"a malformed URL names no bundle: {_EXPECTED} ({error})") from error
    if parts.scheme in _REMOTE and parts.netloc:
        if "@" in parts.netloc:
            raise BundleError(f"{shown(url)} has a user in it, which is not understood: a token in its query would be")
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(urllib.request.url2pathname(parts.path))
    if not url or "://" in url or "\0" in url or parts.scheme in _REMOTE:
        raise BundleError(f"{shown(url)!r} names no bundle: {_EXPECTED}")
    return Path(url).absolute()


def fetch(url: str, target: Path, bytes_max: int) -> str:
    """Copy it into a new file; its SHA-256. Raises BundleError with what went wrong."""
    digest = hashlib.sha256()
    size, deadline_s = 0, time.monotonic() + FETCH_S_MAX
    try:
        with _opened(url) as source, open(target, "xb") as file:
            # What has come, however little: a whole block may take for ever.
            while block := source.read1(_BLOCK_BYTES):
                size += len(block)
                if size > bytes_max:
                    raise BundleError(
                        f"{shown(url)} has more than {bytes_max} bytes, which is all that bundles may take"
                    )
                if time.monotonic() > deadline_s:
                    raise BundleError(f"{shown(url)} has not come within {FETCH_S_MAX:g} s, only {size} bytes of it")
                digest.update(block)
                file.write(block)
            if missing := getattr(source, "length", None):
                raise BundleError(f"{shown(url)} has ended early, {missing} bytes before its end")
    except urllib.error.HTTPError as error:
        raise BundleError(f"{shown(url)} cannot be fetched: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise BundleError(f"{shown(url)} cannot be fetched: {reason}") from error
    return digest.hexdigest()


def checksum(path: Path) -> str:
    """The SHA-256 of a file. BundleError where it cannot be read."""
    try:
        with _regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error


def shown(url: str) -> str:
    """The URL as messages tell it: without what may be secret in it, a password or a query."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _REMOTE:
        return url
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _opened(url: str) -> io.BufferedReader | http.client.HTTPResponse:
    path = local_path(url)
    if path is not None:
        return _regular(path)
    # Not the opener of urllib: a redirection must not lead to a file or to ftp.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "cyclone")]
    answer: http.client.HTTPResponse = opener.open(url, timeout=_SILENCE_S_MAX)
    return answer


def _regular(path: Path) -> io.BufferedReader:
    # Without waiting: a FIFO would hang until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleError(f"{path} is no file")
    return os.fdopen(descriptor, "rb")
