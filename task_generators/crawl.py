"""CrawlTaskGenerator: a breadth-first crawl; a task reads a page, and its result names the pages that come next.

The section [crawl] has:

- ``root``: a folder of HTML files, or instead
- ``url``: a site; only pages of the same scheme, host and port are read
- ``start``: the first page, relative to the root or the url; ``index.html`` for a root, the url itself for a site
- ``page_limit``: no more pages than this are read; 1000 by default
- ``timeout``: how long a site may be silent; 10s by default

Each page is read once, after a crash too: it is the key of its task. Its result is the list of the pages it links to:
together they are the site's link graph. A page that cannot be read is counted as a failure, and the crawl goes on.
"""

import posixpath
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.errors import ConfigError
from cyclone.generator import Config

_PAGE_BYTES_MAX = 8 * 1024 * 1024
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"


class CrawlTaskGenerator(BaseTaskGenerator):
    """Yields the first page, and for each result the pages that were not met before."""

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.page_limit = self.integer_option("crawl", "page_limit", 1000, at_least=1)
        self.start, self.read_page = self._first_page()
        self.met = {self.start}
        self.pages = 0
        self.links = 0
        self.failed_pages = 0

    def generate(self) -> Iterator[BaseTask]:
        yield self.read_page(self.start)

    def on_result(self, result: TaskResult) -> Iterator[BaseTask]:
        if not result.ok:
            self.failed_pages += 1
            return
        pages = result.value
        self.pages += 1
        self.links += len(pages)
        for page in pages:
            if page not in self.met and len(self.met) < self.page_limit:
                self.met.add(page)
                yield self.read_page(page)

    def summary(self) -> Mapping[str, Any]:
        return {"pages": self.pages, "links": self.links, "failed_pages": self.failed_pages}

    def _first_page(self) -> tuple[str, Callable[[str], BaseTask]]:
        url = self.option("crawl", "url", "")
        if bool(url) == bool(self.option("crawl", "root", "")):
            raise ConfigError("[crawl] root and url: give one of them, a folder of HTML files or a site")
        if not url:
            root = str(self.path_option("crawl", "root"))
            return self.option("crawl", "start", "index.html"), lambda path: ReadHtmlTask(path, root)
        start = _same_site(url, url, self.option("crawl", "start", ""))
        if start is None or not start.startswith(("http://", "https://")):
            raise ConfigError(f"[crawl] url = {url}: expected http://host/... or https://host/..., and start below it")
        timeout_s = self.duration_option("crawl", "timeout", "10s")
        return start, lambda page: FetchPageTask(page, timeout_s)


class FetchPageTask(BaseTask):
    """Fetches a page over HTTP and returns the URLs of the same host that it links to, each once, without fragments."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self.url = url
        self.timeout_s = timeout_s

    def key(self) -> str:
        return self.url

    def execute(self) -> list[str]:
        import urllib.request

        with urllib.request.urlopen(self.url, timeout=self.timeout_s) as response:
            elsewhere = _same_site(self.url, self.url, response.url) is None
            if elsewhere or response.headers.get_content_type() not in ("text/html", "application/xhtml+xml"):
                return []
            text = response.read(_PAGE_BYTES_MAX).decode(response.headers.get_content_charset("utf-8"), "replace")
            # After a redirect the page's links are relative to where it was found.
            pages = (_same_site(self.url, response.url, link) for link in links_of(text))
            return [page for page in dict.fromkeys(pages) if page is not None]


class ReadHtmlTask(BaseTask):
    """Reads an HTML file and returns those it links to, each once; all paths are relative to the folder ``root``."""

    def __init__(self, path: str, root: str) -> None:
        self.path = path
        self.root = root

    def key(self) -> str:
        return self.path

    def execute(self) -> list[str]:
        text = Path(self.root, self.path).read_text(encoding="utf-8", errors="replace")
        pages = (self._below_root(link) for link in links_of(text))
        return [page for page in dict.fromkeys(pages) if page is not None]

    def _below_root(self, link: str) -> str | None:
        """The page that a link names, None where it is not a page of this folder."""
        try:
            parts = urllib.parse.urlsplit(link)
        except ValueError:
            return None
        if parts.scheme or parts.netloc or not parts.path:
            return None
        path = urllib.parse.unquote(parts.path, errors="surrogateescape")
        base = "" if path.startswith("/") else posixpath.dirname(self.path)
        page = posixpath.normpath(posixpath.join(base, path.lstrip("/")))
        return page if page.endswith((".html", ".htm")) and not page.startswith("../") else None


def links_of(html: str) -> list[str]:
    """The ``href`` of each ``<a>`` in the order of the text."""
    collector = _LinkCollector()
    collector.feed(html)
    collector.close()
    return collector.links


class _LinkCollector(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value.strip() for name, value in attrs if name == "href" and value]


def _same_site(site: str, base: str, link: str) -> str | None:
    """The absolute URL of a link without its fragment, None where it leads to another host."""
    try:
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(base, link))
    except ValueError:
        return None
    if parts[:2] != urllib.parse.urlsplit(site)[:2]:
        return None
    url = parts._replace(path=parts.path or "/", fragment="").geturl()
    # urlopen takes ASCII only; what is escaped already stays as it is.
    return urllib.parse.quote(url, safe=_URL_SAFE)
