"""Maps while any network trains: a contact sheet after each epoch and a time-lapse, from the validation pass itself."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from camrt import kernels
from camrt.errors import ExportError, SinkError, UsageError
from camrt.export.graph.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from camrt.export.train.map_recorder import MapRecorder
from camrt.export.train.map_sheet import draw_sheet
from camrt.export.train.time_lapse import write_time_lapse
from camrt.files import write_error, write_file
from camrt.images import Image

_NAME: Final = "epoch_{:04}.jpg"


class MapCallback:
    """Follows the first images of each validation pass, and shows where the network looks for their class.

    Wrap the validation pass of a training loop; the maps are computed from the features that it computes anyway:

        maps = MapCallback("runs/maps", labels=names)
        for epoch in range(epochs):
            ...                                     # train
            with maps.watch(network):
                for images, targets in validation:  # in the same order in each epoch
                    logits = network(images)
        maps.write_time_lapse()

    The network needs a global average pool and a linear layer behind it. It may be compiled, replicated (DDP; the first
    process writes) or in mixed precision. Nothing stays attached to it.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        labels: Sequence[str] | None = None,
        targets: Sequence[int] | None = None,
        images: int = 16,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        channels: str = "rgb",
        writer: Any = None,
    ) -> None:
        """Begin with an empty time-lapse.

        Args:
            folder: for ``epoch_0001.jpg`` and so on, and ``timelapse.mp4``; it is created.
            labels: class names; None: numbers.
            targets: class numbers of the images that are followed, whose maps are shown; None: the predicted classes.
            images: number of images to follow, 1 or more.
            mean: of the network's input, to show its images; one number a channel.
            std: like ``mean``.
            channels: ``rgb`` or ``bgr``, the order of the network's input.
            writer: TensorBoard's ``SummaryWriter``, which receives each sheet as ``maps``; None: none.

        Raises:
            UsageError: ``images`` or ``channels`` is wrong.
        """
        if images < 1:
            raise UsageError(f"images {images} must be at least 1")
        if channels not in ("rgb", "bgr"):
            raise UsageError(f"channels {channels!r} must be rgb or bgr")
        self.folder = Path(folder)
        self.epoch = 0
        """Number of the last epoch whose maps were written."""
        self.seconds = 0.0
        """Time spent on maps in all."""
        self._labels, self._writer = labels, writer
        self._targets = None if targets is None else torch.as_tensor(targets)[:images]
        self._count = images
        self._mean, self._std = (np.array(numbers, np.float32) for numbers in (mean, std))
        self._channels = channels
        self._first: Image | None = None
        kernels.warm_up()

    @contextmanager
    def watch(self, network: nn.Module) -> Iterator[None]:
        """Follow the validation pass in the block; at its end the sheet of this epoch is written.

        Raises:
            ExportError: the network has no linear head on pooled maps.
            UsageError: the pass began with other images than the pass before, or had none.
            DiskFull, SinkError: the sheet cannot be written.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank():
            yield
            return
        followed = _Followed(self._count, self._targets)
        with followed.attached(network):
            yield
        start = time.perf_counter()
        self._write(followed, type(network).__name__)
        self.seconds += time.perf_counter() - start + followed.seconds

    def write_time_lapse(self) -> Path:
        """Write ``timelapse.mp4`` of all sheets; returns its path.

        Raises:
            UsageError: no epoch was watched.
            MissingExtra: PyAV is not installed.
            DiskFull, SinkError: it cannot be written.
        """
        sheets = sorted(self.folder.glob("epoch_*.jpg"))
        if not sheets:
            raise UsageError(f"{self.folder} has no maps of an epoch; wrap a validation pass with watch(network)")
        target = self.folder / "timelapse.mp4"
        write_time_lapse(sheets, target)
        return target

    def _write(self, followed: "_Followed", name: str) -> None:
        if not followed.parts:
            raise UsageError(f"{name} was not called in the block of watch; run the validation pass there")
        inputs, maps, scores, classes = (torch.cat(column) for column in zip(*followed.parts, strict=True))
        images = [self._shown(one) for one in inputs.float().numpy()]
        small = np.concatenate([kernels.resize(image, 8, 8) for image in images])
        if self._first is None:
            self._first = small
        elif self._first.shape != small.shape or np.abs(self._first.astype(int) - small).max() > 2:
            raise UsageError("the validation pass began with other images than the pass before; do not shuffle them")
        captions = [
            f"{self._label(int(number))} {score:.0%}{'' if int(best) == int(number) else f', not {self._label(best)}'}"
            for number, score, best in zip(
                classes, scores.gather(1, classes[:, None])[:, 0], scores.argmax(1).tolist(), strict=True
            )
        ]
        self.epoch += 1
        sheet = draw_sheet(images, list(maps.numpy()), captions, f"epoch {self.epoch}")
        done, data = cv2.imencode(".jpg", sheet)
        if not done:
            raise SinkError(f"the maps of epoch {self.epoch} cannot be encoded")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error
        write_file(self.folder / _NAME.format(self.epoch), data.tobytes())
        if self._writer is not None:
            self._writer.add_image("maps", sheet[..., ::-1].copy(), self.epoch, dataformats="HWC")

    def _shown(self, pixels: NDArray[np.float32]) -> Image:
        """Return a network's input (C, H, W) as uint8 (H, W, 3) BGR."""
        planes = pixels.transpose(1, 2, 0) * self._std + self._mean
        image = np.clip(planes * 255 + 0.5, 0, 255).astype(np.uint8)
        if image.shape[2] == 1:
            image = np.repeat(image, 3, axis=2)
        return np.ascontiguousarray(image[..., ::-1] if self._channels == "rgb" else image)

    def _label(self, number: int) -> str:
        return str(number) if self._labels is None else self._labels[number]


class _Followed:
    """Images, maps, scores and classes of the first images that a network is called with."""

    def __init__(self, count: int, targets: torch.Tensor | None) -> None:
        self.parts: list[tuple[torch.Tensor, ...]] = []
        self.seconds = 0.0
        self._left = count
        self._targets = targets
        self._running = ExitStack()
        self._recorder: MapRecorder | None = None

    @contextmanager
    def attached(self, network: nn.Module) -> Iterator[None]:
        """Record in the block. A compiled network runs eagerly until enough images were seen."""
        # The hooks are on the outermost module, so torch.compile and DDP call them outside of what they replace.
        handles = [
            network.register_forward_pre_hook(self._before, with_kwargs=True),
            network.register_forward_hook(self._after, with_kwargs=True, always_call=True),
        ]
        try:
            yield
        finally:
            self._running.close()
            for handle in handles:
                handle.remove()

    def _before(self, network: nn.Module, args: Any, kwargs: Any) -> None:
        if self._left <= 0:
            return
        self._recorder = MapRecorder()
        self._running.enter_context(torch.compiler.set_stance("force_eager"))
        self._running.enter_context(self._recorder)

    def _after(self, network: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._recorder is None:
            return
        self._running.close()
        recorder, self._recorder = self._recorder, None
        if output is None:  # the network raised an error, which its owner sees
            return
        start = time.perf_counter()
        head = recorder.head()
        if head is None:
            raise ExportError(
                f"{type(network).__name__} has no linear layer behind a global average pool, so its maps are not in "
                "its validation pass; give it such a head with camrt.export.to_gap_cnn"
            )
        inputs = _image_batch(args, kwargs)[: self._left]
        seen = sum(len(part[0]) for part in self.parts)
        scores = head.logits[: len(inputs)].float().softmax(1)
        classes = scores.argmax(1)
        if self._targets is not None:
            known = self._targets[seen : seen + len(inputs)].to(classes)
            classes = torch.cat([known, classes[len(known) :]])
        maps = head.maps(classes)
        self.parts.append(tuple(one.detach().cpu() for one in (inputs, maps, scores, classes)))
        self._left -= len(inputs)
        self.seconds += time.perf_counter() - start


def _image_batch(args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    """Return the images (N, C, H, W) that a network was called with."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor) and value.ndim == 4:
            return value
    raise UsageError("the network was called without a batch of images (N, C, H, W)")
