"""The processes that make one update together, each on a batch of its own (DistributedDataParallel)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

CPU = torch.device("cpu")


class PeerFailedError(RuntimeError):
    """Another process could not do its part."""


@dataclass(frozen=True)
class Processes:
    """How many there are, and which one this is."""

    count: int = 1
    rank: int = 0
    joined: bool = False
    """Whether all of them measure together, on the batch of all of them: every process then makes the same calls
    in the same order."""
    device: torch.device = CPU
    """Where they meet."""

    @staticmethod
    def now(*, joined: bool, device: torch.device) -> Processes:
        """Those of the default process group; one where there is none."""
        if not (dist.is_available() and dist.is_initialized()):
            return Processes()
        return Processes(dist.get_world_size(), dist.get_rank(), joined, device)

    @property
    def batch(self) -> str:
        """Whose batch is measured on; empty where there is one process."""
        return "" if self.count == 1 else "global" if self.joined else "local"

    @property
    def measures(self) -> bool:
        """Whether this one measures."""
        return self.rank == 0 or self.joined

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean over the processes, as DistributedDataParallel takes that of gradients; what was given where
        this one measures by itself."""
        if not self.joined or self.count == 1:
            return list(tensors)
        self._proceed()
        sums = [t.detach().clone() for t in tensors]
        for tensor in sums:
            dist.all_reduce(tensor)
        return [tensor / self.count for tensor in sums]

    def gather(self, output: Tensor) -> Tensor:
        """The outputs of all processes, joined along the first dimension.

        Raises:
            ValueError: they are of several shapes.
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
        """Whether all processes that measure are willing to."""
        return willing if not self.joined or self.count == 1 else not self._unwilling(willing)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is done meanwhile is done by all that measure, or by none: where one fails, the others leave at the
        operation for which they would wait for it.

        Raises:
            PeerFailedError: another failed.
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
        found: list[int] = votes.nonzero().flatten().tolist()
        return found


ALONE = Processes()
