"""A pretrained network gets a classifier for the classes at hand, and only what is asked learns."""

import pytest
import torch
from torch import nn

from groupcam.errors import GroupCamError
from groupcam.finetune.network import load_learner
from groupcam.models import load_backbone

CLASSES = ("cup", "dog", "owl")


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/squeezenet1_1"])
def test_a_new_classifier_has_an_output_for_each_class(name: str) -> None:
    learner = load_learner(name, None, CLASSES, seed=1)

    logits = learner.backbone.logits(torch.zeros(2, 3, 64, 64))

    assert logits.shape == (2, 3)
    assert learner.backbone.class_names == CLASSES
    assert learner.labels == (0, 1, 2)
    assert all(parameter.requires_grad for parameter in learner.backbone.network.parameters())


def test_all_but_the_classifier_is_what_the_weights_say() -> None:
    learner = load_learner("timm/test_resnet", None, CLASSES)
    before = load_backbone("timm/test_resnet", None).network.state_dict()

    after = learner.backbone.network.state_dict()

    for name, value in before.items():
        if not name.startswith("fc."):
            assert torch.equal(after[name], value), name
    assert after["fc.weight"].shape[0] == 3


def test_classes_of_imagenet_keep_the_classifier() -> None:
    learner = load_learner("timm/test_resnet", None, ("n01440764", "n02123159"))

    assert learner.labels == (0, 282)  # tench, tiger cat
    assert learner.backbone.logits(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_only_the_named_modules_and_a_new_classifier_learn() -> None:
    learner = load_learner("timm/test_resnet", None, CLASSES, parts=("layer4",))
    network = learner.backbone.network
    network.eval()

    learner.set_modes()

    learning = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    in_training = {
        name.split(".")[0]
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.training
    }
    assert learning == {"layer4", "fc"}
    assert in_training == {"layer4"}


def test_a_module_that_is_not_there_is_told() -> None:
    with pytest.raises(GroupCamError, match=r"it has no 'layer5'\. Did you mean 'layer\d'"):
        load_learner("timm/test_resnet", None, CLASSES, parts=("layer5",))
