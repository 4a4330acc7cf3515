"""Evaluation: values follow from the model's results, broken images are skipped, intervals come from drawn images."""

import csv
import io
import json

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import SourceError, UsageError
from camrt.export import attach
from camrt.kernels import localization
from camrt.kernels.map_metrics import box_iou, energy_in_mask, points_at_mask
from camrt.runtime.evaluation.bootstrap import DRAWS, drawn_values, draws, interval
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.evaluation.evaluate import evaluate
from camrt.runtime.evaluation.metrics import BY_NAME
from camrt.runtime.maps.refine_frame import refine_frame
from support.labelled_data import BOXES, HEIGHT, WIDTH, WRITERS, write_folder, write_picture, write_table, write_voc
from support.tiny_models import LABELS, write_class_maps


@pytest.fixture(scope="module")
def class_maps_model(tmp_path_factory):
    return camrt.load(write_class_maps(tmp_path_factory.mktemp("maps") / "model.onnx"), provider="cpu")


def frames(count=6):
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (count, 6, 9, 3), np.uint8)
    return [cv2.resize(one, (96, 64), interpolation=cv2.INTER_CUBIC) for one in coarse]


def boxed(model, count=6):
    random = np.random.default_rng(5)
    samples = []
    for number, frame in enumerate(frames(count)):
        class_id = model(frame).class_id if number % 2 else (model(frame).class_id + 1) % len(LABELS)
        corner = random.integers(0, 40, 2)
        box = (*map(float, corner), *map(float, corner + random.integers(8, 24, 2)))
        samples.append(LabelledImage(f"{number}.png", frame, (Target(LABELS[class_id], (box,)),)))
    return samples


def test_refined_maps_are_measured_and_classes_stay(model):
    samples = boxed(model)
    plain, refined = evaluate(model, samples), evaluate(model, samples, refine="ivr,clamp,flip")
    assert (plain.refine, refined.refine) == ("none", "clamp,ivr,flip")
    assert refined.as_dict()["refine"] == "clamp,ivr,flip"
    assert refined.values["top1"] == plain.values["top1"]
    for sample, line in zip(samples, refined.per_image, strict=True):
        result = refine_frame(model, sample.image, ("clamp", "ivr", "flip"))
        heat = result.heatmap(line["class_id"])
        inside = np.zeros(heat.shape, bool)
        x0, y0, x1, y1 = map(int, sample.targets[0].boxes[0])
        inside[y0:y1, x0:x1] = True
        assert line["energy_in_box"] == pytest.approx(energy_in_mask(heat, inside))
    assert [one["energy_in_box"] for one in plain.per_image] != [one["energy_in_box"] for one in refined.per_image]


def test_refinements_that_the_head_does_not_allow_are_refused(class_maps_model):
    with pytest.raises(UsageError, match="refine pc1 needs the weights of a linear head"):
        evaluate(class_maps_model, [], refine="pc1")
    with pytest.raises(UsageError, match="write none, or some of"):
        evaluate(class_maps_model, [], refine="best")


def test_accuracy_uses_the_predicted_class_and_the_pointing_game_the_true_one(model):
    frame = frames(1)[0]
    result = model(frame)
    best = result.class_id
    other = (best + 1) % len(LABELS)

    def at_peak(class_id):
        mask = np.zeros((64, 96), bool)
        heatmap = result.heatmap(class_id)
        mask[np.unravel_index(heatmap.argmax(), heatmap.shape)] = True
        return mask

    samples = [
        (best, at_peak(best)),  # correct class, peak on the object
        (best, ~at_peak(best)),  # correct class, peak beside the object
        (other, at_peak(other)),  # wrong class, but the map of the true class points at the object
        (other, ~at_peak(other)),  # wrong class, peak beside the object
        (best, np.zeros((64, 96), bool)),
    ]
    labelled = [
        LabelledImage(str(number), frame, (Target(LABELS[class_id], masks=(mask,)),))
        for number, (class_id, mask) in enumerate(samples)
    ]
    found = evaluate(model, labelled, metrics=("top1", "pointing_game"), baselines=())
    assert found.values == {"top1": pytest.approx(3 / 5), "pointing_game": pytest.approx(2 / 5)}
    assert found.images == 5


def test_values_equal_those_computed_one_by_one(model):
    samples = boxed(model)
    found = evaluate(model, samples, baselines=())
    expected = {name: [] for name in ("top1", "pointing_game", "pointing_game_15px", "energy_in_box")}
    largest, best, in_use, right = [], [], [], []
    for sample in samples:
        (target,) = sample.targets
        (x0, y0, x1, y1) = map(int, target.boxes[0])
        class_id = LABELS.index(target.label)
        result = model(sample.image)
        mask = np.zeros((64, 96), bool)
        mask[y0:y1, x0:x1] = True
        heatmap = result.heatmap(class_id)
        right.append(result.class_id == class_id)
        expected["top1"].append(right[-1])
        expected["pointing_game"].append(points_at_mask(heatmap, mask))
        expected["pointing_game_15px"].append(points_at_mask(heatmap, mask, 15))
        expected["energy_in_box"].append(energy_in_mask(heatmap, mask))
        scores = localization.score_map(result.visible_cam(class_id))
        ious = localization.ious_of_cuts(
            localization.boxes_of_cuts(scores), localization.frame_boxes(target.boxes, 96, 64)
        )
        largest.append(ious[0])
        best.append(ious[1])
        in_use.append(box_iou(result.boxes(class_id)[0][:4], target.boxes[0]) >= 0.5)
    for name, values in expected.items():
        assert found.values[name] == pytest.approx(np.mean(values), abs=1e-6), name
    hits = np.array(largest) >= 0.5
    cut = hits.sum(axis=0).argmax()
    assert found.values["max_box_acc"] == pytest.approx(localization.max_box_acc(largest))
    assert found.best_threshold == cut / 255
    assert found.values["max_box_acc_v2"] == pytest.approx(localization.max_box_acc_v2(best))
    assert found.values["top1_box_acc"] == pytest.approx((hits[:, cut] & right).mean())
    assert found.values["box_acc_at_threshold"] == pytest.approx(np.mean(in_use))
    assert found.values["top1_box_acc_at_threshold"] == pytest.approx((np.array(in_use) & right).mean())
    assert "pxap" not in found.values
    assert found.as_dict()["pxap"] is None


@pytest.mark.parametrize("form", ["voc", "coco", "csv", "json"])
def test_every_form_of_labels_gives_the_same_values(form, model, tmp_path):
    found = evaluate(model, WRITERS[form](tmp_path))
    same = evaluate(model, write_voc(tmp_path / "again"))
    assert found.values == same.values
    assert found.baselines == same.baselines
    assert found.intervals == same.intervals


def test_masks_give_pxap_and_the_whole_image_the_share_of_the_object(model):
    masks = [np.zeros((64, 96), bool) for _ in range(3)]
    for number, mask in enumerate(masks):
        mask[: 16 * (number + 1), :48] = True
    labelled = [
        LabelledImage(str(number), frame, (Target("boat", masks=(mask,)),))
        for number, (frame, mask) in enumerate(zip(frames(3), masks, strict=True))
    ]
    found = evaluate(model, labelled)
    histograms = sum(
        localization.pixel_histograms(localization.score_map(model(one.image).visible_cam(1)), mask)
        for one, mask in zip(labelled, masks, strict=True)
    )
    assert found.values["pxap"] == pytest.approx(float(localization.pixel_average_precision(histograms)))
    share = np.mean([mask.mean() for mask in masks])
    assert found.baselines["whole_image"]["pxap"] == pytest.approx(share)
    assert found.baselines["whole_image"]["energy_in_box"] == pytest.approx(share, abs=1e-5)
    assert set(found.baselines) == {"centre_gaussian", "whole_image", "random", "activation"}
    assert "max_box_acc" not in found.values


def test_baselines_equal_values_worked_out_by_hand(model):
    """A box in the middle half of each side: the whole image has IoU 1/4, the Gaussian fits it at some threshold."""
    frame = frames(1)[0]
    middle = LabelledImage("a", frame, (Target("boat", ((24, 16, 72, 48),)),))
    corner = LabelledImage("b", frame, (Target("boat", ((0, 0, 90, 60),)),))
    found = evaluate(model, [middle, corner])
    assert found.baselines["whole_image"]["box_acc_at_threshold"] == 0.5
    assert found.baselines["whole_image"]["max_box_acc"] == 0.5
    assert found.baselines["whole_image"]["pointing_game"] == 1
    assert found.baselines["whole_image"]["energy_in_box"] == pytest.approx((1 / 4 + 90 * 60 / 96 / 64) / 2, abs=1e-4)
    gaussian = evaluate(model, [middle]).baselines["centre_gaussian"]
    assert gaussian["max_box_acc_v2"] == 1
    assert gaussian["pointing_game"] == 1
    # One standard deviation of two on both axes; the value at the corners, exp(-4), becomes 0.
    inside, total = ((0.25 * np.sqrt(2 * np.pi) * share) ** 2 for share in (0.6827, 0.9545))
    expected = (inside - np.exp(-4) / 4) / (total - np.exp(-4))
    assert gaussian["energy_in_box"] == pytest.approx(expected, abs=0.005)


def test_an_image_of_several_classes_counts_for_each_and_any_is_right(model):
    frame = frames(1)[0]
    best = model(frame).class_id
    other = (best + 1) % len(LABELS)
    boxes = ((0, 0, 50, 50),), ((60, 30, 96, 64),)
    both = LabelledImage("a", frame, (Target(LABELS[best], boxes[0]), Target(LABELS[other], boxes[1])))
    single = [LabelledImage("a", frame, (target,)) for target in both.targets]
    found = evaluate(model, [both], baselines=())
    assert (found.images, found.values["top1"]) == (1, 1)
    assert len(found.per_image) == 2
    expected = [evaluate(model, [one], baselines=()).values["energy_in_box"] for one in single]
    assert found.values["energy_in_box"] == pytest.approx(np.mean(expected))


def test_broken_images_are_listed_and_never_a_stop(model, tmp_path):
    write_table(tmp_path)
    (tmp_path / "images" / "cut.png").write_bytes((tmp_path / "images" / "boat.png").read_bytes()[:60])
    write_picture(tmp_path / "images" / "small.png", BOXES["anchor"])
    with (tmp_path / "boxes.csv").open("a") as file:
        file.write("images/cut.png,boat,1,1,5,5\nimages/missing.png,boat,1,1,5,5\nimages/small.png,boat,1,1,500,5\n")
    found = evaluate(model, tmp_path, baselines=())
    assert found.images == 2
    reasons = {one.file: one.reason for one in found.skipped}
    assert set(reasons) == {"images/cut.png", "images/missing.png", "images/small.png"}
    assert f"exceeds the image of {WIDTH}x{HEIGHT}" in reasons["images/small.png"]
    assert json.loads(found.to_json())["skipped"][0]["file"] == "images/cut.png"


def test_an_annotation_for_another_size_is_never_used(model, tmp_path):
    write_voc(tmp_path)
    large = cv2.resize(cv2.imread(str(tmp_path / "JPEGImages" / "boat.png")), (2 * WIDTH, 2 * HEIGHT))
    cv2.imwrite(str(tmp_path / "JPEGImages" / "boat.png"), large)
    found = evaluate(model, tmp_path, baselines=())
    assert found.images == 1
    assert "is for 64x48 pixels, the image has 128x96" in found.skipped[0].reason


def test_only_broken_images_or_none_raise_an_error(model, tmp_path):
    write_folder(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SourceError, match="no image to evaluate; the first"):
        evaluate(model, tmp_path)
    with pytest.raises(UsageError, match="no image to evaluate"):
        evaluate(model, [])


def test_unknown_names_raise_an_error(model):
    with pytest.raises(UsageError, match="no metric 'iou'"):
        evaluate(model, [], metrics=("iou",))
    with pytest.raises(UsageError, match="no baseline 'zero'"):
        evaluate(model, [], baselines=("zero",))
    with pytest.raises(UsageError, match="knows no class"):
        evaluate(model, [LabelledImage("a", frames(1)[0], (Target("house"),))])


def test_images_are_read_one_after_the_other(model):
    """Only the image at hand is requested from a stream of labelled images."""
    alive = []

    def stream():
        for number, frame in enumerate(frames(4)):
            alive.append(number)
            yield LabelledImage(str(number), frame, (Target("boat"),))

    assert evaluate(model, stream(), baselines=()).images == 4
    assert alive == [0, 1, 2, 3]


def test_folders_of_classes_give_classes_only(model, tmp_path):
    found = evaluate(model, write_folder(tmp_path), faithfulness=0)
    assert set(found.values) == {"top1", "top5"}
    assert found.remarks == ["the data have neither boxes nor masks, which localization needs: it is not measured"]
    assert found.best_threshold is None
    assert "top-1" in found.table()


def test_the_table_of_images_has_a_line_for_each_object(model, tmp_path):
    found = evaluate(model, write_table(tmp_path), baselines=())
    lines = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [line["file"] for line in lines] == ["images/anchor.png", "images/boat.png"]
    assert np.mean([float(line["energy_in_box"]) for line in lines]) == pytest.approx(found.values["energy_in_box"])
    assert {line["class"] for line in lines} == set(BOXES)


def test_intervals_are_percentiles_of_values_of_drawn_images(model):
    samples = boxed(model, 12)
    found = evaluate(model, samples, baselines=())
    for name in ("top1", "max_box_acc", "max_box_acc_v2", "top1_box_acc"):
        table, counts = found.rows.table(name)
        metric = BY_NAME[name]
        expected = []
        for weights in np.concatenate(list(draws(12)))[:40]:
            chosen = np.repeat(np.arange(12), weights.astype(int))
            sums = table[chosen].astype(float).sum(axis=0)[np.newaxis]
            expected.append(metric.reduce(sums, np.array([counts[chosen].sum()], float))[0])
        drawn = drawn_values(metric, found.rows)
        assert len(drawn) == DRAWS
        np.testing.assert_allclose(drawn[:40], expected, rtol=1e-6)
        low, high = found.intervals[name]
        assert (low, high) == interval(drawn)
        assert low <= found.values[name] <= high


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution(model):
    """20 of 80 images right: 0.25 with a standard error of 0.0484."""
    frame = frames(1)[0]
    best = model(frame).class_id
    names = [LABELS[best]] * 20 + [LABELS[(best + 1) % len(LABELS)]] * 60
    samples = [LabelledImage(str(number), frame, (Target(name),)) for number, name in enumerate(names)]
    found = evaluate(model, samples, metrics=("top1",), baselines=())
    low, high = found.intervals["top1"]
    assert low == pytest.approx(0.25 - 1.96 * 0.0484, abs=0.02)
    assert high == pytest.approx(0.25 + 1.96 * 0.0484, abs=0.02)


def test_a_comparison_pairs_the_images_of_both_models(model, class_maps_model):
    samples = boxed(model, 10)
    first, second = (evaluate(one, samples, baselines=()) for one in (model, class_maps_model))
    differences = {one.metric: one for one in first.compare(second)}
    # Class maps have no weights to permute.
    assert set(differences) == set(first.values) & set(second.values) == set(first.values) - {"permuted_weights"}
    for one in differences.values():
        assert one.difference == pytest.approx(second.values[one.metric] - first.values[one.metric])
        assert one.interval[0] <= one.difference <= one.interval[1] or one.metric.startswith(("max_box", "top1_box"))
    same = first.compare(first)
    assert all((one.difference, one.interval, one.clear) == (0, (0, 0), False) for one in same)


def test_a_comparison_uses_the_images_that_both_have(model):
    samples = boxed(model, 8)
    whole, part = evaluate(model, samples, baselines=()), evaluate(model, samples[2:], baselines=())
    assert all(one.difference == 0 and one.value == part.values[one.metric] for one in whole.compare(part))
    with pytest.raises(UsageError, match="no image in common"):
        evaluate(model, samples[:2], baselines=()).compare(part)


def test_scores_of_real_photos_agree_with_the_published_baselines(shared_data, tmp_path):
    """SOURCES.md of the test data: the pointing game of two networks, of the centre and of the whole image."""
    models, labels = shared_data / "models", shared_data / "labels" / "imagenet1000.txt"
    attach(
        models / "squeezenet11_caffe.onnx",
        tmp_path / "squeezenet.onnx",
        labels=labels,
        channels="bgr",
        scale=1,
        mean=(104, 117, 123),
        std=(1, 1, 1),
        interpolation="linear",
    )
    name = "mobilenetv2_torchvision_qdq_int8.onnx"
    attach(models / name, tmp_path / "mobilenet.onnx", labels=labels, interpolation="linear")
    expected = {"squeezenet": (0.875, 0.446), "mobilenet": (0.839, 0.589)}
    for network, (pointing, max_box_acc) in expected.items():
        model = camrt.load(tmp_path / f"{network}.onnx", provider="cpu")
        found = evaluate(model, shared_data / "images_boxes", faithfulness=0)
        assert (found.images, found.skipped) == (56, [])
        assert found.values["pointing_game"] == pytest.approx(pointing, abs=5e-4)
        assert found.baselines["whole_image"]["pointing_game"] == pytest.approx(0.804, abs=5e-4)
        assert found.baselines["whole_image"]["box_acc_at_threshold"] == pytest.approx(0.161, abs=5e-4)
        # Published with bilinear maps and 20 thresholds; here are bicubic ones and 255.
        assert found.values["max_box_acc"] == pytest.approx(max_box_acc, abs=2.5 / 56)
