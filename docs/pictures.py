"""Make the pictures of the documentation from a live sweep: ``python docs/pictures.py`` (a minute and a half).

The sweep is trained by real workers, the explorer is the real one without a terminal, and each picture is its own.
`demo.svg` shows the scene below, `explorer.svg` and `layers.svg` the same sweep afterwards.
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
from bntui.live.watch import Disk
from bntui.preferences import Settings

SMALL, LARGE = (120, 32), (160, 48)
Scene = tuple[tuple[float, str, float], ...]
SCENE: Scene = (
    (12, "", 1.2), (6, "", 1.2), (0.5, "n", 1.5), (1.5, "enter", 1.5), (8, "", 1.2), (8, "", 1.2),
    (0.5, "p", 1), (0.5, "l 1", 1.5), (1.5, "enter", 1.5), (8, "", 1.2), (8, "", 1.2),
    (0.5, "z", 2), (0.5, "z", 0.5), (1, "2", 2.5), (1, "6", 2.5), (1, "1", 2.5),
)  # fmt: skip
"""Seconds that pass, keys, and the seconds for which the picture is shown then."""
STILLS: Scene = ((3, "", 0), (1, "2", 0))
SETTINGS = ("steps=3000", "probes.ics.every=10", "probes.landscape.every=10")


def main(target: Path) -> None:
    """Train, steer and record."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--seeds", "0-1", "--jobs", "4"]
        options += [text for setting in SETTINGS for text in ("--set", setting)]
        bnrun = [sys.executable, "-m", "bntui.cli.main"]
        subprocess.run([*bnrun, "preset", "quick", "--detach", *options], cwd=folder, check=True)
        try:
            (sweep,) = (Path(folder) / "runs").iterdir()
            pictures = asyncio.run(record(sweep, SMALL, SCENE))
            stills = asyncio.run(record(sweep, LARGE, STILLS))
        finally:
            subprocess.run([*bnrun, "stop", "@last"], cwd=folder, check=True)
    (target / "demo.svg").write_text(animated(pictures, [seconds for _, _, seconds in SCENE]))
    for name, picture in zip(("explorer", "layers"), stills, strict=True):
        (target / f"{name}.svg").write_text(plain(picture))


async def record(sweep: Path, size: tuple[int, int], scene: Scene) -> list[str]:
    """Pictures of a scene, as SVG."""
    settings = Settings(root=sweep.parent)
    explorer = Explorer(settings, Disk(settings.root, settings.speed), SweepDir(sweep))
    found = []
    async with explorer.run_test(size=size) as pilot:
        for seconds, keys, _ in scene:
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
        layers.append(f'<g class="p{number}">{plain(picture)}</g>')
        begin += seconds
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box[1] if box else ""}">'
    return f"{head}<style>{''.join(rules)}</style>{''.join(layers)}</svg>\n"


def plain(picture: str) -> str:
    """A picture without comments, fonts from elsewhere, and blanks between its elements."""
    without = re.sub(r"<!--.*?-->|@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return re.sub(r">\s+<", "><", without)


if __name__ == "__main__":
    main(Path(__file__).parent)
