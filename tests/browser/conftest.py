"""The real app in this process, and a Chromium with a fresh context for every test."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, Route, expect
from playwright.sync_api import Page as BrowserPage

from groupcam.language import TRANSLATIONS
from groupcam.models import DEFAULT_BACKBONE
from groupcam.models.pool import BackboneKey
from groupcam.ui import launch_options
from groupcam.ui.line import line_up
from groupcam.ui.page import Page
from groupcam.ui.workbench import Workbench
from tests.browser.driver import STEPS, Driver
from tests.chromium import launched_chromium

WITHOUT_PICTURE = "groups=32"  # a link to a page that waits for one
PATIENCE_MS = 60_000  # for one wait: the machine may be slow and busy
# What Gradio says of its own connections when the page is left.
CUT_OFF = (
    "console: AbortError: signal is aborted",
    "console: Unexpected error Connection errored out",
)

OpenPage = Callable[..., Driver]


@dataclass(frozen=True)
class App:
    """The app under test."""

    url: str
    server: Page


@dataclass
class Problems:
    """What must not happen on any page."""

    host: str
    seen: list[str] = field(default_factory=list)
    is_leaving: bool = False  # the page, whose connections are now closed

    def watch(self, page: BrowserPage) -> None:
        page.on("pageerror", lambda error: self.seen.append(f"page error: {error}"))
        page.on("console", self._listen)
        page.on("request", self._see)
        page.on("domcontentloaded", lambda _page: self._arrive())
        page.on(
            "response",
            lambda answer: (
                self.seen.append(f"HTTP {answer.status}: {answer.url}")
                if answer.status >= 400
                else None
            ),
        )

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not self.is_leaving:
            self.seen.append(f"console: {message.text}")

    def _see(self, request: Request) -> None:
        if request.is_navigation_request():
            self.is_leaving = True
            # A page may complain before the request for the next one is told.
            self.seen = [problem for problem in self.seen if not problem.startswith(CUT_OFF)]
        self._check_host(request.url)

    def _arrive(self) -> None:
        self.is_leaving = False

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self.host:
            self.seen.append(f"request to another host: {url}")


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the other core is the browser's
    with pytest.MonkeyPatch.context() as patch:
        # No hub can be reached, none of its files is here: port 1 refuses at once.
        hub = "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub)
        cache = str(tmp_path_factory.mktemp("hub"))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", cache)
        # Enough to see curves grow and be stopped; most of a test's time would else go into them.
        patch.setattr("groupcam.ui.workbench.CURVE_STEPS", STEPS)
        server = Page(Workbench())
        server.workbench.load(BackboneKey(DEFAULT_BACKBONE))
        demo = server.build()
        for language in TRANSLATIONS:
            Page(server.workbench, language).add_to(demo)
        _, url, _ = line_up(demo).launch(
            prevent_thread_lock=True, server_name="127.0.0.1", quiet=True, **launch_options()
        )
        yield App(url.rstrip("/"), server)
        demo.close()
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with launched_chromium() as browser:
        yield browser


@pytest.fixture
def open_page(app: App, chromium: Browser) -> Iterator[OpenPage]:
    """Opens the page in a new context; at the end, nothing must have gone wrong on it."""
    expect.set_options(timeout=PATIENCE_MS)
    problems = Problems(urlsplit(app.url).netloc)
    contexts: list[BrowserContext] = []

    def opened(
        query: str = "",
        *,
        link: str = WITHOUT_PICTURE,
        path: str = "",
        script: str = "",
        slow_scripts_s: float = 0,
        **settings: Any,
    ) -> Driver:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(script)
        contexts.append(context)
        page = context.new_page()
        problems.watch(page)
        if slow_scripts_s:
            page.route("**/*.js", delay_some(slow_scripts_s))
        page.goto(f"{app.url}/{path}?{'&'.join(filter(None, (link, query)))}")
        driver = Driver(page)
        # Hidden until its parts are in place (assets/page.js); till then nothing takes the focus.
        expect(page.locator("#gc-main")).to_be_visible()
        if link == WITHOUT_PICTURE:
            driver.expect_ready()
        return driver

    yield opened
    seen = list(problems.seen)
    for context in contexts:
        context.close()
    assert seen == []


def delay_some(seconds: float) -> Callable[[Route], None]:
    """Return what makes every fourth script late, so that others overtake it."""
    numbers = itertools.count()

    def answer(route: Route) -> None:
        if next(numbers) % 4 == 0:
            time.sleep(seconds)
        route.continue_()

    return answer


@pytest.fixture
def driver(open_page: OpenPage) -> Driver:
    return open_page()


@pytest.fixture
def forwards(app: App) -> Iterator[list[int]]:
    """The number of pictures in each forward pass of the default backbone so far."""
    batches: list[int] = []
    hook = app.server.workbench.load(BackboneKey(DEFAULT_BACKBONE)).network.register_forward_hook(
        lambda _module, inputs, _output: batches.append(len(inputs[0]))
    )
    yield batches
    hook.remove()


@pytest.fixture
def bad_picture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that is no usable picture, named by the test's parameter."""
    from PIL import Image

    from tests.browser.driver import CAT

    path = tmp_path / f"{request.param}.png"
    if request.param == "text":
        path.write_text("This is not a picture.")
    elif request.param == "truncated":
        path = path.with_suffix(".jpg")
        path.write_bytes(CAT.read_bytes()[:9000])
    else:
        Image.new("RGB", (1, 1)).save(path)
    return path
