"""`export.train`: from a folder to a verified model file, with the maps of each epoch."""

import csv
import json

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import MissingExtra, SinkError, UsageError
from camrt.export import train
from camrt.export.train.map_sheet import draw_sheet
from camrt.export.train.plots import check_matplotlib
from camrt.export.train.recipe import Recipe
from camrt.export.train.tables import class_lines, confusion_matrix, wilson_interval
from camrt.export.train.time_lapse import write_time_lapse
from camrt.images import read_image
from camrt.kernels.map_metrics import energy_in_mask, mask_of_boxes
from support.training_data import COLOURS, shape_image, write_class, write_image, write_parts, write_table
from support.videos import read_video

RECIPE = Recipe(backbone="gap-xs", batch=8)
EPOCHS = 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished training with boxes: its report, folder, epochs and table."""
    folder = tmp_path_factory.mktemp("trained")
    table = write_table(folder, count=18, labels=tuple(COLOURS))
    epochs = []
    report = train(table, folder / "run", RECIPE, epochs=EPOCHS, on_epoch=lambda epoch, _: epochs.append(epoch))
    return report, folder / "run", epochs, table


def csv_lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_model_file_gives_the_reported_accuracy(trained):
    report, _, _, table = trained
    model = camrt.load(report.model, provider="cpu")
    assert model.labels == report.classes == tuple(COLOURS)
    lines = [line for line in csv_lines(table) if line["split"] == "val"]
    results = [model(read_image(table.parent / line["file"])) for line in lines]
    right = [model.labels[result.class_id] == line["class"] for result, line in zip(results, lines, strict=True)]
    assert len(right) == report.val_images == 18
    assert np.mean(right) == report.top1
    assert report.agreement == 1.0
    assert report.map_error < 1e-4


def test_attention_is_the_energy_in_the_boxes(trained):
    report, _, _, table = trained
    model = camrt.load(report.model, provider="cpu")
    shares = []
    for line in [line for line in csv_lines(table) if line["split"] == "val"]:
        image = read_image(table.parent / line["file"])
        heat = model(image).heatmap(report.classes.index(line["class"]))
        box = [[float(line[key]) for key in ("x0", "y0", "x1", "y1")]]
        shares.append(energy_in_mask(heat, mask_of_boxes(box, image.shape[1], image.shape[0])))
    assert report.attention == pytest.approx(np.mean(shares), abs=1e-4)


def test_tables_have_each_epoch_and_each_class(trained):
    report, folder, epochs, _ = trained
    lines = csv_lines(folder / "results.csv")
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    assert [float(line["top1"]) for line in lines] == [epoch["top1"] for epoch in epochs]
    classes = csv_lines(folder / "per_class.csv")
    assert {line["class"] for line in classes} == set(COLOURS)
    assert sum(int(line["train_images"]) for line in classes) == report.train_images == 36
    assert json.loads((folder / "report.json").read_text())["top1"] == report.top1


def test_pictures_and_time_lapse_show_each_epoch(trained):
    _, folder, _, _ = trained
    sheets = sorted((folder / "maps").iterdir())
    assert [path.name for path in sheets] == ["epoch_0001.jpg", "epoch_0002.jpg", "epoch_0003.jpg"]
    images = [read_image(path) for path in sheets]
    assert len({image.shape for image in images}) == 1
    frames, _ = read_video(folder / "timelapse.mp4")
    assert len(frames) == EPOCHS + 3  # the last sheet stays two seconds at two frames a second
    for frame, image in zip(frames, images, strict=False):
        assert np.abs(frame.astype(int) - image).mean() < 6
    for name in ("curves.png", "confusion.png"):
        assert read_image(folder / name).std() > 10


def test_nothing_half_written_stays(trained):
    _, folder, _, _ = trained
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_finished_training_is_not_replaced(trained):
    _, folder, _, table = trained
    with pytest.raises(UsageError, match=r"holds a training; go on with it with --resume"):
        train(table, folder, RECIPE)
    with pytest.raises(UsageError, match=r"other settings or images; give those of its args\.toml"):
        train(table, folder, Recipe(backbone="gap-xs", batch=4), epochs=EPOCHS, resume=True)
    with pytest.raises(UsageError, match="holds no training that could go on"):
        train(table, folder.parent / "other", RECIPE, resume=True)


@pytest.mark.slow
def test_training_of_a_finer_quantized_file_with_a_test_part(tmp_path):
    write_parts(tmp_path / "data", train=30, val=20, parts=("train", "val", "test"))
    (tmp_path / "data" / "train" / "ant" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    write_image(tmp_path / "data" / "val" / "bee" / "copy.png", shape_image("bee", 3)[0])  # of a training image
    remarks = []
    report = train(
        tmp_path / "data", tmp_path / "run", RECIPE, epochs=2, fine=True, int8=True, on_remark=remarks.append
    )
    assert (report.train_images, report.val_images, report.test["images"]) == (60, 41, 40)
    assert report.near_duplicates == 1
    assert any("1 of 41 validation images are almost the same" in remark for remark in remarks)
    assert any("1 images that cannot be used" in remark and "cut.png" in remark for remark in remarks)
    model = camrt.load(report.model, provider="cpu")
    assert model(shape_image("ant", 0)[0]).cam(0).shape == (16, 16)  # twice the 8x8 of the network
    assert report.int8["top1_agreement"] >= 0.9
    assert (tmp_path / "run" / "model.int8.onnx").stat().st_size < (tmp_path / "run" / "model.onnx").stat().st_size
    assert json.loads((tmp_path / "run" / "int8.json").read_text())["path"].endswith("model.int8.onnx")


def test_refused_data_leave_no_folder(tmp_path):
    write_class(tmp_path / "data", "ant", 3)
    with pytest.raises(UsageError, match="one class"):
        train(tmp_path / "data", tmp_path / "run", RECIPE)
    write_class(tmp_path / "data", "bee", 3)
    for path in (tmp_path / "data" / "bee").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"no (training|validation) image of class 'bee' can be read: .* is empty"):
        train(tmp_path / "data", tmp_path / "run", RECIPE)
    assert not (tmp_path / "run").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="is a file; choose a folder"):
        train(tmp_path, tmp_path / "run")
    write_parts(tmp_path / "data", train=2, val=1)
    with pytest.raises(SinkError, match="cannot be written"):
        train(tmp_path / "data", tmp_path / "run" / "below", RECIPE)


def test_missing_extras_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtra, match=r"camrt\[train\]"):
        write_time_lapse([], tmp_path / "a.mp4")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"camrt\[train\]"):
        check_matplotlib()


def test_sheet_shows_heat_where_the_map_is_warm():
    image = np.full((32, 64, 3), 128, np.uint8)
    cam = np.zeros((4, 8), np.float32)
    cam[:, 6:] = 5.0
    sheet = draw_sheet([image] * 5, [cam] * 5, ["caption"] * 5, "title")
    assert sheet.shape == (20 + 2 * 180, 640, 3)
    tile = sheet[60:140, :160]  # 160x80 pixels in the middle of the tile
    assert np.abs(tile[:, :60].astype(int) - 128).max() <= 2
    assert (tile[:, 140:, 2] > tile[:, 140:, 0].astype(int) + 50).all()  # red
    assert (sheet[200:360, 160:] == 24).all()  # the second row has one image


def test_confusion_and_class_lines_count():
    targets, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2])
    confusion = confusion_matrix(predicted, targets, 3)
    assert confusion.tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]
    lines = class_lines(confusion, ["a", "b", "c"], (), np.array([0.5, np.nan, np.nan]))
    assert [line["class"] for line in lines] == ["a", "b", "c"]
    assert lines[0] | {"recall": None} == {
        "class": "a",
        "train_images": 0,
        "val_images": 3,
        "recall": None,
        "precision": 0.5,
        "most_confused_with": "b",
        "confused_images": 2,
        "attention": 0.5,
    }
    assert lines[0]["recall"] == pytest.approx(1 / 3)


def test_wilson_interval_has_published_values():
    """Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for right, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


def test_captions_of_any_letters_are_drawn():
    assert (
        cv2.countNonZero(
            draw_sheet([np.zeros((9, 9, 3), np.uint8)], [np.eye(3, dtype=np.float32)], ["Käfer 虫"], "t")[..., 0]
        )
        > 0
    )
