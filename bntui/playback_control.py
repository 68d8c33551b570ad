"""What the keys of a playback do, and what the line of keys says of them."""

from __future__ import annotations

from bntui.live.playback import Playback

SLOWEST, FASTEST = 1e-3, 1e6


def toggle_label(playback: Playback | None) -> str:
    """What `toggle` would do; empty where there is no playback."""
    if playback is None:
        return ""
    return "play again" if playback.ended else "resume" if playback.paused else "pause"


def toggle(playback: Playback) -> None:
    """Pause or resume; from its end, play it again."""
    if playback.ended:
        playback.seek(0.0)
        playback.resume()
    elif playback.paused:
        playback.resume()
    else:
        playback.pause()


def speed_up(playback: Playback, factor: float) -> None:
    playback.set_speed(min(FASTEST, max(SLOWEST, playback.speed * factor)))
