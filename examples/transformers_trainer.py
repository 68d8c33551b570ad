"""Observe the Trainer of Transformers on a small language model built here. Half a minute on a CPU.

python -m pip install '.[transformers]'
python examples/transformers_trainer.py runs/frameworks/transformers
"""

from __future__ import annotations

import sys
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import bncore
from bncore.integrations.transformers import Observe

WORDS, LENGTH, TEXTS = 32, 16, 800


def texts() -> list[dict[str, torch.Tensor]]:
    """Random texts in which a word w is followed by 5 w + 1, except for occasional random words."""
    rows = torch.randint(WORDS, (TEXTS, LENGTH))
    for place in range(1, LENGTH):
        follows = torch.rand(TEXTS) < 0.9
        rows[follows, place] = (5 * rows[follows, place - 1] + 1) % WORDS
    return [{"input_ids": row, "labels": row} for row in rows]


def main(run: str) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=WORDS, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2,
            bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    data = texts()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder, per_device_train_batch_size=8, gradient_accumulation_steps=2, num_train_epochs=2,
                learning_rate=5e-3, bf16=True, use_cpu=True, save_strategy="no", eval_strategy="epoch",
                report_to=[], disable_tqdm=True,
            ),
            train_dataset=data[80:],
            eval_dataset=data[:80],
        )  # fmt: skip
        probes = {"landscape": {"every": 15}, "activations": {"every": 15}}
        trainer.add_callback(Observe(trainer, run, probes=probes, config=model.config.to_diff_dict()))
        trainer.train()

    losses = bncore.load_run(run).table("step")["loss"]
    fidelity = bncore.load_run(run).table("probe:fidelity")["deviation"]
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; fidelity at most {fidelity.max():.2g}")


if __name__ == "__main__":
    main(sys.argv[1])
