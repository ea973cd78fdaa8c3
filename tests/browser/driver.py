"""The page as a visitor handles it: what is seen, and what hands can do."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.support import ROOT

EXAMPLES = ROOT / "assets" / "examples"
CAT = EXAMPLES / "cat.jpg"
STEPS = 56  # of a curve on the page under test: half as many as on the real one
POINTS = STEPS + 1


class Driver:
    """One visitor's page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.status = page.locator("#gc-status")
        self.alert = self.status.get_by_role("alert")
        self.caption = page.locator(".gc-caption")
        self.heat = page.locator("#gc-viewer .gc-heat")
        self.chosen_layer = page.locator(".gc-layer-chosen")
        self.layers = page.locator(".gc-layers-list")
        self.tiles = page.locator(".gc-tile")
        self.detail = page.locator("#gc-detail")
        self.marker = page.get_by_role("slider", name="Pixels changed")
        self.divider = page.get_by_role("slider", name="Divider between")

    def upload(self, path: Path) -> None:
        self.page.locator("#gc-picture input[type=file]").set_input_files(path)

    def example(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    def box(self, label: str) -> Locator:
        """The list of a dropdown, which can be typed into."""
        return self.page.get_by_role("combobox", name=label, exact=True)

    def slider(self, label: str) -> Locator:
        return self.page.get_by_role("slider", name=f"range slider for {label}")

    def number(self, label: str) -> Locator:
        return self.page.get_by_role("spinbutton", name=f"number input for {label}")

    def open_tab(self, title: str) -> None:
        self.page.get_by_role("tab", name=title).click()

    def search(self, label: str, text: str) -> None:
        """Type into a list and take the first hit with Enter."""
        box = self.box(label)
        box.focus()
        box.press("ControlOrMeta+a")
        box.press_sequentially(text)
        # Gradio leaves a list open when Tab passes through it quickly, so there may be others.
        option = self.page.get_by_role("option").filter(has_text=text)
        options = self.page.get_by_role("listbox").filter(has=option).get_by_role("option")
        expect(option.first).to_be_visible()
        # All that is left fits what was typed; before that, Enter would take something else.
        expect(options.filter(has_not_text=text)).to_have_count(0)
        box.press("Enter")

    def choose_layer(self, name: str, *, stage: str) -> None:
        """Open the tree of target layers and one of its stages, and take a layer."""
        self.chosen_layer.click()
        self.layers.locator("summary").filter(has_text=stage).first.click()
        self.layers.locator(f"input[value='{name}']").check()

    def heat_source(self) -> str:
        return self.heat.get_attribute("src") or ""

    def expect_caption(self, *parts: str) -> None:
        for part in parts:
            expect(self.caption).to_contain_text(part)

    def expect_ready(self) -> None:
        """See the page wait for a picture."""
        expect(self.status).to_contain_text("Ready.")
        expect(self.chosen_layer).to_have_text("blocks.6  ·  320 × 7 × 7  · default")

    def expect_done(self) -> None:
        expect(self.status.locator(".gc-done")).to_be_visible()

    def expect_new_heat(self, before: str) -> None:
        expect(self.heat).not_to_have_attribute("src", before)

    def explain_cat(self) -> None:
        """Upload the cat and wait for its map; the curves may still be drawn."""
        self.upload(CAT)
        self.expect_caption("Egyptian cat", "32 groups")

    def tab_to(self, target: Locator) -> None:
        """Press Tab until the target has the focus."""
        for _ in range(80):
            if target.evaluate("node => node === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {target}.")
