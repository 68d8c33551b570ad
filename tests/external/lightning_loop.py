"""A training by Lightning, observed or alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import torchmetrics
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.nn import functional as F

from bncore.integrations.lightning import Observe

from .frameworks import BATCHES, LR, OBSERVED

NAME = "lightning"
SAMPLES = 8
EXACTLY = {"precision": "64-true"}, 1e-10
TWO_PROCESSES = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}


class Module(lightning.LightningModule):
    """A perceptron that logs its loss, and counts its error in a metric."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))
        self.error = torchmetrics.MeanSquaredError()
        self.losses: list[float] = []
        self.calls = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.calls += 1
        x, y = batch
        outputs = self.net(x)
        self.error(outputs.float(), y.float())
        loss = F.mse_loss(outputs.to(y.dtype), y)
        self.log_dict({"train_loss": loss})
        self.log("train_error", self.error, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.mse_loss(self.net(batch[0]).to(batch[1].dtype), batch[1]))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=LR)


def loss_of(module: Any, batch: Any) -> Tensor:
    return F.mse_loss(module.net(batch[0]), batch[1])


def batches() -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(3)
    inputs = torch.randn(BATCHES, SAMPLES, 3, generator=source)
    return [(x, x[:, :2].sin()) for x in inputs]


def double(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return tuple(part.double() for part in batch)


def initial() -> nn.Module:
    torch.manual_seed(1)
    return Module()


class Training:
    """A training, observed if there is a directory.

    Arguments:
        observing: settings of the callback.
        scale: first loss scale of a training in scaled float16, which Lightning turns into bfloat16 on a CPU
            unless its plugin is given.
        options: of the Trainer.
    """

    def __init__(
        self,
        run: Path | None,
        observing: Mapping[str, Any] = OBSERVED,
        *,
        module: type[Module] = Module,
        dropout: float = 0.0,
        scale: float = 0.0,
        **options: Any,
    ) -> None:
        torch.manual_seed(1)
        self.net = module(dropout)
        if scale:
            scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            options["plugins"] = MixedPrecision("16-mixed", "cpu", scaler)
        self.trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
            callbacks=[] if run is None else [Observe(run, **observing)], **options,
        )  # fmt: skip

    def start(self) -> Training:
        torch.manual_seed(2)
        own = batches()[self.trainer.global_rank :: self.trainer.world_size]
        x, y = (torch.cat(parts) for parts in zip(*own, strict=True))
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=SAMPLES)
        self.trainer.fit(self.net, loader, loader)
        return self

    @property
    def updates(self) -> int:
        return int(self.trainer.global_step)

    @property
    def reported(self) -> dict[str, float]:
        """What Lightning says of it."""
        return {name: float(value) for name, value in self.trainer.callback_metrics.items()}
