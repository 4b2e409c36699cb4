"""CrawlTaskGenerator on a site that a real HTTP server serves, and on a folder of files."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone import TaskResult
from cyclone.errors import ConfigError
from task_generators.crawl import CrawlTaskGenerator, FetchPageTask, ReadHtmlTask, links_of
from tests.support.drive import drive
from tests.support.generator_lives import Book, live

Graph = dict[str, list[str]]


class Site(http.server.ThreadingHTTPServer):
    """Serves a graph: each page links to its neighbours; counts how often each was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.graph: Graph = {}
        self.redirects: dict[str, str] = {}
        self.content_type = "text/html; charset=utf-8"
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Page(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[self.path])
            self.end_headers()
        elif self.path in self.server.graph:
            body = "".join(f'<p><a class=x href="{link}">link</a>' for link in self.server.graph[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", self.server.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def crawling(folder: Path = Path(), **options: str) -> CrawlTaskGenerator:
    return CrawlTaskGenerator({"crawl": options}, folder)


def pages(results: list[TaskResult]) -> list[str]:
    return [result.args[0] for result in results]


def test_given_a_site_with_cycles_then_each_page_is_fetched_once_breadth_first(site: Site) -> None:
    site.graph = {
        "/": ["/a", "/b", "/"],
        "/a": ["/c", "/b"],
        "/b": ["/d", "/a"],
        "/c": ["/e"],
        "/d": ["/", "/e"],
        "/e": [],
    }
    crawl = crawling(url=site.url)

    results = drive(crawl, batch=1)

    assert site.asked == ["/", "/a", "/b", "/c", "/d", "/e"]
    assert {page.removeprefix(site.url): [link.removeprefix(site.url) for link in result.value] for page, result in
            zip(pages(results), results, strict=True)} == site.graph  # fmt: skip
    assert crawl.summary() == {"pages": 6, "links": 10, "failed_pages": 0}


def test_given_links_in_many_forms_then_they_are_resolved_and_only_those_of_the_site_followed(site: Site) -> None:
    site.graph["/x/y"] = [
        "z",
        "./z#part",
        "../up?q=1&amp;r=2",
        " /spaced ",
        "/caf\u00e9 au lait",
        "/caf%C3%A9%20au%20lait",
        "#here",
        "",
        "https://127.0.0.1/other",
        "http://elsewhere.example/",
        "mailto:a@b",
        "javascript:void(0)",
        "http://[broken",
        site.url,
    ]

    assert FetchPageTask(site.url + "/x/y").execute() == [
        site.url + path for path in ("/x/z", "/up?q=1&r=2", "/spaced", "/caf%C3%A9%20au%20lait", "/x/y", "/")
    ]


def test_given_a_page_that_is_missing_then_it_counts_as_a_failure_and_the_crawl_goes_on(site: Site) -> None:
    site.graph = {"/": ["/missing", "/a"], "/a": ["/missing"]}
    crawl = crawling(url=site.url + "/")

    results = drive(crawl)

    assert [result.state for result in results] == ["completed", "failed", "completed"]
    assert results[1].error is not None and results[1].error.message == "HTTP Error 404: Not Found"
    assert crawl.summary() == {"pages": 2, "links": 3, "failed_pages": 1}


def test_given_a_page_limit_then_no_more_pages_are_read(site: Site) -> None:
    site.graph = {"/": [f"/{number}" for number in range(10)]}
    crawl = crawling(url=site.url, page_limit="4")

    assert [page.removeprefix(site.url) for page in pages(drive(crawl))] == ["/", "/0", "/1", "/2"]


def test_given_a_start_then_the_crawl_begins_there(site: Site) -> None:
    site.graph = {"/docs/first.html": ["second.html"], "/docs/second.html": []}
    crawl = crawling(url=site.url + "/docs/", start="first.html")

    assert pages(drive(crawl)) == [site.url + "/docs/first.html", site.url + "/docs/second.html"]


def test_given_something_else_than_html_then_it_has_no_links(site: Site) -> None:
    site.graph = {"/": ["/a"]}
    site.content_type = "text/plain"

    assert FetchPageTask(site.url + "/").execute() == []


def test_given_a_redirect_then_links_are_relative_to_where_it_leads(site: Site) -> None:
    site.graph = {"/new/place": ["next"]}
    site.redirects = {"/old": "/new/place"}

    assert FetchPageTask(site.url + "/old").execute() == [site.url + "/new/next"]


def test_given_a_redirect_to_another_host_then_nothing_of_it_is_followed(site: Site) -> None:
    with Site() as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        other.graph = {"/": ["/a", site.url + "/b"]}
        site.redirects = {"/away": other.url + "/"}

        assert FetchPageTask(site.url + "/away").execute() == []
        other.shutdown()


def test_given_a_site_that_is_silent_then_the_page_fails_after_the_timeout(site: Site) -> None:
    site.shutdown()
    crawl = crawling(url=site.url, timeout="200ms")

    (result,) = drive(crawl)

    assert result.error is not None and result.error.type == "TimeoutError"
    assert crawl.summary() == {"pages": 0, "links": 0, "failed_pages": 1}


@pytest.mark.parametrize(
    ("html", "links"),
    [
        ('<a href="x">', ["x"]),
        ("<A HREF=x>y</A><a name=z><a href>", ["x"]),
        ("<a href='a&amp;b'><link href=style><!-- <a href=comment> -->", ["a&b"]),
        ("<script>'<a href=script>'</script>", []),
        ("no <b>html &amp; at all", []),
    ],
)
def test_given_html_then_its_links_are_found(html: str, links: list[str]) -> None:
    assert links_of(html) == links


def write_site(folder: Path, graph: Graph) -> None:
    for name, links in graph.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f'<a href="{link}">x</a>' for link in links), encoding="utf-8")


def test_given_a_folder_of_html_files_then_its_link_graph_is_found(tmp_path: Path) -> None:
    graph: Graph = {
        "index.html": ["a/one.html", "a/two.htm"],
        "a/one.html": ["index.html", "a/two.htm"],
        "a/two.htm": ["a/caf\u00e9 1.html"],
        "a/caf\u00e9 1.html": [],
    }
    write_site(
        tmp_path / "site",
        {
            "index.html": ["a/one.html", "./a/../a/two.htm#x", "https://elsewhere.example/index.html"],
            "a/one.html": ["../index.html", "/a/two.htm?x=1", "picture.png", "#top", "mailto:a@b"],
            "a/two.htm": ["caf%C3%A9%201.html", "../../outside.html", "http://[broken"],
            "a/caf\u00e9 1.html": [],
        },
    )
    crawl = crawling(tmp_path, root="site")

    results = drive(crawl)

    assert {page: result.value for page, result in zip(pages(results), results, strict=True)} == graph
    assert crawl.summary() == {"pages": 4, "links": 5, "failed_pages": 0}


@pytest.mark.parametrize("page_limit", [1000, 4])
def test_given_a_crash_at_any_time_then_each_page_is_read_once_and_has_a_key_of_its_own(
    tmp_path: Path, page_limit: int
) -> None:
    graph: Graph = {
        "index.html": ["a.html", "b.html", "index.html"],
        "a.html": ["b.html", "c.html"],
        "b.html": ["index.html", "d.html"],
        "c.html": [],
        "d.html": ["a.html"],
    }
    for kill_after in range(20):
        book = live(
            Book(kill_after, value_of=lambda properties: graph[properties[0]]),
            lambda: crawling(root=str(tmp_path), page_limit=str(page_limit)),
            [kill_after] * 2,
        )

        pages_read = book.tasks()
        assert len(pages_read) == len(set(pages_read)) == len(set(book.keys)) == min(page_limit, len(graph))
        assert book.summary is not None
        assert book.summary["pages"] == len(pages_read)
        assert book.summary["links"] == sum(len(graph[page]) for page in pages_read)


def test_given_a_file_that_is_missing_then_it_counts_as_a_failure_and_the_crawl_goes_on(tmp_path: Path) -> None:
    write_site(tmp_path, {"begin.html": ["absent.html", "end.html"], "end.html": []})
    crawl = crawling(root=str(tmp_path), start="begin.html")

    assert [result.ok for result in drive(crawl)] == [True, False, True]
    assert crawl.summary()["failed_pages"] == 1


def test_given_a_file_that_is_not_utf_8_then_its_links_are_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b"caf\xe9 <a href=b.html>")

    assert ReadHtmlTask("a.html", str(tmp_path)).execute() == ["b.html"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"\[crawl\] root and url: give one of them"),
        ({"root": ".", "url": "http://x/"}, r"\[crawl\] root and url: give one of them"),
        ({"root": "/no/such"}, r"\[crawl\] root = /no/such: there is no"),
        ({"url": "ftp://x/"}, r"\[crawl\] url = ftp://x/: expected http://host"),
        ({"url": "http://x/", "start": "http://y/"}, r"\[crawl\] url = http://x/: .*start below it"),
        ({"url": "http://x/", "timeout": "soon"}, r"\[crawl\] timeout = soon: .*is not a duration"),
        ({"root": ".", "page_limit": "0"}, r"\[crawl\] page_limit = 0: expected a whole number of at least 1"),
    ],
)
def test_given_a_bad_option_then_section_and_key_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        crawling(Path(), **options)
