"""Names that others choose are text on every view, whatever they carry."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage
from torch import nn

from groupcam.models import Backbone, Preprocessing, WeightsInfo
from groupcam.saliency import engine
from groupcam.ui import launch_options, run_events
from groupcam.ui import workbench as workbench_module
from groupcam.ui.line import line_up
from groupcam.ui.page import Page
from groupcam.ui.workbench import Workbench
from tests.support import TinyCnn

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000
EVIL = "<img src=x onerror=evil()>"
RECORD = "window.ran = []; window.evil = () => window.ran.push(1)"


class EvilCnn(nn.Module):
    """A network whose layers have names that try to be HTML."""

    def __init__(self) -> None:
        super().__init__()
        whole = TinyCnn()
        self.add_module(EVIL, whole.features)
        self.head = whole.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.get_submodule(EVIL)(x).mean(dim=(2, 3)))
        return logits


def evil_backbone(name: str, **_: Any) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(9)
        network = EvilCnn().eval()
    network.head.weight.data *= 30
    return Backbone(
        name=f"{EVIL}/{name}",
        network=network,
        preprocessing=Preprocessing(input_size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3),
        class_names=tuple(f"{EVIL} {index}" for index in range(3)),
        weights=WeightsInfo("hub", EVIL),
    )


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for module in (workbench_module, run_events):
        monkeypatch.setattr(module, "weight_tags", lambda name: (EVIL, f"{EVIL}2"))
        monkeypatch.setattr(module, "input_sizes", lambda name, weights: (32,))
    monkeypatch.setattr(workbench_module, "load_backbone", evil_backbone)
    monkeypatch.setattr(engine, "prepare_in_background", lambda backbone: None)
    demo = Page(Workbench()).build()
    _, address, _ = line_up(demo).launch(
        prevent_thread_lock=True, server_name="127.0.0.1", quiet=True, **launch_options()
    )
    yield address
    demo.close()


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[BrowserPage]:
    expect.set_options(timeout=PATIENCE_MS)
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(RECORD)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def expect_text_only(page: BrowserPage) -> None:
    """See no element that a name could have made, and nothing of it run."""
    expect(page.locator("img[src=x], [onerror]")).to_have_count(0)
    assert page.evaluate("window.ran") == []


def test_class_layer_backbone_and_file_names_are_text_on_every_view(
    page: BrowserPage, tmp_path: Path
) -> None:
    expect(page.locator("#gc-status .gc-done")).to_be_visible()
    picture = tmp_path / f"{EVIL}.png"
    Image.linear_gradient("L").resize((60, 60)).save(picture)

    page.locator("#gc-picture input[type=file]").set_input_files(picture)
    expect(page.locator(".gc-caption")).to_contain_text(EVIL)
    expect(page.locator("#gc-status .gc-done")).to_be_visible()
    expect_text_only(page)
    page.locator(".gc-layer-chosen").click()
    expect(page.locator(".gc-layers-list")).to_contain_text(EVIL)
    expect_text_only(page)
    page.locator(".gc-layer-chosen").click()

    page.get_by_role("tab", name="Step by step").click()
    expect(page.locator(".gc-step-say").first).to_contain_text(EVIL)
    expect_text_only(page)

    page.get_by_role("tab", name="Questions").click()
    expect(page.locator("#gc-pair-of-classes")).to_contain_text(EVIL)
    page.get_by_role("button", name="Compare the classes").click()
    expect(page.locator("#gc-contrast-status .gc-done")).to_be_visible()
    expect_text_only(page)

    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator("#gc-compare-status .gc-done")).to_be_visible()
    expect(page.locator("#gc-compare")).to_contain_text(EVIL)
    expect_text_only(page)

    page.get_by_role("tab", name="Sanity").click()
    page.get_by_role("button", name="Randomise", exact=True).click()
    expect(page.locator("#gc-sanity-status .gc-done")).to_be_visible()
    expect(page.locator("#gc-sanity")).to_contain_text(EVIL)
    expect_text_only(page)

    page.get_by_role("tab", name="Lessons").click()
    expect(page.locator("#gc-lessons")).to_be_visible()
    expect_text_only(page)


def test_a_script_that_got_in_could_not_talk_to_another_host(page: BrowserPage) -> None:
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))

    outcome = page.evaluate(
        """async () => {
          const blocked = []
          const note = (event) => blocked.push(event.effectiveDirective)
          document.addEventListener("securitypolicyviolation", note)
          await fetch("http://localhost:9/stolen").catch(() => {})
          const picture = new Image()
          await new Promise((done) => {
            picture.onerror = done
            picture.src = "http://localhost:9/stolen.png"
          })
          await new Promise((done) => setTimeout(done, 100))
          return blocked
        }"""
    )

    assert outcome == ["connect-src", "img-src"]
    assert not any("stolen" in url for url in asked)


def test_the_name_of_a_file_that_is_no_picture_is_text(page: BrowserPage, tmp_path: Path) -> None:
    expect(page.locator("#gc-status .gc-done")).to_be_visible()
    path = tmp_path / f"{EVIL}.png"
    path.write_text("no picture")

    page.locator("#gc-picture input[type=file]").set_input_files(path)

    expect(page.locator("#gc-status").get_by_role("alert")).to_be_visible()
    expect_text_only(page)


def test_what_a_link_names_is_text_in_the_corner_too(page: BrowserPage, url: str) -> None:
    name = f"<a href=x>{EVIL}</a>"
    page.goto(f"{url}?example={quote(name)}")

    toast = page.get_by_test_id("toast-text")
    expect(toast).to_contain_text(f"got '{name}'")
    expect(page.locator("#gc-status").get_by_role("alert")).to_contain_text(name)
    expect(toast.locator("a, img")).to_have_count(0)
    expect_text_only(page)
