"""Real models of other projects: exact maps, and the accuracy that their notes state."""

import json

import cv2
import numpy as np
import pytest

import camrt
from camrt.cli import main

HEADS = {
    "mobilenet_v1_0.25_128": ("linear", [256, 4, 4]),
    "mobilenetv2_torchvision_qdq_int8": ("linear", [1280, 7, 7]),
    "resnet8_large_cifar10": ("linear", [160, 8, 8]),
    "squeezenet11_caffe": ("pooled_class_maps", [1000, 16, 16]),
}
NAMES = tuple(HEADS)
IMAGENET = tuple(name for name in NAMES if "cifar10" not in name)
SHRUNK = {"mobilenet_v1_0.25_128", "resnet8_large_cifar10"}
"""Models whose input is at most half the size of the photos. Averaging (INTER_AREA) reproduces their notes' figures
exactly, and linear interpolation those of the other models."""
QUANTIZED = "mobilenetv2_torchvision_qdq_int8"
QUANTIZED_ERROR = 0.15
"""Largest change of a logit by the quantized pool and head, as SOURCES.md states."""
CIFAR10_PHOTOS = {
    "airplane": "airplane",
    "sports car": "automobile",
    "bee eater": "bird",
    "chickadee": "bird",
    "jay": "bird",
    "pelican": "bird",
    "Irish water spaniel": "dog",
    "Lakeland terrier": "dog",
    "Sussex spaniel": "dog",
    "West Highland white terrier": "dog",
    "yawl": "ship",
    "moving van": "truck",
}
"""Classes of the photos, and their class in CIFAR-10."""


@pytest.fixture(scope="session")
def notes(shared_data):
    """The publisher's notes on each model, by name."""
    return {name: json.loads((shared_data / "models" / f"{name}.json").read_text()) for name in NAMES}


@pytest.fixture(scope="session")
def attached(notes, shared_data, tmp_path_factory):
    """The model files by name, attached with the preprocessing of their notes."""
    folder = tmp_path_factory.mktemp("attached")
    files = {}
    for name, note in notes.items():
        pixels = note["preprocessing"]
        assert pixels["resize"] == "squash"
        files[name] = folder / f"{name}.onnx"
        flags = {
            "--out": files[name],
            "--labels": shared_data / "labels" / note["labels"],
            "--scale": {"0-1": 1 / 255, "0-255": 1.0}[pixels["range"]],
            "--mean": ",".join(map(str, pixels["mean"])),
            "--std": ",".join(map(str, pixels["std"])),
            "--resize": "stretch",
            "--interpolation": "area" if name in SHRUNK else "linear",
        }
        order = {"RGB": "--rgb", "BGR": "--bgr"}[pixels["channel_order"]]
        words = [str(word) for flag in flags.items() for word in flag]
        assert main(["attach", str(shared_data / "models" / note["file"]), order, *words]) == 0
    return files


@pytest.fixture(scope="session")
def photos(shared_data):
    """Photos: (image, class name, ImageNet's numbers of the class, file name)."""
    boxes = json.loads((shared_data / "images_boxes" / "boxes.json").read_text())
    classes = json.loads((shared_data / "images_cls" / "classes.json").read_text())
    entries = [("images_boxes", entry, set(entry["imagenet_indices"])) for entry in boxes]
    entries += [("images_cls", entry, {entry["imagenet_index"]}) for entry in classes]
    return [
        (cv2.imread(str(shared_data / folder / entry["file"])), entry["class_name"], numbers, entry["file"])
        for folder, entry, numbers in entries
    ]


def inspect(capsys, *arguments):
    """Return the exit status of ``camrt inspect`` and its JSON."""
    status = main(["inspect", *map(str, arguments), "--provider", "cpu", "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", NAMES)
def test_inspect_proves_the_identity_on_a_photo(name, attached, notes, shared_data, capsys):
    photo = shared_data / "images_boxes" / "ILSVRC2012_val_00035127.JPEG"
    status, report = inspect(capsys, attached[name], "--verify", photo)
    assert status == 0
    assert (report["head"], report["features"]) == HEADS[name]
    assert report["classes"] == len(report["labels"]) == notes[name]["outputs"][0]["shape"][1]
    assert report["source"]["file"] == notes[name]["file"]
    assert report["map_margin"] == (1 if name == "squeezenet11_caffe" else 0)
    if name == QUANTIZED:
        assert 1e-4 < report["identity_error"] <= report["identity_tolerance"]
        assert report["identity_error_absolute"] <= QUANTIZED_ERROR
    else:
        assert report["identity_error"] <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_identity_holds_on_every_photo(name, attached, photos):
    """Computed from the file's outputs, for every class."""
    model = camrt.load(attached[name], provider="cpu")
    for image, *_ in photos:
        result = model(image)
        error = np.abs(
            result.cams().mean(axis=(1, 2), dtype=np.float64) + result.decoder.cam_bias - result.logits
        ).max()
        assert error <= (QUANTIZED_ERROR if name == QUANTIZED else 1e-4 * np.abs(result.logits).max())


@pytest.mark.parametrize("name", IMAGENET)
def test_top1_on_the_photos_equals_the_notes(name, attached, notes, photos):
    correct, count = map(int, notes[name]["verified"]["open_images_boxes_top1"].split("/"))
    offset = notes[name]["label_offset_vs_imagenet1000"]
    model = camrt.load(attached[name], provider="cpu")
    answers = [(model(image).class_id - offset) in numbers for image, _, numbers, _ in photos[:count]]
    assert sum(answers) == correct


@pytest.mark.parametrize("name", IMAGENET)
def test_examples_of_the_notes_have_their_label_and_score(name, attached, notes, photos):
    model = camrt.load(attached[name], provider="cpu")
    by_file = {file: image for image, _, _, file in photos}
    for example in notes[name]["verified"]["examples"]:
        _, label, score = model(by_file[example["image"]]).top(1)[0]
        assert (label, score) == (example["top1"], pytest.approx(example["prob"], abs=1e-3))


def test_cifar10_network_is_as_accurate_as_its_notes(attached, notes, photos):
    """The notes count 60 of 79 photos. Most of these are not here; on the others the share must be as high."""
    model = camrt.load(attached["resnet8_large_cifar10"], provider="cpu")
    labelled = [(image, CIFAR10_PHOTOS[name]) for image, name, *_ in photos if name in CIFAR10_PHOTOS]
    correct = sum(model(image).top(1)[0][1] == label for image, label in labelled)
    noted_correct, count = map(int, notes["resnet8_large_cifar10"]["verified"]["top1"].split("/"))
    assert len(labelled) == 14
    assert correct / len(labelled) >= noted_correct / count
