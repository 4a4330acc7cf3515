"""Metrics of faithfulness equal those of torchcam, pytorch-grad-cam and Quantus, through a wrapper around the model."""

import warnings
import zlib
from contextlib import nullcontext
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import camrt
import camrt.benchmarks.compare.torch_libraries  # makes grad-cam importable where torchvision does not fit torch
from camrt import kernels
from camrt.kernels.imputation import impute
from camrt.kernels.perturbation import blurred, faded, mean_colour
from camrt.model_file import InputGeometry
from camrt.runtime.evaluation import faithfulness
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.evaluation.evaluate import evaluate
from camrt.runtime.evaluation.faithfulness import agreements, confidence, measure_faithfulness
from camrt.runtime.evaluation.map_sources import BASELINES, MODEL, Baselines
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.refinement import parse_refinements
from support.needs import skip_or_fail
from support.tiny_models import SIZE, model_info, write_class_maps, write_linear
from support.torch_session import Session

NO_BASELINES = Baselines(())


def frames(count, size=(SIZE, SIZE), seed=3):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 5, 3), np.uint8)
    return [cv2.resize(one, size, interpolation=cv2.INTER_CUBIC) for one in coarse]


def tensor(*images):
    return torch.tensor(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))


def measured(model, frame, baselines=NO_BASELINES):
    return measure_faithfulness(model, "a.png", frame, model(frame), baselines)[0]


@pytest.fixture(scope="module")
def sharp_model(tmp_path_factory):
    """A model whose scores change clearly with its image."""
    return camrt.load(write_linear(tmp_path_factory.mktemp("sharp") / "model.onnx", seed=5, channels=16), "cpu")


@pytest.fixture(params=["linear", "class maps"], scope="module")
def any_model(request, sharp_model, tmp_path_factory):
    if request.param == "linear":
        return sharp_model
    return camrt.load(write_class_maps(tmp_path_factory.mktemp("maps") / "model.onnx"), "cpu")


class Extractor:
    """A model as torchcam takes a method: maps from 0 to 1."""

    def __init__(self, model):
        self.model = Session(model)
        self._hooks_off = nullcontext

    def __call__(self, class_idx, scores):
        return [torch.tensor(np.stack([heat_of(result) for result in self.model.results(self.images)]))]

    def fuse_cams(self, cams):
        return cams[0]


def heat_of(result):
    return kernels.upsample(kernels.normalize(result.visible_cam(), "minmax"), SIZE, SIZE)


def test_insertion_and_deletion_equal_those_of_torchcam(any_model, monkeypatch):
    from torchcam.metrics import DeletionInsertionMetric

    monkeypatch.setattr(faithfulness, "STEPS", 16)  # divides the 1024 pixels: torchcam's last step is a shorter one
    for frame in frames(4):
        own = measured(any_model, frame)[MODEL]
        for name, fill in (("deletion_auc", mean_colour(frame)), ("insertion_auc", blurred(frame))):
            extractor = Extractor(any_model)
            extractor.images = tensor(frame)
            metric = DeletionInsertionMetric(extractor, steps=16, baseline=tensor(fill))
            metric.update(tensor(frame))
            assert own[name] == pytest.approx(metric.summary()[name], abs=1e-5), name


def test_the_curve_of_deletion_equals_that_of_quantus(sharp_model, monkeypatch):
    pixel_flipping = quantus("pixel_flipping").PixelFlipping
    monkeypatch.setattr(faithfulness, "STEPS", 16)
    for frame in frames(3):
        # In grey, because Quantus flips the channels of a pixel one after the other.
        grey = np.repeat(frame[..., :1], 3, axis=2)
        result = sharp_model(grey)
        options = {"abs": False, "normalise": False, "disable_warnings": True, "features_in_step": SIZE * SIZE // 16}
        metric = pixel_flipping(perturb_baseline=float(mean_colour(grey)[0, 0, 0]), **options)
        (curve,) = metric(
            model=Session(sharp_model),
            x_batch=tensor(grey).numpy()[:, :1],
            y_batch=np.array([result.class_id]),
            a_batch=heat_of(result)[np.newaxis, np.newaxis],
            softmax=False,
        )
        whole = np.array([confidence(sharp_model, result, result.class_id), *np.ravel(curve)])
        assert len(whole) == 17
        expected = np.trapezoid(whole, dx=1 / 16)
        assert measured(sharp_model, grey)[MODEL]["deletion_auc"] == pytest.approx(expected, abs=1e-5)


def test_drop_and_increase_equal_those_of_torchcam_and_grad_cam(any_model):
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
    from torchcam.metrics import ClassificationMetric

    images = frames(12)
    rows = [measured(any_model, frame)[MODEL] for frame in images]
    drops, increases = ([row[name] for row in rows] for name in ("average_drop", "average_increase"))
    assert sum(drops) > 0
    assert 0 < sum(increases) < 12 or any_model.head != "linear"
    extractor = Extractor(any_model)
    extractor.images = tensor(*images)
    metric = ClassificationMetric(extractor)
    metric.update(extractor.images)
    assert np.mean(drops) == pytest.approx(metric.summary()["avg_drop"], abs=1e-5)
    assert np.mean(increases) == pytest.approx(metric.summary()["conf_increase"])
    for frame, drop, increase in zip(images, drops, increases, strict=True):
        result = any_model(frame)
        arguments = (tensor(frame), heat_of(result)[np.newaxis], [of_class(result.class_id)], Session(any_model))
        before = result.scores[result.class_id]
        assert drop * before == pytest.approx(float(DropInConfidence()(*arguments)[0]), abs=1e-6)
        assert increase == float(IncreaseInConfidence()(*arguments)[0])


def of_class(class_id):
    return lambda scores: scores[class_id]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of grad-cam's own calls
def test_road_equals_that_of_grad_cam(any_model, monkeypatch):
    from pytorch_grad_cam.metrics.road import ROADCombined

    monkeypatch.setattr(faithfulness, "NOISE", 0.0)  # grad-cam's noise, 0.01, vanishes in whole grey levels
    for frame in frames(4):
        result = any_model(frame)
        percentiles = [100 * share for share in faithfulness.REMOVED]
        expected = ROADCombined(percentiles)(
            tensor(frame), heat_of(result)[np.newaxis], [of_class(result.class_id)], Session(any_model)
        )
        assert measured(any_model, frame)[MODEL]["road"] == pytest.approx(float(expected[0]), abs=2e-3)


def test_classes_after_removal_equal_those_of_quantus(sharp_model):
    """Quantus' ROAD is the share of images whose class stays when the most important pixels are removed."""
    road = quantus("road").ROAD
    images = [np.repeat(frame[..., :1], 3, axis=2) for frame in frames(8)]
    results = sharp_model(images)
    heats = np.stack([heat_of(result)[np.newaxis] for result in results])
    class_ids = np.array([result.class_id for result in results])
    metric = road(percentages=[20, 40, 60, 80], noise=0.0, abs=False, normalise=False, disable_warnings=True)
    expected = metric(Session(sharp_model), tensor(*images).numpy()[:, :1], class_ids, heats, softmax=False)
    own = {}
    for percent in (20, 40, 60, 80):
        kept = []
        for image, heat, class_id in zip(images, heats, class_ids, strict=True):
            missing = np.zeros(heat.size, bool)
            missing[np.argsort(-heat.ravel())[: heat.size * percent // 100]] = True
            filled = impute(image, missing.reshape(SIZE, SIZE), None).round().clip(0, 255).astype(np.uint8)
            kept.append(sharp_model(filled).class_id == class_id)
        own[percent] = np.mean(kept)
    assert 0 == min(own.values()) < own[40] < 1
    assert own == pytest.approx(expected)


def quantus(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that Quantus imports
        try:
            return __import__(f"quantus.metrics.faithfulness.{module}", fromlist=["x"])
        except ImportError as error:
            skip_or_fail(f"Quantus is not installed: {error}")


def test_adcc_has_the_parts_of_grad_cam_and_their_harmonic_mean(any_model):
    from pytorch_grad_cam.metrics.arcc import Coherency, Complexity

    images = frames(5)
    parts = []
    for frame in images:
        result = any_model(frame)
        heat = heat_of(result)[np.newaxis]

        def masked_map(input_tensor, targets, class_id=result.class_id):
            (masked,) = any_model([input_tensor[0].permute(1, 2, 0).numpy().round().astype(np.uint8)])
            cam = kernels.normalize(masked.visible_cam(class_id), "minmax")
            return kernels.upsample(cam, SIZE, SIZE)[np.newaxis]

        row = measured(any_model, frame)[MODEL]
        coherency = Coherency()(tensor(frame), heat, [None], None, masked_map)
        expected = [float(coherency[0]), float(Complexity()(heat)[0]), row["average_drop"]]
        np.testing.assert_allclose(row["adcc"], expected, atol=1e-5)
        parts.append(expected)
    found = evaluate(any_model, labelled(any_model, images), metrics=["adcc"], baselines=())
    coherency, complexity, drop = np.mean(parts, axis=0)
    assert found.values["adcc"] == pytest.approx(3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)), abs=1e-5)


def test_refined_maps_are_measured_as_they_are_drawn(sharp_model):
    (frame,) = frames(1)
    names = parse_refinements("clamp,ivr,flip")
    result = refine_frame(sharp_model, frame, names)
    row = measure_faithfulness(sharp_model, "a.png", frame, result, NO_BASELINES)[0][MODEL]
    heat = heat_of(result)
    masked = refine_frame(sharp_model, faded(frame, heat), names).visible_cam(result.class_id)
    other = kernels.upsample(kernels.normalize(masked, "minmax"), SIZE, SIZE)
    coherency = (np.corrcoef(heat.ravel(), other.ravel())[0, 1] + 1) / 2
    np.testing.assert_allclose(row["adcc"], [coherency, heat.mean(), row["average_drop"]], atol=1e-5)
    plain = measured(sharp_model, frame)[MODEL]
    assert set(plain) - set(row) == {"permuted_weights", "other_class"}  # they check the plain map
    assert row["deletion_auc"] != plain["deletion_auc"]
    found = evaluate(sharp_model, labelled(sharp_model, [frame]), refine="clamp,ivr,flip", baselines=())
    assert found.values["deletion_auc"] == pytest.approx(row["deletion_auc"])
    assert "permuted_weights" not in found.values


def labelled(model, images):
    return [LabelledImage(f"{number}.png", one, (Target("boat"),)) for number, one in enumerate(images)]


def test_agreements_are_rank_correlations_with_other_weights(sharp_model):
    from scipy.stats import spearmanr

    result = sharp_model(frames(1)[0])
    class_id = result.class_id
    found = agreements(result, class_id)
    others = [spearmanr(result.cam(class_id).ravel(), result.cam(k).ravel())[0] for k in range(4) if k != class_id]
    assert found["other_class"] == pytest.approx(np.mean(others))
    assert found["permuted_weights"] < 0.9
    # With equal weights a permutation changes nothing: the map shows activation and no class.
    same = replace(result.decoder, cam_weights=np.full_like(result.decoder.cam_weights, 0.5))
    result.decoder = same
    assert agreements(result, class_id) == pytest.approx({"permuted_weights": 1, "other_class": 1})


def test_maps_that_show_no_class_are_reported(tmp_path):
    model = camrt.load(write_linear(tmp_path / "model.onnx", seed=5, channels=16), "cpu")
    passed = evaluate(model, labelled(model, frames(2)), baselines=())
    assert passed.values["permuted_weights"] < 0.5
    assert not [line for line in passed.remarks if "permuted" in line]
    model.decoder = replace(model.decoder, cam_weights=np.full_like(model.decoder.cam_weights, 0.5))
    failed = evaluate(model, labelled(model, frames(2)), baselines=())
    assert failed.values["permuted_weights"] == 1
    assert "sanity check failed: if the weights of the class are permuted, the maps stay the same" in failed.remarks[0]


def test_class_maps_have_no_weights_to_permute(any_model):
    found = agreements(any_model(frames(1)[0]), 0)
    assert ("permuted_weights" in found) == (any_model.head == "linear")
    assert -1 <= found["other_class"] <= 1


def test_baselines_stand_beside_every_metric(any_model):
    (frame,) = frames(1)
    rows = measured(any_model, frame, Baselines(BASELINES))
    assert set(rows) == {MODEL, *BASELINES}
    for name in ("centre_gaussian", "random", "activation"):
        assert set(rows[name]) == set(rows[MODEL]) | {"permuted_weights"}
        assert rows[name]["permuted_weights"] == rows[name]["other_class"] == 1
    assert rows["centre_gaussian"]["adcc"][0] == 1  # it is the same for the masked image
    whole = rows["whole_image"]
    assert (whole["average_drop"], whole["average_increase"]) == (0, 0)
    assert not {"insertion_auc", "deletion_auc", "road"} & set(whole)
    found = evaluate(any_model, labelled(any_model, [frame]))
    assert found.baselines["whole_image"]["adcc"] == 0
    assert found.baselines["random"]["road"] == pytest.approx(rows["random"]["road"], abs=0.1)


@pytest.mark.parametrize(
    "geometry",
    [
        InputGeometry(width=SIZE, height=SIZE),
        InputGeometry(width=SIZE, height=SIZE, resize="crop"),
        InputGeometry(width=SIZE, height=SIZE, resize="crop", shorter_side=40),
        InputGeometry(width=SIZE, height=SIZE, resize="letterbox"),
    ],
)
def test_only_what_the_network_sees_of_the_frame_is_changed(geometry, tmp_path):
    model = camrt.load(write_linear(tmp_path / "model.onnx", info=model_info(geometry=geometry)), "cpu")
    (frame,) = frames(1, size=(90, 50))
    result = model(frame)
    changed = faithfulness._Changed(model, result, frame)
    (same,) = changed.run([changed.content])
    np.testing.assert_array_equal(same.scores, result.scores)
    height = 18 if geometry.resize == "letterbox" else SIZE
    assert changed.content.shape == (height, SIZE, 3)
    # The average drop of a map over the frame alone: the bars of a letterbox are black before and after.
    (black,) = changed.run([np.zeros_like(changed.content)])
    np.testing.assert_array_equal(black.scores, model(np.zeros_like(frame)).scores)
    masked = changed.run([faded(changed.content, changed.heat(result.visible_cam()))])[0]
    row = measured(model, frame)[MODEL]
    before, after = (confidence(model, one, result.class_id) for one in (result, masked))
    assert row["average_drop"] == pytest.approx(max(0, before - after) / before)


def test_logits_become_probabilities(tmp_path, sharp_model):
    path = write_linear(tmp_path / "model.onnx", info=model_info(activation="none"), seed=5, channels=16)
    model = camrt.load(path, "cpu")
    result = sharp_model(frames(1)[0])
    logits = replace_scores(result, result.logits)
    assert confidence(model, logits, 2) == pytest.approx(result.scores[2], rel=1e-5)
    assert confidence(sharp_model, replace_scores(result, np.full(4, np.nan, np.float32)), 0) == 0


def replace_scores(result, scores):
    changed = result.with_maps(result.maps)
    changed.scores = scores
    return changed


def test_a_constant_map_and_a_single_class_have_values(tmp_path):
    """A black frame gives constant features, so that all pixels are equally important."""
    model = camrt.load(write_linear(tmp_path / "model.onnx"), "cpu")
    rows = measured(model, np.zeros((SIZE, SIZE, 3), np.uint8), Baselines(BASELINES))
    for name, row in rows.items():
        for metric, value in row.items():
            assert np.isfinite(value).all(), (name, metric)
    assert rows[MODEL]["road"] == pytest.approx(0, abs=0.05)


def test_noise_depends_on_the_file_name_only(sharp_model):
    (frame,) = frames(1)
    first, again, other = (
        measure_faithfulness(sharp_model, name, frame, sharp_model(frame), NO_BASELINES)[0][MODEL]["road"]
        for name in ("x/a.png", "y/a.png", "b.png")
    )
    assert first == again != other
    assert zlib.crc32(b"a.png") != zlib.crc32(b"b.png")


def test_a_number_of_images_is_measured_and_its_cost_is_stated(sharp_model):
    images = labelled(sharp_model, frames(6))
    found = evaluate(sharp_model, images, faithfulness=2)
    assert (found.images, found.cost.images) == (6, 2)
    per_map = 2 * (faithfulness.STEPS - 1) + 2 * len(faithfulness.REMOVED) + 1
    assert found.cost.as_dict()["passes_per_image"] == 2 + 4 * per_map  # the model and all baselines but one
    assert [("road" in line) for line in found.per_image] == [True, True, False, False, False, False]
    assert evaluate(sharp_model, images, faithfulness=None).cost.images == 6
    none = evaluate(sharp_model, images, faithfulness=0)
    assert none.cost is None
    assert none.as_dict()["insertion_auc"] is None
    assert none.as_dict()["faithfulness"] is None


def test_a_comparison_uses_the_images_that_both_models_have(sharp_model, model):
    images = labelled(sharp_model, frames(5))
    first, second = evaluate(sharp_model, images, faithfulness=2), evaluate(model, images, faithfulness=4)
    (found,) = [one for one in first.compare(second) if one.metric == "road"]
    assert found.value == first.values["road"]
    assert found.other == pytest.approx(np.mean([line["road"] for line in second.per_image[:2]]), abs=1e-6)
    assert found.other != second.values["road"]
    lower = evaluate(model, images, faithfulness=0)
    assert not {one.metric for one in first.compare(lower)} & {"road", "adcc"}


def test_two_models_are_measured_on_the_same_images(sharp_model, model, tmp_path):
    for number, frame in enumerate(frames(7)):
        (tmp_path / "boat").mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "boat" / f"{number}.png"), frame)
    first, second = (evaluate(one, tmp_path, faithfulness=3) for one in (sharp_model, model))
    chosen = [[line["file"] for line in one.per_image if "road" in line] for one in (first, second)]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 3
    assert chosen[0] != [f"boat/{number}.png" for number in range(3)]  # not the first ones: folders are ordered
    differences = {one.metric: one for one in first.compare(second)}
    assert differences["deletion_auc"].difference == pytest.approx(
        second.values["deletion_auc"] - first.values["deletion_auc"]
    )
