"""`bnrun report` and `bnrun claims`, as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.factories import bnrun, clean_environment

from report.factories import run_of, spec_of, sweep_of

VARIANTS = ({"norm": "none", "scale": 3.0, "rough": 2.0}, {"norm": "batch"})


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_of(tmp_path / "runs" / "made", *VARIANTS).path


def test_report_prints_plots_runs_and_verdicts(tmp_path: Path, sweep: Path) -> None:
    done = bnrun("report", "made", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Fig 4: The landscape of VGG: Gradient predictiveness" in done.stdout
    assert "made/batch-1-s2" in done.stdout
    assert done.stdout.index("Fig 1") < done.stdout.index("What these runs say")
    assert "supported" in done.stdout
    assert "inconclusive" in done.stdout


def test_report_writes_a_page_and_pictures(tmp_path: Path, sweep: Path) -> None:
    done = bnrun("report", sweep, "--html", "out.html", "--png", "png", "--svg", "svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.html").read_text().startswith("<!DOCTYPE html>")
    names = {path.name for path in (tmp_path / "png").iterdir()}
    assert {"fig1.png", "fig3a.png", "fig4.png", "fig11a.png"} == names
    assert {path.stem for path in (tmp_path / "svg").iterdir()} == {
        name.removesuffix(".png") for name in names
    }
    assert "wrote out.html" in done.stderr
    assert "What these runs say" in done.stdout
    assert "┤" not in done.stdout, "what is in the files is not drawn again"


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path, sweep: Path) -> None:
    done = bnrun("report", "made", "--json", "--html", "out.html", cwd=tmp_path)
    found = json.loads(done.stdout)
    verdicts = {claim["claim"]: claim["verdict"] for claim in found["claims"]}
    assert verdicts["C4"] == "supported"
    assert verdicts["C1"] == "inconclusive"


def test_several_sweeps_are_weighed_together(tmp_path: Path) -> None:
    for name, variant in zip(("plain", "normed"), VARIANTS, strict=True):
        sweep_of(tmp_path / "runs" / name, variant)
    found = json.loads(bnrun("report", "plain", "normed", "--json", cwd=tmp_path).stdout)
    assert next(c for c in found["claims"] if c["claim"] == "C4")["verdict"] == "supported"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["report", "nothing"], 3, "no such run or sweep"),
        (["report"], 2, "RUN_OR_SWEEP"),
        (["claims", "nothing"], 3, "no such run or sweep"),
        (["report", "made", "--html", "no/such/folder/out.html"], 2, "cannot be written"),
        (["report", "made", "--png", "runs/made/sweep.toml"], 2, "cannot be written"),
    ],
)
def test_wrong_input_is_refused_in_words_and_nothing_is_written(
    tmp_path: Path, sweep: Path, arguments: list[str], code: int, said: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = bnrun(*arguments, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert said in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_names_of_runs_cannot_steer_the_terminal(tmp_path: Path) -> None:
    run_of(tmp_path / "runs" / "a" / "none-\x1b[31m[red]x-s0", spec_of("none"))
    done = bnrun("report", tmp_path / "runs" / "a" / "none-\x1b[31m[red]x-s0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "[red]x-s0" in done.stdout.replace("\n", "")


def test_claims_list_the_presets_that_test_them(tmp_path: Path) -> None:
    rows = {row["claim"]: row for row in json.loads(bnrun("claims", "--json", cwd=tmp_path).stdout)}
    assert list(rows) == [f"C{n}" for n in range(1, 12)]
    assert "vgg_lr" in rows["C1"]["presets"]
    assert "vgg_bn" not in rows["C1"]["presets"]
    assert "vgg_noisy" in rows["C2"]["presets"]
    assert {"vgg_ics", "dln_ics"} <= {*rows["C3"]["presets"]}
    assert "vgg_lp" in rows["C6"]["presets"]
    assert "dln_lp" not in rows["C6"]["presets"]  # cannot tell l2 from BatchNorm
    assert rows["C7"]["presets_with_options"]["dln_bn"] == "--set probes.theory.every=100"
    assert not any("quick" in row["presets"] for row in rows.values())
    assert rows["C10"]["command"] == "bnrun theory"


def test_claims_of_runs_say_what_is_missing(tmp_path: Path, sweep: Path) -> None:
    rows = {row["claim"]: row for row in json.loads(bnrun("claims", "made", "--json", cwd=tmp_path).stdout)}
    assert rows["C4"]["missing"] == []
    assert rows["C1"]["missing"] == ["both at two learning rates or more"]
    assert rows["C1"]["command"] == "bnrun preset vgg_lr --seeds 0,1,2"
    shown = bnrun("claims", "made", cwd=tmp_path).stdout
    assert "both at two learning rates" in shown


def test_a_command_that_claims_suggest_is_one_that_works(tmp_path: Path) -> None:
    rows = json.loads(bnrun("claims", "--json", cwd=tmp_path).stdout)
    for command in {row["command"] for row in rows if row["command"].startswith("bnrun preset dln")}:
        done = bnrun(*command.split()[1:], "--dry-run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [["report", "made"], ["claims", "made"], ["report", "made", "--html", "a.html"]]
)
def test_reports_need_no_torch_and_matplotlib_only_for_pictures(
    tmp_path: Path, sweep: Path, arguments: list[str]
) -> None:
    program = (
        "import sys\nfrom bntui.cli.main import main\nsys.argv = ['bnrun'] + " + repr(arguments) + "\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join(m for m in ('torch', 'matplotlib', 'textual') if m in sys.modules) + '.')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=clean_environment(tmp_path), capture_output=True,
        text=True, timeout=120, check=True,
    )  # fmt: skip
    loaded = done.stderr.rsplit("\n", 1)[-1]
    assert loaded == ("matplotlib." if "--html" in arguments else ".")


def test_every_verdict_says_where_its_runs_stand_and_what_the_paper_s_curves_give(
    tmp_path: Path, sweep: Path
) -> None:
    found = json.loads(bnrun("report", "made", "--json", cwd=tmp_path).stdout)
    lipschitz = next(claim for claim in found["claims"] if claim["claim"] == "C4")
    assert lipschitz["verdict"] == "supported"
    assert "not the paper's experiment (100 of 15,000 steps" in lipschitz["standing"]
    assert lipschitz["paper_curves"].startswith("lower effective Lipschitz constant: supported (VGG, lr 0.1;")
    measures = {m["name"]: m["paper"] for m in lipschitz["findings"][0]["parts"][0]["measures"]}
    band = "variation of the loss along the gradient, max L − min L, batch / none, at equal steps"
    assert measures.pop(band) == "×0.227"
    assert set(measures.values()) == {None, "×0.285"}  # no Lipschitz constant can be read off a figure


def test_the_summary_has_the_whole_reason_of_each_claim(tmp_path: Path, sweep: Path) -> None:
    done = bnrun("report", "made", cwd=tmp_path)
    _, _, header, _, *lines = done.stdout[done.stdout.index("What these runs say") :].splitlines()
    rows: list[list[str]] = []
    for line in lines[: lines.index(" " * len(header))]:
        if key := line[:5].strip():
            rows.append([key])
        rows[-1].append(line[header.index("why") :].strip())
    found = json.loads(bnrun("report", "made", "--json", cwd=tmp_path).stdout)
    assert {key: " ".join(why) for key, *why in rows} == {c["claim"]: c["why"] for c in found["claims"]}


@pytest.mark.parametrize(
    ("said", "options", "figures", "note"),
    [
        ("", [], ["fig1"], "95 % bootstrap interval"),
        ("", ["--single-runs"], ["fig1"], "Each run is drawn separately"),
        ("", ["--by", "norm", "--band", "deviation"], ["fig1", "runs1"], "± 1 standard deviation"),
        ('group_by = ["norm.kind"]\nband = "range"\n', [], ["fig1", "runs1"], "smallest to largest"),
        ('group_by = ["norm.kind"]\nband = "range"\n', ["--by", "variant", "--band", "quartiles"],
         ["fig1"], "third quartile"),
    ],
)  # fmt: skip
def test_options_else_the_sweep_say_how_runs_are_drawn(
    sweep: Path, said: str, options: list[str], figures: list[str], note: str
) -> None:
    with (sweep / "sweep.toml").open("a") as file:
        file.write(said)
    found = json.loads(bnrun("report", "made", "--json", *options, cwd=sweep.parents[1]).stdout)["figures"]
    notes = {figure["name"]: " ".join(figure["notes"]) for figure in found}
    assert {*figures} <= {*notes}
    assert all(note in notes[name] for name in figures)
    assert ("runs1" in notes) is ("runs1" in figures)


def test_a_setting_that_does_not_vary_groups_nothing(tmp_path: Path, sweep: Path) -> None:
    done = bnrun("report", "made", "--by", "optim.lr", cwd=tmp_path)
    assert done.returncode == 2
    assert "optim.lr" in done.stderr
