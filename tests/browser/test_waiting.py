"""What a visitor sees while others' work comes first."""

import pytest
from playwright.sync_api import expect

from groupcam.models import DEFAULT_BACKBONE
from groupcam.models.pool import BackboneKey
from tests.browser.conftest import App, OpenPage
from tests.browser.driver import CAT

pytestmark = pytest.mark.browser


def test_who_waits_sees_how_many_are_before(app: App, open_page: OpenPage) -> None:
    network = app.server.workbench.load(BackboneKey(DEFAULT_BACKBONE))
    first, second = open_page(), open_page(path="de", link="groups=16")
    expect(second.status).to_contain_text("Bereit.")

    with network.lock:  # as long as the first one's forward passes take
        first.upload(CAT)
        expect(first.status.locator(".gc-busy")).to_be_visible()
        second.upload(CAT)
        place = second.status.locator(".progress-text")
        expect(place).to_have_attribute("data-before", "1 vor Ihnen")

    second.expect_done()
    expect(place).to_have_count(0)
