"""Record a live sweep, steered in the explorer, as an animated SVG: ``python docs/record_demo.py docs/demo.svg``.

The sweep is trained by real workers, the explorer is the real one without a terminal, and each picture is its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ |= {"COLORTERM": "truecolor", "TEXTUAL_COLOR_SYSTEM": "truecolor"}  # read when Textual is imported

from bncore.store.paths import SweepDir
from bntui.app import Explorer
from bntui.disk import Disk
from bntui.selection import Settings

SIZE = (120, 32)
SCENE = (
    (12, "", 1.2), (6, "", 1.2), (0.5, "n", 1.5), (1.5, "enter", 1.5), (8, "", 1.2), (8, "", 1.2),
    (0.5, "p", 1), (0.5, "l 1", 1.5), (1.5, "enter", 1.5), (8, "", 1.2), (8, "", 1.2),
    (0.5, "z", 2), (0.5, "z", 0.5), (1, "2", 2.5), (1, "6", 2.5), (1, "1", 2.5),
)  # fmt: skip
"""Seconds that pass, keys, and the seconds for which the picture is shown then."""
SETTINGS = ("steps=3000", "probes.ics.every=10", "probes.landscape.every=10")


def main(target: Path) -> None:
    """Train, steer and record."""
    with tempfile.TemporaryDirectory() as folder:
        options = [text for setting in SETTINGS for text in ("--set", setting)]
        bnrun = [sys.executable, "-m", "bntui.cli.main"]
        subprocess.run([*bnrun, "preset", "quick", "--detach", *options], cwd=folder, check=True)
        try:
            pictures = asyncio.run(record(Path(folder) / "runs"))
        finally:
            subprocess.run([*bnrun, "stop", "@last"], cwd=folder, check=True)
    target.write_text(animated(pictures, [seconds for _, _, seconds in SCENE]))


async def record(root: Path) -> list[str]:
    """Pictures of the scene, as SVG."""
    settings = Settings(root)
    explorer = Explorer(settings, Disk(settings), SweepDir(next(root.iterdir())))
    found = []
    async with explorer.run_test(size=SIZE) as pilot:
        for seconds, keys, _ in SCENE:
            await pilot.pause(seconds)
            if keys:
                await pilot.press(*keys.split())
                await pilot.pause(0.5)
            found.append(explorer.export_screenshot(title="bntui"))
    return found


def animated(pictures: list[str], shown: list[float]) -> str:
    """One picture after the other, for so many seconds each, again and again."""
    total, begin = sum(shown), 0.0
    box = re.search(r'viewBox="([^"]+)"', pictures[0])
    rules, layers = [], []
    for number, (picture, seconds) in enumerate(zip(pictures, shown, strict=True)):
        first, last = 100 * begin / total, 100 * (begin + seconds) / total
        hidden = f"0%{{visibility:hidden}}{first:.3f}%{{visibility:visible}}{last:.3f}%{{visibility:hidden}}"
        rules.append(f"@keyframes p{number}{{{hidden if first else hidden.partition('}')[2]}}}")
        rules.append(f".p{number}{{visibility:hidden;animation:p{number} {total}s step-end infinite}}")
        layers.append(f'<g class="p{number}">{_once(picture)}</g>')
        begin += seconds
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box[1] if box else ""}">'
    return f"{head}<style>{''.join(rules)}</style>{''.join(layers)}</svg>\n"


def _once(picture: str) -> str:
    """A picture without comments, fonts from elsewhere, and blanks between its elements."""
    plain = re.sub(r"<!--.*?-->|@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return re.sub(r">\s+<", "><", plain)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
