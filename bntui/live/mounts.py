"""Whether a directory lies on a network file system, where looking often is a burden on others."""

from __future__ import annotations

import re
from pathlib import Path

REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "virtiofs", "davfs"),
        *("lustre", "gpfs", "beegfs", "ceph", "glusterfs", "orangefs", "panfs", "pvfs2", "wekafs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs"),
    }
)
"""Types of file systems as /proc/mounts names them."""


def is_remote(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether `path` lies on a network file system; False where the system does not say."""
    try:
        rows = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
        place = path.resolve()
    except OSError:
        return False
    holding = [
        (len(point.parts), number, row[2])
        for number, row in enumerate(rows)
        if len(row) > 2 and place.is_relative_to(point := Path(_plain(row[1])))
    ]
    return bool(holding) and max(holding)[2] in REMOTE  # the deepest mount point, of several there the last


def _plain(text: str) -> str:
    """A mount point as it is: spaces are written as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
