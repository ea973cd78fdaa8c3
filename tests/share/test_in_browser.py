"""What only a browser can tell: that the film plays, and that the report fits on one sheet."""

import base64
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page

from groupcam.metrics import Curves
from groupcam.metrics.curves import PerturbedPictures
from groupcam.models import Backbone
from groupcam.share.film import write_film
from groupcam.share.record import Record
from groupcam.share.report import report_of
from tests.chromium import launched_chromium

pytestmark = pytest.mark.browser

PLAYED = """async (source) => {
    const video = document.createElement("video");
    video.muted = true;
    video.src = source;
    await video.play();
    await new Promise((done) => { video.onended = done; });
    return [video.videoWidth, video.videoHeight, video.duration];
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with launched_chromium() as browser:
        yield browser.new_page()


def test_film_plays_to_its_end(
    page: Page, lite0: Backbone, perturbed: PerturbedPictures, curves: Curves, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    write_film(
        film, perturbed, curves, lite0.preprocessing, lite0.class_names, frames=4, picture_px=96
    )
    source = f"data:video/mp4;base64,{base64.b64encode(film.read_bytes()).decode()}"

    width, height, seconds = page.evaluate(PLAYED, source)

    assert width % 2 == height % 2 == 0
    assert width > 3 * 96
    assert seconds == pytest.approx(4 / 12 + 1.5, abs=0.2)


@pytest.mark.parametrize("is_blank", [False, True], ids=["map", "blank with notes"])
def test_report_prints_on_one_sheet(page: Page, record: Record, is_blank: bool) -> None:
    if is_blank:
        reason = (
            "No group mask brings 'Egyptian cat' above the 12.34% that the blurred picture has "
            "already. Choose another class or layer, or a stronger blur."
        )
        explanation = dataclasses.replace(
            record.explanation,
            saliency_map=torch.zeros(224, 224),
            group_weights=torch.zeros(6),
            blank_reason=reason,
        )
        caveat = "With random weights the network knows nothing: this is no explanation."
        network = dataclasses.replace(record.network, caveat=caveat)
        record = dataclasses.replace(record, explanation=explanation, network=network)
    page.set_content(report_of(record, color_map="inferno", opacity=0.5))

    printed = page.pdf(prefer_css_page_size=True)

    assert re.findall(rb"/Count (\d+)", printed) == [b"1"]
    assert re.search(rb"/MediaBox \[0 0 59[45][.\d]* 84[12]", printed)  # A4 in points
