"""One result of the default backbone that every test of this folder reads."""

import pytest

import groupcam
from groupcam.images import open_picture
from groupcam.metrics import CurveProtocol, Curves
from groupcam.metrics.curves import PerturbedPictures, perturbed_pictures
from groupcam.models import Backbone
from groupcam.models.checkpoints import sha256_of
from groupcam.saliency import Explanation, GroupCamConfig
from groupcam.share.record import Network, Record
from tests.support import ROOT

PICTURE = ROOT / "assets" / "examples" / "cat_and_espresso.jpg"


@pytest.fixture(scope="package")
def explanation(lite0: Backbone) -> Explanation:
    return groupcam.explain(lite0, PICTURE, GroupCamConfig(groups=6))


@pytest.fixture(scope="package")
def curves(lite0: Backbone, explanation: Explanation) -> Curves:
    protocol = CurveProtocol.with_steps(8, (224, 224))
    return groupcam.insertion_deletion(
        lite0, PICTURE, explanation.saliency_map, explanation.class_index, protocol=protocol
    )


@pytest.fixture(scope="package")
def perturbed(lite0: Backbone, explanation: Explanation, curves: Curves) -> PerturbedPictures:
    inputs = lite0.preprocess(open_picture(PICTURE).rgb)
    return perturbed_pictures(inputs[0], explanation.saliency_map, curves.protocol)


@pytest.fixture(scope="package")
def record(lite0: Backbone, explanation: Explanation, curves: Curves) -> Record:
    return Record(
        open_picture(PICTURE),
        PICTURE.name,
        sha256_of(PICTURE),
        "crop",
        Network.of(lite0),
        explanation,
        curves,
    )
