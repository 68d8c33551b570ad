"""Observe a Lightning training (automatic optimization, with a metric and validation). Half a minute on a CPU.

python -m pip install '.[lightning]'
python examples/lightning_fit.py runs/frameworks/lightning
"""

from __future__ import annotations

import sys

import lightning.pytorch as lightning
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import bncore
from bncore.integrations.lightning import Observe


class Classifier(lightning.LightningModule):
    def __init__(self, width: int = 64, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()  # recorded as the run's config
        self.net = nn.Sequential(
            nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 10)
        )
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=10)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        outputs = self.net(images)
        self.accuracy(outputs, labels)
        self.log("train_accuracy", self.accuracy)
        return F.cross_entropy(outputs, labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)


def main(run: str) -> None:
    lightning.seed_everything(0)
    labels = torch.randint(10, (4096,))
    images = torch.randn(10, 64)[labels] + 2 * torch.randn(4096, 64)
    training, validation = (
        TensorDataset(images[512:], labels[512:]),
        TensorDataset(images[:512], labels[:512]),
    )
    probes = {"landscape": {"every": 20}, "activations": {"every": 20}}
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[Observe(run, probes=probes, declare=lambda watch: watch.control_optimizer())],
    )  # fmt: skip
    trainer.fit(
        Classifier(), DataLoader(training, batch_size=64, shuffle=True), DataLoader(validation, batch_size=64)
    )

    losses = bncore.load_run(run).table("step")["loss"]
    beta = bncore.load_run(run).table("probe:landscape")["beta"]
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; effective beta {beta[0]:.3g} -> {beta[-1]:.3g}")


if __name__ == "__main__":
    main(sys.argv[1])
