"""Networks of every family, from five sources: the kind of their head, and the proof of their maps."""

import numpy as np
import pytest

from camrt.errors import HeadNotFound
from camrt.export import attach, from_torch
from support.export_graphs import PLAIN, assert_identity, random_images, run
from support.heads_table import assert_documented, assert_refusal_documented
from support.networks import keras_file, light_file, torch_network

pytestmark = pytest.mark.slow

TORCH = {
    ("torchvision", "alexnet"): "masked",
    ("torchvision", "convnext_tiny"): "per_position",
    ("torchvision", "efficientnet_v2_s"): "linear",
    ("torchvision", "inception_v3"): "linear",
    ("torchvision", "maxvit_t"): "per_position",
    ("torchvision", "mobilenet_v3_small"): "per_position",
    ("torchvision", "squeezenet1_0"): "pooled_class_maps",
    ("torchvision", "swin_t"): "linear",
    ("torchvision", "swin_v2_t"): "linear",
    ("torchvision", "vgg11"): "masked",
    ("torchvision", "vit_b_16"): "tokens",
    ("torchvision", "wide_resnet50_2"): "linear",
    ("timm", "convnext_atto"): "per_position",
    ("timm", "dla34"): "linear",
    ("timm", "edgenext_xx_small"): "per_position",
    ("timm", "fastvit_t8"): "linear",
    ("timm", "ghostnet_100"): "per_position",
    ("timm", "hrnet_w18_small"): "linear",
    ("timm", "levit_128s"): "linear",
    ("timm", "mixer_s32_224"): "linear",
    ("timm", "mobilenetv1_100"): "linear",
    ("timm", "mobilenetv3_small_050"): "per_position",
    ("timm", "mobilenetv4_conv_small"): "per_position",
    ("timm", "nf_resnet26"): "linear",
    ("timm", "poolformer_s12"): "per_position",
    ("timm", "regnety_002"): "linear",
    ("timm", "repvgg_a0"): "linear",
    ("timm", "resnetv2_50"): "linear",
    ("timm", "tf_efficientnet_lite0"): "linear",
    ("timm", "tiny_vit_5m_224"): "per_position",
    ("timm", "vgg11"): "masked",
    ("timm", "vit_tiny_patch16_224"): "tokens",
    ("timm", "xception41"): "linear",
    ("transformers", "Beit"): "tokens",
    ("transformers", "ConvNext"): "per_position",
    ("transformers", "ConvNextV2"): "per_position",
    ("transformers", "DeiT"): "tokens",
    ("transformers", "Dinov2"): "tokens",
    ("transformers", "FocalNet"): "linear",
    ("transformers", "MobileNetV1"): "linear",
    ("transformers", "MobileNetV2"): "linear",
    ("transformers", "PoolFormer"): "linear",
    ("transformers", "RegNet"): "linear",
    ("transformers", "ResNet"): "linear",
    ("transformers", "Swin"): "linear",
    ("transformers", "ViT"): "tokens",
}
# Half a minute or more each, and a smaller network of each kind of head and family is among the others.
LARGE = {
    ("torchvision", "convnext_tiny"),
    ("torchvision", "efficientnet_v2_s"),
    ("torchvision", "inception_v3"),
    ("torchvision", "maxvit_t"),
    ("torchvision", "swin_t"),
    ("torchvision", "swin_v2_t"),
    ("torchvision", "vgg11"),
    ("torchvision", "vit_b_16"),
    ("torchvision", "wide_resnet50_2"),
    ("timm", "dla34"),
    ("timm", "fastvit_t8"),
    ("timm", "ghostnet_100"),
    ("timm", "hrnet_w18_small"),
    ("timm", "levit_128s"),
    ("timm", "mobilenetv1_100"),
    ("timm", "mobilenetv3_small_050"),
    ("timm", "mobilenetv4_conv_small"),
    ("timm", "nf_resnet26"),
    ("timm", "poolformer_s12"),
    ("timm", "resnetv2_50"),
    ("timm", "tiny_vit_5m_224"),
    ("timm", "vgg11"),
    ("timm", "xception41"),
    ("transformers", "FocalNet"),
    ("transformers", "MobileNetV2"),
    ("Keras", "ResNet50V2"),
    ("Keras", "VGG16"),
    ("onnx's light graphs", "resnet50"),
    ("onnx's light graphs", "vgg19"),
    ("onnx's light graphs", "zfnet512"),
}
SIDES = {"crossvit_9_240": 240, "inception_v3": 299}
KERAS = {
    "MobileNetV2": "linear",
    "MobileNetV3Small": "per_position",
    "ResNet50V2": "linear",
    "VGG16": "masked",
}
LIGHT = {
    "bvlc_alexnet": "masked",
    "densenet121": "linear",
    "inception_v1": "linear",
    "inception_v2": "linear",
    "resnet50": "linear",
    "shufflenet": "linear",
    "squeezenet": "pooled_class_maps",
    "vgg19": "masked",
    "zfnet512": "masked",
}
REFUSED = {
    ("timm", "crossvit_9_240"): "its head reads tokens of two grids",
    ("timm", "deit_tiny_distilled_patch16_224"): "its head reads two tokens",
}


def check(report, head, path, width, height):
    """The identity holds in the written file, or the verification compared the maps with the head."""
    assert report.head == head
    results = run(path, random_images(1, width, height))
    assert np.isfinite(results["scores"]).all()
    maps = results.get("features", results.get("class_maps"))
    assert report.features == maps.shape[1:]
    assert min(maps.shape[2:]) > 1
    if head in ("linear", "pooled_class_maps"):
        assert_identity(results, 1e-4)
    else:
        assert report.verification["cells_error"] <= 1e-4
        assert results["class_maps"].std() > 0


def parameters(keys):
    """One parameter set for each (library, name) of ``keys``, marked where the network is large."""
    return [pytest.param(*key, marks=[pytest.mark.large] * (key in LARGE), id="-".join(key)) for key in keys]


@pytest.mark.parametrize(("library", "name"), parameters(TORCH))
def test_torch_network_has_its_head(library, name, tmp_path):
    side = SIDES.get(name, 224)
    network = torch_network(library, name, side)
    report = from_torch(network, tmp_path / "model.onnx", input_size=side)
    assert_documented(library, name, report)
    check(report, TORCH[library, name], tmp_path / "model.onnx", side, side)


@pytest.mark.parametrize(("library", "name"), REFUSED, ids=map("-".join, REFUSED))
def test_unsupported_torch_network_is_refused(library, name, tmp_path):
    side = SIDES.get(name, 224)
    network = torch_network(library, name, side)
    with pytest.raises(HeadNotFound, match=r"output '\w+' comes from .* node"):
        from_torch(network, tmp_path / "model.onnx", input_size=side)
    assert not list(tmp_path.iterdir())
    assert_refusal_documented(library, name, REFUSED[library, name])


@pytest.mark.process
@pytest.mark.parametrize(("library", "name"), parameters([("Keras", name) for name in KERAS]))
def test_keras_network_has_its_head(library, name, tmp_path):
    side = 224 if name == "VGG16" else 128
    keras_file(name, side, tmp_path / "in.onnx")
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN | {"scale": 1 / 255})
    assert_documented(library, name, report)
    check(report, KERAS[name], tmp_path / "out.onnx", side, side)


@pytest.mark.parametrize(("library", "name"), parameters([("onnx's light graphs", name) for name in LIGHT]))
def test_graph_of_the_onnx_package_has_its_head(library, name, tmp_path):
    light_file(name, tmp_path / "in.onnx")
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert_documented(library, name, report)
    check(report, LIGHT[name], tmp_path / "out.onnx", 224, 224)
