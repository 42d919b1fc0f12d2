"""The page says what the database has, and what claims name is there."""

import math
from dataclasses import replace
from pathlib import Path

import gallery
import pytest
from claims import CLAIMS, OPEN, Claim
from synthetic import study_of
from test_verdicts import GRID, OTHER, TWIN, made_up, planted
from verdicts import Above, At, Coincidence, Differences, DifferingSigns, Each, Pairs, Slope, Within, shown

from studies.design.space import searched
from studies.design.spec import load

ROOT = Path(__file__).parents[2]


def named(estimator) -> list[At]:
    match estimator:
        case Differences(more, less):
            return [more, *less]
        case Each(pairs):
            return [at for pair in pairs for at in pair]
        case Slope(arm):
            return [At(arm)]
        case Coincidence(arms) | DifferingSigns(arms) | Pairs(arms):
            return [At(arm) for arm in arms]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.place} {claim.text[:20]}")
def test_a_claim_names_what_its_study_has(claim) -> None:
    spec = load(gallery.SPECS / f"{claim.study}.yaml")
    for estimator in (claim.estimator, claim.control):
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
    if not full.exists():  # a file a table's part
        assert any("proxy" not in path.stem for path in full.parent.glob(f"{full.stem}-*.yaml"))
        return
    spec = load(full)
    settings = {at for each in (claim.estimator, claim.control) if each for at in named(each)}
    for arm in {at.arm for at in settings}:
        values = math.prod(len(dimension.values) for dimension in searched(spec.arm(arm).space).values())
        assert values >= len({at.point for at in settings if at.arm == arm})


def test_what_is_open_is_there() -> None:
    assert all((gallery.SPECS / f"{each.study}.yaml").exists() for each in OPEN if each.study)


def test_the_page_in_the_documentation_has_every_claim() -> None:
    text = (ROOT / "docs/gallery.md").read_text()
    missing = [claim.text for claim in CLAIMS if f"| {claim.place} | {claim.text} |" not in text]
    assert not missing


def test_a_page_of_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, trials = made_up(planted)
    study = study_of(arms=[GRID, TWIN, OTHER], searcher="grid", runs=spec.runs)
    planted_effect = Differences(At("grid", (1e-3,)), (At("grid", (1e-4,)),))
    claim = Claim(
        place="here", text="better", study="made/up", estimator=planted_effect, rule=Above(0.0, 0.005)
    )
    similar = replace(claim, text="as good", rule=Within(0.01), control=Coincidence(("grid", "twin")))
    confounded = replace(claim, text="better too", control=planted_effect, over_control=True)
    same = Differences(At("grid", (1e-4,)), (At("twin", (1e-4,)),))
    told_apart = replace(confounded, text="better still", control=same)
    monkeypatch.setattr(gallery, "CLAIMS", (claim, similar, confounded, told_apart))
    text = gallery.page({"made/up": gallery.Done(spec, study, trials)}, tmp_path)
    assert "| here | better | reproduced |" in text
    assert "| here | as good | not reproduced |" in text
    assert "| here | better too | not decidable at this scale |" in text
    assert "| here | better still | reproduced |" in text
    (e,) = planted_effect.estimates(spec, trials)
    assert f"| {shown(e, 'percentage points', 100)} | within ±1 percentage points |" in text
    assert "| 100.00 (90.36 to 100.00)% |" in text
    assert (tmp_path / "made-up-grid.png").stat().st_size < 40_000
    assert "| here | better | not run |" in gallery.page({}, tmp_path)
