import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.data.config import resolve_data_config
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.images import open_picture
from groupcam.models import Backbone, Preprocessing, WeightsInfo, input_sizes, load_backbone
from groupcam.models import backbone as backbone_module
from groupcam.models.labels import numbered_names
from groupcam.models.libraries import LIBRARIES
from groupcam.models.preprocessing import preprocessing_from_timm
from tests.support import ROOT

LITE_TOP_CLASSES = {"Egyptian cat", "tabby", "tiger cat"}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("timm/tf_efficientnet_lite0", 224),
        ("timm/tf_efficientnet_lite1", 240),
        ("timm/tf_efficientnet_lite2", 260),
    ],
)
def test_bundled_network_sees_the_cat(name: str, size: int) -> None:
    backbone = load_backbone(name)

    cat = open_picture(ROOT / "assets" / "examples" / "cat.jpg")
    inputs = backbone.preprocess(cat.rgb)
    probabilities = backbone.logits(inputs).softmax(1)[0]

    assert inputs.shape == (1, 3, size, size)
    assert probabilities.shape == (1000,)
    best = probabilities.topk(3)
    assert {backbone.class_names[index] for index in best.indices} == LITE_TOP_CLASSES
    assert best.values.sum() > 0.8
    assert backbone.weights.source == "bundled"
    assert backbone.weights.sha256 is not None


def test_loaded_network_is_ready_to_explain() -> None:
    backbone = load_backbone("timm/tf_efficientnet_lite0")

    assert not backbone.network.training
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    assert backbone.device == torch.device("cpu")
    first = next(backbone.network.parameters())
    assert first.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/squeezenet1_1"])
def test_random_weights_are_the_same_each_time_and_leave_the_global_state(name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_backbone(name, weights=None)
    torch.manual_seed(2)
    second = load_backbone(name, weights=None)

    torch.manual_seed(1)
    torch.testing.assert_close(torch.get_rng_state(), before)
    torch.testing.assert_close(first.network.state_dict(), second.network.state_dict())
    assert first.weights.source == "random"
    assert len(first.class_names) == 1000


def test_loading_does_not_advance_the_global_random_state() -> None:
    before = torch.get_rng_state()

    load_backbone("timm/test_resnet", weights=None)

    torch.testing.assert_close(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/squeezenet1_1"])
def test_both_libraries_name_the_same_classes(name: str) -> None:
    backbone = load_backbone(name, weights=None)

    assert backbone.class_names[285] == "Egyptian cat"
    assert len(set(backbone.class_names)) == 1000
    assert backbone.class_index_of("egyptian CAT") == 285


def test_network_sees_the_cat_at_another_size() -> None:
    backbone = load_backbone("timm/tf_efficientnet_lite0", input_size=(192, 288))

    cat = open_picture(ROOT / "assets" / "examples" / "cat.jpg")
    inputs = backbone.preprocess(cat.rgb)
    probabilities = backbone.logits(inputs).softmax(1)[0]

    assert inputs.shape == (1, 3, 192, 288)
    best = {backbone.class_names[index] for index in probabilities.topk(3).indices}
    assert best == LITE_TOP_CLASSES


def test_resize_keeps_its_proportion_to_the_crop() -> None:
    backbone = load_backbone("timm/test_resnet", weights=None, input_size=320)
    torchvisions = load_backbone("torchvision/squeezenet1_1", weights=None, input_size=112)

    config = resolve_data_config(
        model=timm.create_model("test_resnet"), args={"input_size": (3, 320, 320)}
    )
    assert backbone.preprocessing == preprocessing_from_timm(config)
    # Its own: 256 before a crop of 224.
    assert torchvisions.preprocessing.input_size == (112, 112)
    assert torchvisions.preprocessing.resize_size == (128, 128)


def test_position_embeddings_of_a_transformer_are_interpolated() -> None:
    native = load_backbone("timm/vit_tiny_patch16_224", weights=None).network.state_dict()

    backbone = load_backbone("timm/vit_tiny_patch16_224", weights=None, input_size=(128, 320))

    resized = backbone.network.state_dict()
    expected = resample_abs_pos_embed(native["pos_embed"], [8, 20], num_prefix_tokens=1)
    torch.testing.assert_close(resized.pop("pos_embed"), expected)
    torch.testing.assert_close(resized, {name: native[name] for name in resized})
    assert backbone.logits(torch.zeros(2, 3, 128, 320)).shape == (2, 1000)


def test_tables_of_relative_positions_are_interpolated() -> None:
    native = load_backbone("timm/test_coatnet", weights=None).network.state_dict()

    backbone = load_backbone("timm/test_coatnet", weights=None, input_size=224)

    resized = backbone.network.state_dict()
    changed = [name for name, tensor in resized.items() if tensor.shape != native[name].shape]
    assert changed
    assert all("rel_pos" in name for name in changed)
    for name, tensor in resized.items():
        if name not in changed:
            torch.testing.assert_close(tensor, native[name])
    # Smooth interpolation neither adds nor removes what all positions share.
    table, own = resized[changed[0]], native[changed[0]]
    assert table.abs().max() > 0
    assert float(table.std() / own.std()) == pytest.approx(1, abs=0.6)


def test_torchvisions_position_embeddings_are_interpolated() -> None:
    network = LIBRARIES["torchvision"].build("vit_b_32", None)
    native = network.state_dict()

    resized = (
        LIBRARIES["torchvision"]
        .build_for_size("vit_b_32", None, network, 1000, (128, 128))
        .state_dict()
    )

    name = "encoder.pos_embedding"
    grid = native[name][:, 1:].unflatten(1, (7, 7)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (4, 4), mode="bicubic", align_corners=True)
    expected = torch.cat([native[name][:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    torch.testing.assert_close(resized.pop(name), expected)
    torch.testing.assert_close(resized, {key: native[key] for key in resized})


def test_weights_of_a_file_keep_their_classes_at_another_size(tmp_path: Path) -> None:
    network = timm.create_model("test_vit_relpos", num_classes=7)
    torch.save(network.state_dict(), tmp_path / "mine.pth")

    backbone = load_backbone("timm/test_vit_relpos", tmp_path / "mine.pth", input_size=96)

    assert backbone.logits(torch.zeros(1, 3, 96, 96)).shape == (1, 7)
    weight = backbone.network.get_submodule("head").weight
    torch.testing.assert_close(weight, network.get_submodule("head").weight, check_layout=False)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("timm/visformer_tiny", 256, "got 256 x 256 .*Its size is fixed at 224: leave input_size"),
        ("torchvision/vit_b_32", (224, 256), "got 224 x 256 .*a square one, such as 128, 160"),
        ("torchvision/alexnet", 20, "got 20 x 20 .*such as 128"),
        ("timm/lambda_resnet26t", 64, "got 64 x 64 .*such as"),
        ("timm/test_resnet", 0, "input_size must be at least 1 pixel; got 0"),
    ],
    ids=["fixed", "squares only", "too small", "below the stated least", "nothing"],
)
def test_impossible_input_sizes_are_refused(
    name: str, size: int | tuple[int, int], message: str
) -> None:
    with pytest.raises(GroupCamError, match=message):
        load_backbone(name, weights=None, input_size=size)


def test_input_size_is_refused_before_weights_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("asked for weights")

    monkeypatch.setattr(backbone_module, "build_network", unwanted)

    with pytest.raises(GroupCamError, match="Its size is fixed"):
        load_backbone("timm/visformer_tiny", input_size=256)


@pytest.mark.parametrize("size", ["224", 224.0, (224,), (224, 2.5), True])
def test_input_size_of_another_type_is_refused(size: object) -> None:
    with pytest.raises(TypeError, match="input_size must be a whole number or two"):
        load_backbone("timm/test_resnet", weights=None, input_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("timm/resnet18", (224, 128, 160, 192, 256, 288, 384, 448)),
        ("timm/vit_tiny_patch16_384", (384, 192, 256, 320, 448, 512, 640, 768)),
        ("torchvision/regnet_y_400mf", (224, 128, 160, 192, 256, 288, 384, 448)),
        # Patches of 14 pixels: multiples of 28, so that no part of a patch is left over.
        ("timm/vit_small_patch14_dinov2", (518, 252, 336, 420, 616, 700, 868, 1036)),
        ("timm/visformer_tiny", (224,)),
    ],
)
def test_sizes_worth_offering_begin_with_the_weights_own(name: str, sizes: tuple[int, ...]) -> None:
    assert input_sizes(name) == sizes
    started = time.process_time()
    input_sizes(name)
    assert time.process_time() - started < 0.05  # known by now


def test_offered_sizes_load() -> None:
    _, *others = input_sizes("timm/test_coatnet")

    for size in others[::3]:
        backbone = load_backbone("timm/test_coatnet", weights=None, input_size=size)
        assert backbone.preprocessing.input_size == (size, size)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "", "meta"])
def test_absent_device_is_refused(device: str) -> None:
    with pytest.raises(GroupCamError, match=r"device must .*cpu"):
        load_backbone("timm/test_resnet", weights=None, device=device)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_network_and_inputs_go_to_the_gpu(picture: np.ndarray) -> None:
    backbone = load_backbone("timm/test_resnet", weights=None, device="cuda")

    assert backbone.logits(backbone.preprocess(picture)).device.type == "cuda"


def test_feature_extractor_without_pretrained_classifier_gets_a_random_one() -> None:
    backbone = load_backbone("timm/vit_tiny_patch16_dinov3_qkvb", weights=None)

    assert len(backbone.class_names) == 1000


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: (logits, None),
        lambda logits: [logits],
        lambda logits: {"logits": logits, "aux": None},
        lambda logits: {"out": logits},
    ],
    ids=["tuple", "list", "logits", "first value"],
)
def test_logits_are_found_in_wrapped_answers(wrap: Callable[[Tensor], object]) -> None:
    class Wrapped(nn.Module):
        def forward(self, inputs: Tensor) -> object:
            return wrap(inputs.flatten(1)[:, :4])

    backbone = Backbone.from_module(Wrapped(), Preprocessing((8, 8)))
    inputs = torch.rand(2, 3, 8, 8)

    torch.testing.assert_close(backbone.logits(inputs), inputs.flatten(1)[:, :4])
    assert backbone.class_names == ("class 0", "class 1", "class 2", "class 3")


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (nn.Conv2d(3, 4, 3), r"\(1, 4, 6, 6\)"),
        (nn.Flatten(0), r"\(192,\)"),
        (nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (2, 96))), r"\(2, 96\)"),
    ],
    ids=["map", "flat", "batch"],
)
def test_networks_that_are_no_classifiers_are_refused(network: nn.Module, found: str) -> None:
    with pytest.raises(GroupCamError, match=rf"must give logits \(N, K\).*got {found}"):
        Backbone.from_module(network, Preprocessing((8, 8)))


def test_class_names_must_match_the_logits() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    preprocessing = Preprocessing((8, 8))

    named = Backbone.from_module(network, preprocessing, class_names=["a", "b", "c"])
    assert named.class_names == ("a", "b", "c")
    with pytest.raises(GroupCamError, match="got 2 names for 3 logits"):
        Backbone.from_module(network, preprocessing, class_names=["a", "b"])
    with pytest.raises(GroupCamError, match="got 2 names for 3 logits"):
        Backbone("mine", network, preprocessing, ("a", "b")).logits(torch.zeros(1, 3, 8, 8))
    with pytest.raises(GroupCamError, match=r"must be unique.*got 3 names, 2 different"):
        Backbone("mine", network, preprocessing, ("a", "b", "a"))


def test_class_is_found_by_index_name_or_digits(blocks: Backbone) -> None:
    assert blocks.class_index_of(3) == 3
    assert blocks.class_index_of(np.int64(3)) == 3
    assert blocks.class_index_of(" CLASS 3 ") == 3
    assert blocks.class_index_of("3") == 3


@pytest.mark.parametrize(
    ("class_", "message"),
    [
        (5, "between 0 and 4 .*got 5"),
        (-1, "between 0 and 4 .*got -1"),
        ("12", "between 0 and 4 .*got 12"),
        ("clas 2", "got 'clas 2'. Did you mean 'class 2'"),
        ("", "one of the 5 of blocks; got ''"),
    ],
)
def test_unknown_class_is_refused(blocks: Backbone, class_: int | str, message: str) -> None:
    with pytest.raises(GroupCamError, match=message):
        blocks.class_index_of(class_)


@pytest.mark.parametrize("class_", [1.0, True, None])
def test_class_of_another_type_is_refused(blocks: Backbone, class_: object) -> None:
    with pytest.raises(TypeError, match="class_ must be an int or a str"):
        blocks.class_index_of(class_)  # type: ignore[arg-type]


def test_frozen_network_is_still_and_comes_back_as_found(blocks: Backbone) -> None:
    network = blocks.network
    network.train()
    network.get_submodule("stem").eval()
    next(network.parameters()).requires_grad_(False)
    modes = [module.training for module in network.modules()]
    wants = [parameter.requires_grad for parameter in network.parameters()]
    random_state = torch.get_rng_state()

    with pytest.raises(RuntimeError, match="inside"), blocks.frozen():  # noqa: PT012
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        with blocks.frozen():
            torch.rand(3)
        assert not network.training
        raise RuntimeError("inside")

    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == wants
    torch.testing.assert_close(torch.get_rng_state(), random_state)


def precisions() -> list[str]:
    backends: Any = torch.backends  # its type names no cudnn.conv
    parts = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    return [part.fp32_precision for part in parts]


def test_float32_is_exact_on_a_gpu_until_the_last_thread_has_left(
    blocks: Backbone, tiny_cnn: Backbone
) -> None:
    before = precisions()
    is_inside, may_leave = threading.Event(), threading.Event()

    def hold() -> None:
        with tiny_cnn.frozen():
            is_inside.set()
            may_leave.wait(5)

    assert "tf32" in before  # else this test shows nothing
    with blocks.frozen():
        assert precisions() == ["ieee"] * 3
        thread = threading.Thread(target=hold)
        thread.start()
        assert is_inside.wait(5)
    assert precisions() == ["ieee"] * 3
    may_leave.set()
    thread.join(5)

    assert precisions() == before


def test_only_one_thread_at_a_time_holds_a_frozen_network(blocks: Backbone) -> None:
    entered = threading.Event()

    def enter() -> None:
        with blocks.frozen():
            entered.set()

    with blocks.frozen():
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.1)
    thread.join(5)

    assert entered.is_set()


@pytest.mark.parametrize(
    ("weights", "names", "caveat"),
    [
        (WeightsInfo("random"), ("cat", "dog", "hen"), "this is no explanation"),
        (WeightsInfo("hub"), numbered_names(3), "may be the axes of an embedding"),
        (WeightsInfo("hub"), ("cat", "dog", "hen"), ""),
        (WeightsInfo("file"), numbered_names(3), ""),
    ],
)
def test_weights_whose_outputs_mean_little_say_so(
    tiny_cnn: Backbone, weights: WeightsInfo, names: tuple[str, ...], caveat: str
) -> None:
    said = dataclasses.replace(tiny_cnn, class_names=names, weights=weights).caveat or ""

    assert caveat in said
    assert bool(said) == bool(caveat)


def test_embeddings_have_no_class_names() -> None:
    assert LIBRARIES["timm"].class_names(
        "vit_base_patch16_clip_224", "openai", 512
    ) == numbered_names(512)
