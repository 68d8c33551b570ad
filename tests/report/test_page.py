"""One page that needs nothing else, and in which text from outside stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from live.factories import write_sweep

from bncore.figure import Curve
from bncore.report.document import Report, as_json
from bncore.report.page import page, panel_table
from bncore.report.rank import ReportPanel
from bncore.store.paths import SweepDir
from report.factories import IMAGES, report, request, run_of, spec_of, sweep_of

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Seen(HTMLParser):
    """Everything a parser meets; unbalanced tags are errors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def document(tmp_path: Path) -> Report:
    return report([sweep_of(tmp_path / "made", {"norm": "none"}, {"norm": "batch"}, seeds=2)])


def test_the_page_is_well_formed_and_has_an_svg_for_each_panel(document: Report) -> None:
    seen = Seen(page(document))
    panels = sum(len(picture.panels) for picture in document.pictures)
    roles = [attributes for tag, attributes in seen.tags if attributes.get("role") == "img"]
    assert len(roles) == panels
    swatches = sum(attributes.get("class") == "swatch" for _, attributes in seen.tags)
    assert seen.count("svg") == panels + swatches


def test_the_page_refers_to_nothing_outside_itself(document: Report) -> None:
    text = page(document)
    seen = Seen(text)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(tag for tag, _ in seen.tags)
    links = [
        value for _, attributes in seen.tags for name, value in attributes.items() if name in ("href", "src")
    ]
    assert all(link is not None and link.startswith("#") for link in links)
    assert not re.search(r"@import|url\((?!#)", text)
    assert set(re.findall(r'https?://[^\s"<]+', text)) <= {"http://www.w3.org/2000/svg"}


def test_every_link_leads_somewhere_and_no_id_is_there_twice(document: Report) -> None:
    seen = Seen(page(document))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(attributes["href"])[1:] for _, attributes in seen.tags if "href" in attributes}
    assert links <= set(ids)


def test_verdicts_come_first_and_specs_last(document: Report) -> None:
    text = page(document)
    order = [
        text.index(f'id="{name}"')
        for name in ("verdicts", "runs", "variants", "figures", "evidence", "specs")
    ]
    assert order == sorted(order)
    assert all(f">C{n}<" in text for n in range(1, 12))
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_same_runs_make_the_same_page(document: Report) -> None:
    assert page(document) == page(document)


def test_tables_of_data_and_specs_are_folded(document: Report) -> None:
    seen = Seen(page(document))
    assert seen.count("details") > len(document.pictures)
    assert not any("open" in attributes for tag, attributes in seen.tags if tag == "details")
    assert "weight_decay" in "".join(seen.words)


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&\x1b[31m'
    name = "<img src=x onerror=y>-s0"
    spec = spec_of("none").model_copy(update={"title": evil})
    run = run_of(tmp_path / "made" / name, spec, state="failed", events=(request(2, {"norm.kind": evil}),))
    run.meta_file.write_text('{"host": "<script>h</script>", "command": ["<b>"], "versions": 3}')
    write_sweep(tmp_path / "made", [name], title=evil, name=evil)
    document = report([SweepDir(tmp_path / "made")])
    text = page(document)
    seen = Seen(text)
    assert seen.count("script") == seen.count("img") == 0
    assert "\x1b" not in text
    assert "<img src=x onerror=y>-s0" in "".join(seen.words)
    assert "<script>h</script>" in "".join(seen.words)


def test_synthetic_images_are_announced(tmp_path: Path) -> None:
    made = IMAGES.model_copy(update={"data": IMAGES.data.model_copy(update={"source": "synthetic"})})
    text = page(report([sweep_of(tmp_path / "made", {"norm": "none", "base": made}, seeds=1)]))
    assert "which are not evidence" in text


def test_a_run_in_which_nothing_happened_makes_a_page_too(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", spec_of("none"), steps=0, state="queued")
    run.journal_file.unlink()
    text = page(report([run]))
    assert "queued at step 0" in text
    assert "Nothing was measured yet." in text


def test_json_says_what_the_page_says(document: Report) -> None:
    found = as_json(document)
    assert [claim["claim"] for claim in found["claims"]] == [f"C{n}" for n in range(1, 12)]
    assert [run["counts"] for run in found["runs"]] == [True] * 4
    smooth = next(claim for claim in found["claims"] if claim["claim"] == "C4")
    measure = smooth["findings"][0]["parts"][0]["measures"][0]
    assert measure["effect"]["n"] == 2
    assert set(measure["effect"]["by_seed"]) == {"0", "1"}
    assert [figure["name"] for figure in found["figures"]] == [one.name for one in document.pictures]


def test_the_paper_s_values_are_read_between_its_points_on_the_axes_as_plotted() -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])
    mine = np.array([7.0, 8.0])
    ours = Curve("ours", 0, np.array([1.5, 4.0]), mine, mine)
    paper = Curve("paper", 0, x, y, y, weight="paper")
    data = panel_table(ReportPanel("", (ours, paper), log_y=True))
    assert data.rows == [("1.5", "7", "3.162"), ("4", "8", "-")]
