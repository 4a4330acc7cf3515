"""`--check`: the accuracy with the chosen preprocessing beside that with the likely alternatives."""

import io
import json
import sys

import cv2
import numpy as np
import pytest

from camrt.cli import main
from camrt.errors import SourceError, UsageError
from camrt.export import attach
from camrt.export import check as check_module
from camrt.export.check import wilson_interval
from support.export_graphs import Net

COLOURS = {"blue": (200, 40, 40), "green": (40, 200, 40), "red": (40, 40, 200)}
"""BGR."""


def colour_classifier(path):
    """Write a network whose class is the largest channel of its RGB input, if that is between -3 and 3.

    The pixels are clipped, as other networks do by their activations, so that a wrong range ruins the answer.
    """
    net = Net()
    scaled = net.op("Clip", net.input, *(net.const(np.array(end, np.float32)) for end in (-3, 3)))
    kernel = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1).copy()
    maps = net.op("Relu", net.op("Conv", scaled, net.const(kernel)))
    weights = net.const(np.eye(3, dtype=np.float32))
    output = net.op("Gemm", net.op("Flatten", net.op("GlobalAveragePool", maps)), weights, transB=1)
    return net.save(path, output, **{output: ["N", 3]})


@pytest.fixture
def folder(tmp_path):
    """A folder with eight images of each colour, in sub-folders."""
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            image = np.clip(np.array(colour) + random.normal(0, 10, (12, 12, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / name / f"{number}.png"), image)
    return tmp_path / "photos"


@pytest.fixture
def source(tmp_path):
    return colour_classifier(tmp_path / "in.onnx")


def test_wrong_order_is_seen_and_the_right_flags_are_named(source, folder, tmp_path):
    labels = list(COLOURS)
    check = attach(source, tmp_path / "out.onnx", labels=labels, channels="bgr", check=folder).check
    assert (check.images, check.images_in_folder, check.classes) == (24, 24, 3)
    chosen = check.variants[0]
    assert chosen.is_chosen
    assert chosen.accuracy == pytest.approx(1 / 3)
    assert chosen.name.startswith("BGR, pixels / 255, mean 0.485,0.456,0.406")
    assert "--rgb --scale 0.00392157" in check.better
    best = check.variants[1]
    assert (best.accuracy, best.correct, best.answers) == (1.0, 24, 3)
    assert best.interval == pytest.approx((0.862, 1.0), abs=1e-3)
    assert all(
        first.correct >= second.correct for first, second in zip(check.variants[1:], check.variants[2:], strict=False)
    )
    names = [variant.name for variant in check.variants]
    assert len(set(names)) == len(names)
    for part in (
        "RGB",
        "BGR",
        "pixels / 255,",
        "pixels / 127.5",
        "pixels 0 to 255",
        "frames stretched",
        "the centre cropped",
    ):
        assert any(part in name for name in names)


def test_flags_of_the_better_variant_give_its_accuracy(source, folder, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("\n".join(COLOURS))
    words = ["attach", str(source), "-o", str(tmp_path / "out.onnx"), "--check", str(folder), "--json"]
    assert main([*words, "--bgr"]) == 0
    better = json.loads(capsys.readouterr().out)["check"]["better"]
    assert main([*words, "--overwrite", *better.split()]) == 0
    check = json.loads(capsys.readouterr().out)["check"]
    assert (check["variants"][0]["accuracy"], check["better"]) == (1.0, None)


def test_table_is_printed(source, folder, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("\n".join(COLOURS))
    main(["attach", str(source), "-o", str(tmp_path / "out.onnx"), "--check", str(folder), "--bgr"])
    lines = capsys.readouterr().out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("  check"))
    assert lines[start] == "  check      24 images of 3 classes; accuracy and its 95 % interval"
    assert lines[start + 1].split()[0] == "33.3%"
    assert "(chosen)" in lines[start + 1]
    assert lines[-1].startswith("  warning    Another preprocessing is better. Make the file again with --rgb --scale")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_long_check_shows_bars_with_the_remaining_time(source, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(check_module, "_PROGRESS_AFTER_S", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    check = attach(source, tmp_path / "out.onnx", labels=list(COLOURS), channels="bgr", check=folder).check
    count = 24 * len(check.variants)
    reading, classifying, _ = terminal.getvalue().split("\n")
    assert "] 24/24 images read  " in reading
    assert f"] {count}/{count} images classified  " in classifying
    assert " left" in classifying


def test_short_check_shows_no_bar(source, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(check_module, "_PROGRESS_AFTER_S", 3600.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    attach(source, tmp_path / "out.onnx", labels=list(COLOURS), check=folder)
    assert terminal.getvalue() == ""


def cut_off(image):
    image.write_bytes(image.read_bytes()[:-200])


def test_error_during_a_bar_begins_a_new_line(source, folder, tmp_path, monkeypatch):
    cut_off(folder / "red" / "0.png")
    monkeypatch.setattr(check_module, "_PROGRESS_AFTER_S", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with pytest.raises(SourceError, match=r"red/0\.png"):
        attach(source, tmp_path / "out.onnx", labels=list(COLOURS), check=folder)
    assert terminal.getvalue().endswith("\n")


@pytest.mark.input_kind("folder", "labelled images in one sub-folder a class (--check)", "counted answers", "equal")
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["blue", "green", "red"], ["Blue", "GREEN", "red"]),
        (["deep_blue", "light green", "dark-red"], ["deep blue", "light-green", "dark_red"]),
        (["blue, azure", "green, emerald", "red, crimson"], ["azure", "green, emerald", "crimson"]),
        (None, ["0", "1", "2"]),
        (["blue", "green", "red"], ["0", "green", "02"]),
    ],
)
def test_sub_folders_are_matched_by_label_or_number(labels, names, source, folder, tmp_path):
    for old, new in zip(COLOURS, names, strict=True):
        (folder / old).rename(folder / f"{new}.moving")
    for new in names:
        (folder / f"{new}.moving").rename(folder / new)
    check = attach(source, tmp_path / "out.onnx", labels=labels, check=folder).check
    assert check.variants[0].accuracy == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["blue", "green", "orange"], r"1 of 3 sub-folders are no class of the network: red. Name them by its labels"),
        (None, r"3 of 3 sub-folders .*: blue, green, red. Name them by its numbers, and has no labels|numbers"),
        (["blue, red", "green", "dark, red"], r"red \(classes 0, 2\)"),
    ],
)
def test_sub_folders_that_are_no_class_are_listed_and_refused(labels, message, source, folder, tmp_path):
    with pytest.raises(UsageError, match=message):
        attach(source, tmp_path / "out.onnx", labels=labels, check=folder)
    assert not (tmp_path / "out.onnx").exists()


def test_folder_without_classes_and_a_broken_image_are_refused(source, folder, tmp_path):
    for wrong, message in ((folder / "red", "no sub-folders with images"), (tmp_path / "none", "is no folder")):
        with pytest.raises(UsageError, match=message):
            attach(source, tmp_path / "out.onnx", labels=list(COLOURS), check=wrong)
    cut_off(folder / "red" / "0.png")
    with pytest.raises(SourceError, match=r"red/0\.png"):
        attach(source, tmp_path / "out.onnx", labels=list(COLOURS), check=folder)
    assert not (tmp_path / "out.onnx").exists()


def test_images_that_all_get_one_answer_are_reported(source, folder, tmp_path):
    images = [folder / name / "0.png" for name in COLOURS]
    report = attach(source, tmp_path / "out.onnx", images=images, scale=1.0)
    assert report.warning is not None
    assert "All 3 images get one answer, class 0." in report.warning
    assert "--check" in report.warning
    assert attach(source, tmp_path / "good.onnx", images=images).warning is None
    assert attach(source, tmp_path / "synthetic.onnx", scale=1.0).warning is None


def test_interval_equals_the_published_one():
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    published = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    for correct, count, low, high in published:
        assert wilson_interval(correct, count) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.slow
def test_wrong_guess_for_a_published_network_is_seen(shared_data, tmp_path):
    """SqueezeNet of Caffe takes BGR from 0 to 255 minus a mean; ImageNet's mean and std get no photo right."""
    photos = tmp_path / "photos"
    for entry in json.loads((shared_data / "images_cls" / "classes.json").read_text())[:8]:
        target = photos / str(entry["imagenet_index"])
        target.mkdir(parents=True, exist_ok=True)
        (target / entry["file"]).symlink_to(shared_data / "images_cls" / entry["file"])
    check = attach(shared_data / "models" / "squeezenet11_caffe.onnx", tmp_path / "out.onnx", check=photos).check
    assert check.variants[0].correct == 0
    assert check.better.startswith("--bgr --scale 1 --mean 103.53,116.28,123.675 --std 1,1,1")
