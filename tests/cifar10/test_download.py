from __future__ import annotations

import hashlib
import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifar10 import DatasetNotFoundError, Split, download, load, pickles

from .conftest import Snapshot, pixels
from .test_pickles import batch

CONTENT = batch(pixels(2), [4, 2])


def archive(content: bytes = CONTENT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        entry = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


class Website:
    """A local web server; `body` is what it sends, `announced` the length that it promises."""

    def __init__(self) -> None:
        self.body = archive()
        self.announced: int | None = None
        self.status = 200
        self.stall = threading.Event()
        self.stall.set()
        self.requests = 0
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests += 1
                self.send_response(site.status)
                self.send_header("Content-Length", str(site.announced or len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)
                self.wfile.flush()
                site.stall.wait(20)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/cifar-10-python.tar.gz"


@pytest.fixture
def website(monkeypatch: pytest.MonkeyPatch) -> Iterator[Website]:
    site = Website()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    expected = download.Archive(site.url, hashlib.md5(site.body).hexdigest(), len(site.body))
    monkeypatch.setattr(download, "ARCHIVE", expected)
    monkeypatch.setattr(download, "TIMEOUT_S", 0.5)
    monkeypatch.setitem(pickles.MD5, "test_batch", hashlib.md5(CONTENT).hexdigest())
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield site
    site.stall.set()
    site.server.shutdown()
    thread.join()
    site.server.server_close()


def test_the_data_is_downloaded_once_into_data(website: Website) -> None:
    dataset = load(Split.TEST)
    assert dataset.labels.tolist() == [4, 2]
    assert sorted(path.name for path in Path("data").iterdir()) == [".cifar10-cache", "cifar-10-batches-py"]
    assert load(Split.TEST).sha256 == dataset.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert website.requests == 1


def test_a_named_directory_is_never_downloaded_into(website: Website, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no test split"):
        load(Split.TEST, tmp_path / "work")
    assert website.requests == 0


def spoil(website: Website, how: str) -> None:
    if how == "corrupt":
        website.body = archive(b"other content")
    elif how == "endless":
        website.body += bytes(10_000_000)
    elif how == "web page":
        website.body = b"<html>Please log in to this network</html>"
    elif how == "absent":
        website.status = 404
    elif how == "truncated":
        website.announced, website.body = len(website.body), website.body[:100]
    elif how == "stalled":
        website.announced, website.body = len(website.body), website.body[:100]
        website.stall.clear()
    else:
        raise AssertionError(how)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("corrupt", "not the published one"),
        ("endless", "not the published one"),
        ("web page", "42 bytes"),
        ("absent", "404|Not Found"),
        ("truncated", "100 bytes|IncompleteRead"),
        ("stalled", "timed out"),
    ],
)
@pytest.mark.parametrize("existed", [False, True])
def test_a_failed_download_says_why_and_leaves_nothing(
    how: str, reason: str, existed: bool, website: Website, snapshot: Snapshot
) -> None:
    if existed:
        Path("data").mkdir()
    before = snapshot()
    spoil(website, how)
    with pytest.raises(DatasetNotFoundError, match=reason) as caught:
        load(Split.TEST)
    assert website.url in str(caught.value)
    assert "CIFAR10_DIR" in caught.value.hint
    assert snapshot() == before


def test_no_network_is_said_and_leaves_nothing(
    website: Website, monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot
) -> None:
    with socket.socket() as unused:  # bound but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        monkeypatch.setattr(download, "ARCHIVE", download.Archive(url, "", 1))
        before = snapshot()
        with pytest.raises(DatasetNotFoundError, match="refused"):
            load(Split.TEST)
    assert snapshot() == before


def test_an_interrupted_download_leaves_nothing(
    website: Website, monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot
) -> None:
    def interrupted(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    before = snapshot()
    monkeypatch.setattr(tarfile.TarFile, "extractall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(Split.TEST)
    assert snapshot() == before


def test_two_downloads_at_once_both_succeed(website: Website) -> None:
    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda: results.append(load(Split.TEST).labels.tolist())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[4, 2], [4, 2]]
    assert not list(Path("data").rglob(".staging-*"))
