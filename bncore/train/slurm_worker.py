"""One run as a task of a Slurm array: ``python -m bncore.train.slurm_worker RUN_DIR``; see `bncore.train.worker`.

Importing torch takes seconds on a shared file system, so the handlers for Slurm's notice and TERM are installed
before that.
"""

from __future__ import annotations

import sys

from bncore.train.control import Signals


def main(arguments: list[str] | None = None) -> int:
    """Run the worker; returns its exit code."""
    signals = Signals()
    signals.install(notice=True)
    from bncore.train.slurm_task import this_task  # noqa: PLC0415 - see above

    task = this_task()
    if task is None:
        sys.stderr.write(
            "not a task of a Slurm array: SLURM_ARRAY_JOB_ID and SLURM_ARRAY_TASK_ID are not set\n"
        )
        return 2
    from bncore.train.worker import main as work  # noqa: PLC0415 - see above

    return work(arguments, signals=signals, task=task)


if __name__ == "__main__":
    sys.exit(main())
