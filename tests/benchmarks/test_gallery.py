"""The page says what the database has, and all that claims name exists."""

import math
import subprocess
from dataclasses import replace
from pathlib import Path

import gallery
import pytest
from claims import CLAIMS, OPEN, SHOWN, Claim, Shown
from test_verdicts import made_up, planted
from verdicts import (
    Above,
    At,
    Coincidence,
    Confirmed,
    Differences,
    DifferingSigns,
    Each,
    MoreTrials,
    Pairs,
    Within,
    scored,
    shown,
)

from service.settings import Settings
from studies.design.space import searched
from studies.design.spec import load
from trainers.data import DATASETS

ROOT = Path(__file__).parents[2]


def named(estimator) -> list[At]:
    match estimator:
        case Differences(more, less):
            return [more, *less]
        case Each(pairs):
            return [at for pair in pairs for at in pair]
        case Pairs(arms, over):
            return [At(arm) for arm in (*arms, *([over] if over else ()))]
        case Coincidence(arms) | DifferingSigns(arms):
            return [At(arm) for arm in arms]
        case Confirmed(more, less) | MoreTrials(more, less):
            return [At(more), At(less)]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.place} {claim.text[:20]}")
def test_a_claim_names_what_its_study_has(claim) -> None:
    spec = load(gallery.SPECS / f"{claim.study}.yaml")
    given = claim.given[0] if claim.given else None
    for estimator in (claim.estimator, claim.control, given):
        for at in named(estimator) if estimator else ():
            listed = searched(spec.arm(at.arm).space)
            if at.point:
                assert len(at.point) == len(listed)
                assert all(
                    value in dimension for value, dimension in zip(at.point, listed.values(), strict=True)
                )
            elif isinstance(estimator, Differences | Each):
                assert not listed


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.place} {claim.text[:20]}")
def test_the_study_in_full_can_ask_it_too(claim) -> None:
    assert claim.study.endswith("-proxy")
    full = gallery.SPECS / f"{claim.study.removesuffix('-proxy')}.yaml"
    if not full.exists():  # one file per part of a table
        assert any("proxy" not in path.stem for path in full.parent.glob(f"{full.stem}-*.yaml"))
        return
    spec = load(full)
    # what a measure can see concerns the proxy alone
    asked = (claim.estimator, None if claim.rule.blind else claim.control)
    settings = {at for each in asked if each for at in named(each)}
    for arm in {at.arm for at in settings}:
        values = math.prod(len(dimension.values) for dimension in searched(spec.arm(arm).space).values())
        assert values >= len({at.point for at in settings if at.arm == arm})


@pytest.mark.parametrize(
    "claim", [claim for claim in CLAIMS if claim.rule.blind], ids=lambda claim: claim.text[:40]
)
def test_a_claim_of_no_effect_has_a_control_by_the_same_measure(claim) -> None:
    spec = load(gallery.SPECS / f"{claim.study}.yaml")
    assert claim.control is not None
    assert claim.control.unit(spec) == claim.estimator.unit(spec)
    if isinstance(claim.estimator, Differences):
        assert claim.control.measure is claim.estimator.measure


def test_what_is_above_its_control_has_one() -> None:
    assert all(claim.control for claim in CLAIMS if claim.over_control)


def test_what_is_open_or_shown_is_there() -> None:
    assert all((gallery.SPECS / f"{each.study}.yaml").exists() for each in (*OPEN, *SHOWN) if each.study)


def test_every_proxy_is_on_the_page() -> None:
    proxies = {f"{file.parent.name}/{file.stem}" for file in gallery.SPECS.glob("*/*-proxy.yaml")}
    assert proxies <= {each.study for each in (*CLAIMS, *SHOWN, *OPEN)}
    assert not {each.place for each in (*SHOWN, *OPEN)} & {claim.place for claim in CLAIMS}


def test_the_page_in_the_documentation_has_every_claim() -> None:
    text = (ROOT / "docs/gallery.md").read_text()
    missing = [claim.text for claim in CLAIMS if f"| {claim.place} | {claim.text} |" not in text]
    assert not missing


def test_a_study_runs_with_the_teacher_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir, out = tmp_path / "data", tmp_path / "out"
    data_dir.mkdir()
    commands: list[tuple[list[str], str | None]] = []

    def started(command: list[str], env: dict[str, str] | None = None, **_: object) -> None:
        commands.append((command, env and env["TUNEBENCH_DATA_DIR"]))
        if "--save" in command:
            file = Path(command[command.index("--save") + 1])
            file.parent.mkdir()
            file.touch()

    monkeypatch.setattr(subprocess, "run", started)
    for _ in range(2):
        gallery.run("paren2021/distillation-proxy", out / "gallery.db", out, data_dir)
    gallery.run("paren2021/table1-proxy", out / "gallery.db", out, data_dir)
    (teacher, _), (first, learned), again, (_, alone) = commands
    assert teacher[1:4] == ["-m", "trainers", "cifar10-real-preactivation20"]
    assert {"--train-fraction=0.1", "--width=8", "--image-size=16"} < {*teacher}
    assert teacher[teacher.index("--data") + 1] == learned
    assert first[:2] == ["tunebench", "run"]
    assert again == (first, learned)
    assert alone == str(data_dir)


def test_a_page_of_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = made_up(planted)
    planted_effect = Differences(At("grid", (1e-3,)), (At("grid", (1e-4,)),))
    claim = Claim(
        place="here", text="better", study="made/up", estimator=planted_effect, rule=Above(0.0, 0.005)
    )
    similar = replace(claim, text="as good", rule=Within(0.01), control=Coincidence(("grid", "twin")))
    confounded = replace(claim, text="better too", control=planted_effect, over_control=True)
    same = Differences(At("grid", (1e-4,)), (At("twin", (1e-4,)),))
    told_apart = replace(confounded, text="better still", control=same)
    alike = Differences(At("grid", (1e-3,)), (At("twin", (1e-3,)),))
    no_other = replace(claim, text="no other", estimator=alike, rule=Within(0.01), control=planted_effect)
    unseen = replace(no_other, text="no other, if it could be seen", control=alike)
    learnt = Differences(At("other"), measure=scored), Above(0.9, 0.9)
    given = replace(claim, text="better, if it has learnt", given=learnt)
    drawn = Shown(place="there", text="curves", study="made/up")
    monkeypatch.setattr(gallery, "CLAIMS", (claim, similar, confounded, told_apart, no_other, unseen, given))
    monkeypatch.setattr(gallery, "SHOWN", (drawn,))
    text = gallery.page({"made/up": done}, tmp_path, tmp_path)
    assert "| here | better | reproduced |" in text
    assert "| here | as good | not reproduced |" in text
    assert "| here | better too | not decidable at this scale |" in text
    assert "| here | better still | reproduced |" in text
    assert "| here | no other | reproduced |" in text
    assert "| here | no other, if it could be seen | not decidable at this scale |" in text
    assert "| here | better, if it has learnt | not decidable at this scale |" in text
    assert "| there | curves | shown |" in text
    (e,) = planted_effect.estimates(done)
    assert (
        f"| {shown(e, 'percentage points', 100)} | within ±1 percentage points; seen in the control |" in text
    )
    assert "| above 90; not reproduced below 90% |" in text
    assert "| 100.00 (90.36 to 100.00)% |" in text
    assert (tmp_path / "made-up-grid.png").stat().st_size < 40_000
    assert "a close verdict may.\n" in text
    assert "| here | better | not run |" in gallery.page({}, tmp_path, tmp_path)


def test_a_page_says_which_data_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made_up(planted)
    digits = {"set": "spoken-digits", "sha256": "0" * 64, "published": False}
    found.record.provenance["data"] = digits
    monkeypatch.setattr(gallery, "CLAIMS", ())
    done = {"made/up": found}
    others = "may. Not from the published files: `spoken-digits`{}."
    assert others.format("") in gallery.page(done, tmp_path, tmp_path)
    data_dir = Settings.from_environment().data_dir
    digits["sha256"] = DATASETS["spoken-digits"].origin(data_dir)["sha256"]
    known = " (1,000 samples to train on, 1,000 for validation, 1,000 for test)"
    assert others.format(known) in gallery.page(done, tmp_path, data_dir)
