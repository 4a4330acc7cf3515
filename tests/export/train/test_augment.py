"""Batches of training images: repeatable, complete, and in the numbers that the model file computes."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from camrt.export.graph.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from camrt.export.train.augment import batches, network_input
from camrt.export.train.prepare import ImageStore
from camrt.export.train.samples import Sample
from support.training_data import shape_image

COUNT = 13
TARGETS = np.arange(COUNT)


@pytest.fixture
def store(tmp_path):
    store = ImageStore([Sample(tmp_path, "", "ant")] * COUNT, 32, whole=False)
    for number in range(COUNT):
        store.keep(number, shape_image("ant", number, 48)[0])
    return store


def epoch_of(store, batch=4, *, epoch=0, seed=0, augment="strong", flip=True):
    """Return the images, colours and targets of an epoch, by target."""
    stream = batches(store, TARGETS, size=32, batch=batch, augment=augment, flip=flip, seed=seed, epoch=epoch)
    return [torch.cat(column) for column in zip(*stream, strict=True)]


def by_target(parts):
    order = parts[2].argsort()
    return [part[order] for part in parts]


def test_images_depend_on_seed_epoch_and_number_alone(store):
    first = by_target(epoch_of(store, 4))
    assert all(torch.equal(one, two) for one, two in zip(first, by_target(epoch_of(store, 5)), strict=True))
    for other in (epoch_of(store, epoch=1), epoch_of(store, seed=1)):
        assert not torch.equal(first[0], by_target(other)[0])


def test_each_epoch_has_each_image_once_in_another_order(store):
    orders = [epoch_of(store, epoch=epoch)[2].tolist() for epoch in range(3)]
    assert all(sorted(order) == TARGETS.tolist() for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_batches_differ_by_one_image_at_most(store):
    stream = batches(store, TARGETS, size=32, batch=6, augment="none", flip=False, seed=0, epoch=0)
    assert sorted(len(batch.targets) for batch in stream) == [4, 4, 5]


def test_no_augmentation_gives_pillows_resized_image(store):
    pixels, colours, targets = epoch_of(store, augment="none", flip=False)
    assert (colours == 1).all()
    for image, target in zip(pixels.numpy(), targets.tolist(), strict=True):
        pillow = PillowImage.fromarray(store.image(target)[..., ::-1]).resize((32, 32), PillowImage.Resampling.BILINEAR)
        assert np.abs(image[..., ::-1].astype(int) - np.asarray(pillow)).max() <= 1


def test_flip_mirrors_about_half_of_the_images(store):
    plain, mirrored = by_target(epoch_of(store, augment="none", flip=False)), 0
    flipped = by_target(epoch_of(store, augment="none"))
    for one, two in zip(plain[0], flipped[0], strict=True):
        assert torch.equal(one, two) or torch.equal(one.flip(1), two)
        mirrored += not torch.equal(one, two)
    assert 2 <= mirrored <= COUNT - 2


def test_network_input_is_that_of_the_model_file():
    images = np.stack([shape_image("ant", seed)[0] for seed in range(3)])
    expected = Preprocessing().apply(images)
    neutral = torch.ones(3, 3)
    for colours in (None, neutral):
        actual = network_input(torch.from_numpy(images), colours).numpy()
        np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_colours_change_brightness_and_saturation():
    image = torch.from_numpy(shape_image("ant", 0)[0])[None]
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))

    def pixels(*colours):
        return network_input(image, torch.tensor([colours]))[0] * std + mean

    torch.testing.assert_close(pixels(0.5, 1.0, 1.0), pixels(1.0, 1.0, 1.0) * 0.5)
    grey = pixels(1.0, 1.0, 0.0)
    torch.testing.assert_close(grey[0], grey[2])
    assert pixels(1.0, 0.5, 1.0).std() < pixels(1.0, 1.0, 1.0).std()
