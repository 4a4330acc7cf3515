"""Maps in the training loops of Lightning and of Hugging Face's Trainer."""

import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import camrt.benchmarks.compare.torch_libraries  # noqa: F401 - declares what torchvision's build may lack
from camrt.errors import MissingExtra
from camrt.export import MapCallback
from camrt.export.train.framework_callbacks import lightning_callback, transformers_callback
from support.videos import read_video

SIZE = 32
pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def data():
    torch.manual_seed(1)
    return TensorDataset(torch.rand(8, 3, SIZE, SIZE), torch.arange(8) % 2)


def sheets(folder):
    return sorted(path.name for path in folder.glob("*.jpg"))


@pytest.mark.parametrize("part", [None, "network"])
def test_lightning_shows_each_validation_epoch(tmp_path, part):
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, images):
            return self.network(images)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self.log("loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    maps, module = MapCallback(tmp_path / "maps", images=4), Module()
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[lightning_callback(maps, part)],
    )
    trainer.fit(module, DataLoader(data(), 4), DataLoader(data(), 4))
    assert sheets(tmp_path / "maps") == ["epoch_0001.jpg", "epoch_0002.jpg", "epoch_0003.jpg"]
    assert len(read_video(tmp_path / "maps" / "timelapse.mp4")[0]) == 3 + 3
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in module.modules())


def test_transformers_trainer_shows_each_evaluation(tmp_path):
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, pixel_values, labels=None):
            logits = self.network(pixel_values)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    images = [{"pixel_values": image, "labels": label} for image, label in data()]
    settings = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    maps, model = MapCallback(tmp_path / "maps", images=4), Model()
    trainer = Trainer(
        model, settings, train_dataset=images, eval_dataset=images, callbacks=[transformers_callback(maps)]
    )
    trainer.train()
    assert sheets(tmp_path / "maps") == ["epoch_0001.jpg", "epoch_0002.jpg"]
    assert (tmp_path / "maps" / "timelapse.mp4").is_file()
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_missing_frameworks_are_named(tmp_path, monkeypatch):
    maps = MapCallback(tmp_path)
    for name in ("lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match="pip install lightning"):
        lightning_callback(maps)
    with pytest.raises(MissingExtra, match="pip install transformers"):
        transformers_callback(maps)
