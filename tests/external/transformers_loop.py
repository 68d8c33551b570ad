"""A training by the Trainer of Transformers, observed or alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from bncore.integrations.transformers import Observe

from .frameworks import BATCHES, LR, OBSERVED

NAME = "transformers"
SAMPLES = 4
EXACTLY = {"double": True}, 1e-6  # Transformers computes the loss in float32
TWO_PROCESSES = {"ddp_backend": "gloo"}


def initial(dropout: float = 0.0) -> nn.Module:
    """A language model of two layers, of random weights."""
    torch.manual_seed(1)
    return transformers.GPT2LMHeadModel(  # type: ignore[no-any-return]
        transformers.GPT2Config(
            vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0,
            resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout, attn_implementation="eager",
        )
    )  # fmt: skip


def loss_of(net: Any, rows: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(
        net(input_ids=rows).logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten()
    )


def batches() -> list[Tensor]:
    source = torch.Generator().manual_seed(3)
    return list(torch.randint(11, (BATCHES, SAMPLES, 8), generator=source))


def double(batch: Tensor) -> Tensor:
    return batch


def example(row: Tensor) -> dict[str, Tensor]:
    """Its first token, which nothing predicts, is no label: the Trainer divides by the number of labels."""
    labels = row.clone()
    labels[0] = -100
    return {"input_ids": row, "labels": labels}


class InOrder(transformers.Trainer):
    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Told(transformers.TrainerCallback):
    """What the Trainer says of its losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])


class Training:
    """A training, observed if there is a directory.

    Arguments:
        observing: settings of the callback.
        scale: first loss scale of a training in scaled float16. On a CPU Accelerate ignores ``fp16=True``, so
            what it sets on a GPU is set here.
        options: of the Trainer.
    """

    def __init__(
        self,
        run: Path | None,
        observing: Mapping[str, Any] = OBSERVED,
        *,
        dropout: float = 0.0,
        scale: float = 0.0,
        double: bool = False,
        **options: Any,
    ) -> None:
        self.net = initial(dropout).double() if double else initial(dropout)
        chosen: dict[str, Any] = {
            "per_device_train_batch_size": SAMPLES, "num_train_epochs": 1, "learning_rate": LR, "optim": "sgd",
            "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "logging_steps": 1, "save_strategy": "no",
            "report_to": [], "use_cpu": True, "disable_tqdm": True, "fp16": bool(scale), **options,
        }  # fmt: skip
        data = [example(row) for row in torch.cat(batches())]
        arguments = transformers.TrainingArguments(output_dir=mkdtemp(), **chosen)
        self.trainer = InOrder(self.net, arguments, train_dataset=data, eval_dataset=data[:4])
        if scale:
            self.trainer.accelerator.native_amp = True
            self.trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        self._told = Told()
        self.trainer.add_callback(self._told)
        if run is not None:
            self.trainer.add_callback(Observe(self.trainer, run, **observing))

    def start(self) -> Training:
        torch.manual_seed(2)
        self.trainer.train()
        return self

    @property
    def updates(self) -> int:
        return int(self.trainer.state.global_step)

    @property
    def reported(self) -> list[float]:
        """The losses that the Trainer tells."""
        return self._told.losses
