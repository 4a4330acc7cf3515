"""Positions, clusters, attention, duplicates and properties of images."""

import cv2
import numpy as np
import pytest

from camrt.runtime.audit.attention import alike_pairs
from camrt.runtime.audit.clusters import cluster_maps
from camrt.runtime.audit.duplicates import difference_hash, duplicate_remarks
from camrt.runtime.audit.foreground import central_ellipse, estimate_foreground
from camrt.runtime.audit.positions import shared_hot_spot, unusual_positions
from camrt.runtime.audit.properties import (
    PROPERTIES,
    blockiness,
    compress,
    jpeg_quality,
    measure,
    shift_colour,
    traced_quality,
)

RANDOM = np.random.default_rng(0)


def photo(seed, side=96):
    random = np.random.default_rng(seed)
    return cv2.resize(random.integers(0, 256, (12, 12, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)


def random_maps(count, seed=0):
    return np.random.default_rng(seed).integers(0, 120, (count, 7, 7), np.uint8)


def test_a_class_with_evidence_in_a_corner_is_unusual_and_others_are_not():
    maps, classes = random_maps(200), np.repeat(np.arange(4), 50)
    maps[classes == 2, 6, 6] = 255
    found = unusual_positions(maps, classes)
    assert set(found) == {2}
    assert found[2][0][0] == "bottom right"


def test_random_maps_are_rarely_unusual():
    classes = np.repeat(np.arange(10), 30)
    found = [unusual_positions(random_maps(300, seed), classes) for seed in range(20)]
    assert sum(map(len, found)) <= 4


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_have_no_unusual_position(count):
    assert unusual_positions(random_maps(count), np.arange(count)) == {}


def test_a_hot_corner_of_all_classes_is_one_artefact():
    means = np.full((20, 7, 7), 0.2, np.float32)
    assert shared_hot_spot(means) is None
    means[:, 0, 6] = 0.9
    assert shared_hot_spot(means) == (0, 6)
    means[:10, 0, 6] = 0.2
    assert shared_hot_spot(means) is None


@pytest.mark.process  # joblib asks the system for its cores
def test_maps_at_two_places_are_two_clusters_smallest_first():
    maps = random_maps(60) // 6
    maps[:45, 1:4, 1:4] += 200
    maps[45:, 5:, 5:] += 200
    names = [str(number) for number in range(60)]
    first, second = cluster_maps(maps, names)
    assert (first["size"], second["size"]) == (15, 45)
    assert set(first["images"]) <= set(names[45:])
    assert np.unravel_index(np.argmax(first["mean_map"]), (7, 7))[0] >= 5


@pytest.mark.process
@pytest.mark.parametrize("count", [1, 11, 40])
def test_equal_or_few_maps_are_no_clusters(count):
    assert cluster_maps(np.full((count, 7, 7), 9, np.uint8), ["a"] * count) == []


def test_classes_with_maps_at_the_same_place_are_a_pair():
    means = RANDOM.uniform(0, 1, (4, 7, 7)).astype(np.float32)
    means[3] = means[1] + 0.01 * means[0]
    (pair,) = alike_pairs(means, ["a", "b", "c", "d"])
    assert pair[:2] == ("b", "d")


def test_duplicates_are_named_with_their_classes():
    images = [photo(0), photo(1), photo(2), np.clip(photo(1) * 0.9, 0, 255).astype(np.uint8), photo(2)]
    hashes = np.array([difference_hash(image) for image in images])
    contents = [b"0", b"1", b"2", b"3", b"2"]
    lines = duplicate_remarks(hashes, contents, np.array([0, 0, 0, 1, 1]), list("abcde"))
    assert lines == ["the same file in two classes: c and e", "near duplicates in two classes: b and d"]


def test_images_without_structure_are_no_duplicates_unless_their_files_are():
    hashes = np.array([difference_hash(np.full((9, 9, 3), level, np.uint8)) for level in (0, 90)])
    assert duplicate_remarks(hashes, [b"0", b"1"], np.array([0, 1]), ["a", "b"]) == []
    assert len(duplicate_remarks(hashes, [b"0", b"0"], np.array([0, 1]), ["a", "b"])) == 1


@pytest.mark.parametrize("quality", [4, 8, 13, 22])
@pytest.mark.parametrize("shape", [(128, 128), (200, 331), (700, 520)])
def test_pixels_tell_the_quality_that_they_were_compressed_with(quality, shape):
    random = np.random.default_rng(quality)
    clouds = cv2.resize(random.uniform(40, 210, (24, 24, 3)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    image = np.clip(clouds + random.normal(0, 10, clouds.shape), 0, 255).astype(np.uint8)
    assert np.isnan(traced_quality(image))
    assert traced_quality(compress(image, quality)) == quality


@pytest.mark.parametrize("quality", [10, 35, 50, 75, 95])
def test_the_quality_of_a_jpeg_file_is_read_from_its_table(quality):
    data = cv2.imencode(".jpg", photo(0), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    assert jpeg_quality(data) == pytest.approx(quality, abs=2)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xdb\x00\x43\x00", b"\x89PNG\r\n", b"\xff\xd8\xff"])
def test_other_and_cut_files_have_no_quality(data):
    assert np.isnan(jpeg_quality(data))


def test_compression_leaves_its_grid():
    image = np.clip(photo(3, 100).astype(float) + np.random.default_rng(1).normal(0, 8, (100, 100, 3)), 0, 255).astype(
        np.uint8
    )
    before, after = (blockiness(one[..., 1].copy()) for one in (image, compress(image, 8)))
    assert abs(before) < 0.1
    assert after > before + 0.3, after


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (8, 8), (300, 2)])
def test_tiny_images_have_finite_properties(shape):
    values = measure(np.full((*shape, 3), 7, np.uint8), b"")
    assert len(values) == len(PROPERTIES)
    assert np.isfinite(np.delete(values, PROPERTIES.index("quality"))).all()


def test_a_shift_of_colour_multiplies_each_channel():
    image = photo(4)
    gains = np.log([0.5, 1.0, 1.2])
    expected = np.clip(np.rint(image * [0.5, 1.0, 1.2]), 0, 255)
    np.testing.assert_array_equal(shift_colour(image, gains), expected)


def test_the_foreground_is_the_object_and_not_a_mark_in_the_corner():
    image = np.full((100, 120, 3), (60, 140, 60), np.uint8)
    cv2.circle(image, (60, 50), 25, (40, 40, 220), -1)
    cv2.circle(image, (112, 92), 6, (220, 40, 40), -1)
    mask, certain = estimate_foreground(image)
    assert certain
    true = np.zeros((100, 120), np.uint8)
    cv2.circle(true, (60, 50), 25, 1, -1)
    assert mask[true > 0].mean() > 0.98
    assert mask.sum() < 1.6 * true.sum()
    assert not mask[86:, 106:].any()


@pytest.mark.parametrize("shape", [(1, 1), (40, 40), (3, 200)])
def test_an_image_of_one_colour_has_its_object_in_the_centre(shape):
    mask, certain = estimate_foreground(np.full((*shape, 3), 50, np.uint8))
    assert not certain
    np.testing.assert_array_equal(mask, central_ellipse(*shape))
