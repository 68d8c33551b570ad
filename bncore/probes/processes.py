"""The processes that make one update together, each on its own batch (DistributedDataParallel)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

CPU = torch.device("cpu")


class PeerFailedError(RuntimeError):
    """Another process failed."""


@dataclass(frozen=True)
class Processes:
    """The process group: its size and this process's rank."""

    count: int = 1
    rank: int = 0
    joined: bool = False
    """Whether all processes measure together on the global batch, each making the same calls in the same order."""
    device: torch.device = CPU
    """Device of the collective operations."""

    @staticmethod
    def now(*, joined: bool, device: torch.device) -> Processes:
        """The processes of the default process group, or a single process if there is none."""
        if not (dist.is_available() and dist.is_initialized()):
            return Processes()
        return Processes(dist.get_world_size(), dist.get_rank(), joined, device)

    @property
    def batch(self) -> str:
        """Batch of the measurement, ``global`` or ``local``; empty for a single process."""
        return "" if self.count == 1 else "global" if self.joined else "local"

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean over the processes, as DistributedDataParallel averages gradients.

        A process that measures alone gets its tensors back.
        """
        if not self.joined or self.count == 1:
            return list(tensors)
        self._proceed()
        sums = [t.detach().clone() for t in tensors]
        for tensor in sums:
            dist.all_reduce(tensor)
        return [tensor / self.count for tensor in sums]

    def gather(self, output: Tensor) -> Tensor:
        """The outputs of all processes, concatenated along the first dimension.

        Raises:
            ValueError: the outputs have different shapes.
        """
        if not self.joined or self.count == 1:
            return output
        self._proceed()
        shape = torch.tensor(output.shape, device=output.device)
        shapes = [torch.empty_like(shape) for _ in range(self.count)]
        dist.all_gather(shapes, shape)
        if any(not torch.equal(one, shapes[0]) for one in shapes):
            raise ValueError(f"outputs of several shapes: {[one.tolist() for one in shapes]}; expected one")
        parts = [torch.empty_like(output, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, output.detach().contiguous())
        return torch.cat(parts)

    def agree(self, willing: bool) -> bool:
        """Whether all measuring processes are willing."""
        return willing if not self.joined or self.count == 1 else not self._unwilling(willing)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let all measuring processes complete the context, or none.

        If one fails, the others leave the context at the operation in which they would have waited for it.

        Raises:
            PeerFailedError: another process failed.
        """
        try:
            yield
        except PeerFailedError:
            raise
        except Exception:
            self.agree(False)
            raise
        if self.joined and self.count > 1:
            self._proceed()

    def _proceed(self) -> None:
        failed = self._unwilling(True)
        if failed:
            raise PeerFailedError(f"process {failed[0]} failed, and says why")

    def _unwilling(self, willing: bool) -> list[int]:
        votes = torch.zeros(self.count, device=self.device)
        votes[self.rank] = float(not willing)
        dist.all_reduce(votes)
        ranks: list[int] = votes.nonzero().flatten().tolist()
        return ranks


ALONE = Processes()
