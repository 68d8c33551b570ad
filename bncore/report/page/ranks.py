"""Where the paper's curves lie among the seeds, on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bncore.report.page.markup import details, table, tag, text
from bncore.report.paper_fit import PaperFit
from bncore.report.picture import ReportPicture
from bncore.report.rank import PaperRank, RankSample

HEADER = ("variant", "panel", "the paper's curve is", "share of the seeds below it, by step")
MEANING = (
    "Outside: farther from ours than one more seed of ours would be. Else a typical seed; or an unusual one, that "
    "lies outside ours at more steps than is usual, but no farther than some of ours lie outside the others. Of n "
    "seeds, one more of the same kind lies outside all at a given step in 2 of n + 1 cases."
)


def fits(found: Sequence[PaperFit]) -> str:
    """The section that says of each setting whether it is the paper's experiment; empty where there are none."""
    if not found:
        return ""
    rows = [(text(fit.setting.title), text(fit.text)) for fit in found]
    return tag(
        "section",
        tag("h2", text("Where the paper's run lies"))
        + table(("setting", "the paper's curves among its seeds"), rows)
        + tag("p", text(MEANING), class_="fine"),
        id="fit",
    )


def ranks(picture: ReportPicture) -> str:
    """The ranks of a figure, folded; what is worth knowing of them is in the line that stays."""
    found = picture.ranks
    ranked = [rank for rank in found if not rank.reason]
    if not found:
        return ""
    if not ranked:
        reasons = "; ".join(dict.fromkeys(rank.reason for rank in found))
        return tag("p", text(f"Where the paper's curves lie among ours: {reasons}."), class_="fine")
    outside = sum(rank.outside for rank in ranked)
    said = f"{outside or 'none'} of {len(ranked)} outside the seeds"
    rows = [
        (text(rank.variant), text(rank.panel), text(rank.words), text(", ".join(_shares(rank))))
        for rank in found
    ]
    return details(f"Where the paper's curves lie among ours: {said}", table(HEADER, rows))


def _shares(rank: PaperRank) -> Iterator[str]:
    """``500: 35 %``; of bands and of several step lengths the least and the greatest."""
    steps: dict[float, list[RankSample]] = {}
    for look in rank.looks:
        steps.setdefault(look.step, []).append(look)
    for step, looks in steps.items():
        shares = sorted({f"{100 * look.rank:.0f}" for look in looks}, key=float)
        yield f"{step:,.0f}: {shares[0]}{f'–{shares[-1]}' if len(shares) > 1 else ''} %"
