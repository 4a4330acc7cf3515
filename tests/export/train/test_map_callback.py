"""`MapCallback`: maps of a network in anyone's training loop, from the validation pass, with nothing left behind."""

import numpy as np
import pytest
import torch
from torch import nn

from camrt.benchmarks.compare.torch_libraries import models
from camrt.errors import ExportError, UsageError
from camrt.export import MapCallback
from camrt.export.train.map_recorder import MapRecorder
from camrt.images import read_image
from support.videos import read_video

SIZE = 64
LABELS = ["ant", "bee", "cat"]


class Small(nn.Module):
    """Convolutions, a pool, dropout and a linear layer, as people write them."""

    def __init__(self, pool=None):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.pool = nn.AdaptiveAvgPool2d(1) if pool is None else pool
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, len(LABELS)))
        self.runs = 0

    def forward(self, images):
        self.runs += 1
        return self.head(self.pool(self.body(images)).flatten(1))


class Mean(nn.Module):
    def forward(self, maps):
        return maps.mean(dim=(-2, -1), keepdim=True)


class Peak(nn.Module):
    def forward(self, maps):
        return maps.amax(dim=(2, 3))


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(10, 3, SIZE, SIZE)


def validate(network, images, batch=4):
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in images.split(batch)])


def hooks_of(network):
    return [
        hooks
        for module in network.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        if hooks
    ]


def expected_maps(network, images, classes):
    with torch.no_grad():
        features = network.eval().body(images)
        return torch.einsum("nchw,nc->nhw", features, network.head[1].weight[classes])


@pytest.mark.parametrize("pool", [None, Mean(), nn.AvgPool2d(SIZE // 4)], ids=["adaptive", "mean", "average"])
def test_recorded_maps_add_up_to_the_logits(pool, images):
    network = Small(pool).eval()
    with torch.no_grad(), MapRecorder() as recorder:
        logits = network(images)
    classes = logits.argmax(1)
    maps = recorder.head().maps(classes)
    torch.testing.assert_close(maps, expected_maps(network, images, classes))
    bias = network.head[1].bias[classes]
    torch.testing.assert_close(maps.mean(dim=(1, 2)) + bias, logits.gather(1, classes[:, None])[:, 0])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "googlenet"])
def test_networks_of_torchvision_have_such_maps(name):
    """MobileNet and DenseNet pool by functions, squeeze and excitation pools in between are not taken."""
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    network = getattr(models, name)(weights=None, **options).eval()
    with torch.no_grad(), MapRecorder() as recorder:
        logits = network(torch.rand(2, 3, SIZE, SIZE))
    head = recorder.head()
    torch.testing.assert_close(head.logits, logits)
    maps = head.maps(torch.tensor([5, 7]))
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    expected = logits[[0, 1], [5, 7]] - linear.bias[[5, 7]]
    torch.testing.assert_close(maps.mean(dim=(1, 2)), expected, rtol=1e-3, atol=1e-4)


def test_sheets_of_a_plain_loop(images, tmp_path):
    network = Small()
    callback = MapCallback(tmp_path / "maps", labels=LABELS, targets=[0, 1, 2, 0, 1, 2], images=6)
    for epoch in range(3):
        network.train()
        network.head[1].weight.data.mul_(-1.5)  # learns
        runs = network.runs
        with callback.watch(network):
            validate(network, images)
        assert network.runs == runs + 3  # no pass of its own
        assert hooks_of(network) == []
        assert callback.epoch == epoch + 1
    sheets = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert sheets == ["epoch_0001.jpg", "epoch_0002.jpg", "epoch_0003.jpg"]
    first, second = (read_image(tmp_path / "maps" / name).astype(int) for name in sheets[:2])
    assert first.shape == (20 + 2 * 180, 640, 3)
    assert np.abs(first - second).mean() > 5  # the maps changed their sign
    frames, _ = read_video(callback.write_time_lapse())
    assert frames[0].shape == first.shape
    assert np.abs(frames[1].astype(int) - second).mean() < 6
    assert callback.seconds > 0


def test_the_answers_of_the_validation_pass_stay_the_same(images, tmp_path):
    network = Small()
    expected = validate(network, images)
    with MapCallback(tmp_path).watch(network):
        actual = validate(network, images)
    assert torch.equal(actual, expected)


def test_a_compiled_network_is_followed_and_compiled_again_afterwards(images, tmp_path):
    compiled_graphs = []

    def backend(graph, example):
        compiled_graphs.append(graph)
        return graph.forward

    network = Small()
    expected = validate(network, images)
    compiled = torch.compile(network, backend=backend)
    callback = MapCallback(tmp_path, images=4)
    for _ in range(2):
        with callback.watch(compiled):
            torch.testing.assert_close(validate(compiled, images), expected)
        assert hooks_of(compiled) == []
    assert callback.epoch == 2
    assert compiled_graphs  # the batches behind the followed images ran compiled
    torch.compiler.reset()


def test_mixed_precision_is_followed(images, tmp_path):
    network = Small()
    with MapCallback(tmp_path).watch(network), torch.autocast("cpu", torch.bfloat16):
        validate(network, images)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), MapRecorder() as recorder:
        logits = network.eval()(images)
    classes = logits.argmax(1)
    exact = expected_maps(network, images, classes)
    assert (recorder.head().maps(classes) - exact).abs().max() < 0.02 * exact.abs().max()


def test_replicas_are_followed(images, tmp_path):
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        network = Small()
        replicated = nn.parallel.DistributedDataParallel(network)
        with MapCallback(tmp_path).watch(replicated):
            validate(replicated, images)
    finally:
        torch.distributed.destroy_process_group()
    assert (tmp_path / "epoch_0001.jpg").is_file()
    assert hooks_of(network) == []


class Writer:
    """Keeps what TensorBoard's SummaryWriter would write."""

    def __init__(self):
        self.calls = []

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        self.calls.append((tag, img_tensor, global_step, dataformats))


def test_tensorboard_receives_each_sheet_in_rgb(images, tmp_path):
    writer = Writer()
    callback = MapCallback(tmp_path, writer=writer)
    network = Small()
    with callback.watch(network):
        validate(network, images)
    ((tag, sheet, step, layout),) = writer.calls
    assert (tag, step, layout) == ("maps", 1, "HWC")
    assert np.abs(sheet[..., ::-1].astype(int) - read_image(tmp_path / "epoch_0001.jpg")).mean() < 6


def test_images_are_shown_in_their_own_colours(tmp_path):
    """The whole of a constant map is cold, so the pixels stay."""
    network = Small()
    network.head[1].weight.data.zero_()
    mean, std = torch.tensor([0.4, 0.5, 0.6])[:, None, None], torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    colour = torch.tensor([1.0, 0.5, 0.0])[:, None, None].expand(3, SIZE, SIZE)
    callback = MapCallback(tmp_path, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    with callback.watch(network):
        validate(network, ((colour - mean) / std)[None])
    sheet = read_image(tmp_path / "epoch_0001.jpg")
    assert np.abs(sheet[100, 80].astype(int) - (0, 128, 255)).max() <= 6  # BGR


def test_networks_without_a_linear_head_on_pooled_maps_are_refused(images, tmp_path):
    network = Small(Peak())
    callback = MapCallback(tmp_path / "maps")
    with pytest.raises(ExportError, match=r"Small has no linear.*to_gap_cnn"), callback.watch(network):
        validate(network, images)
    assert hooks_of(network) == []
    assert not (tmp_path / "maps").exists()


def test_shuffled_validation_images_are_refused(images, tmp_path):
    network, callback = Small(), MapCallback(tmp_path)
    with callback.watch(network):
        validate(network, images)
    with pytest.raises(UsageError, match="do not shuffle them"), callback.watch(network):
        validate(network, images.flip(0))


def test_a_block_without_a_pass_is_refused(tmp_path):
    callback = MapCallback(tmp_path)
    with pytest.raises(UsageError, match="Small was not called in the block"), callback.watch(Small()):
        pass
    with pytest.raises(UsageError, match="has no maps of an epoch"):
        callback.write_time_lapse()


def test_an_error_of_the_pass_leaves_nothing_behind(images, tmp_path):
    network = Small()
    with pytest.raises(RuntimeError), MapCallback(tmp_path).watch(network):
        network(images[:, :1])  # one channel instead of three
    assert hooks_of(network) == []
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"images": 0}, {"channels": "grey"}])
def test_wrong_options_are_refused(options, tmp_path):
    with pytest.raises(UsageError, match=next(iter(options))):
        MapCallback(tmp_path, **options)
