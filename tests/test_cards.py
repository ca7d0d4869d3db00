"""The run card on the page: complete, copied as it stands, and without secrets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from competition import artifacts, card, config, data, folds, runs, secret
from competition.report import cards
from competition.report.blocks import Card, Prose
from competition.report.subject import Subject
from competition.standings import Standing


def sections(standing: Standing) -> list:
    loaded = data.load("toy")
    return list(cards.sections(Subject(loaded, folds.load(loaded), [standing], [standing]), standing))


def begun(change: dict | None = None, **keys: object) -> Standing:
    with runs.opened(config.load_run("toy/base")):
        record = artifacts.read_json(card.path_of("toy/base")) | (change or {})
    return Standing("toy/base", "image", "scored", record=record, **keys)


def test_card_can_be_pasted_into_another_folder_and_makes_the_same_run(competition: Callable[..., str]):
    competition("binary")
    standing = begun({"set": "epochs=3 mixup=0.2", "git": "0123456789ab+"}, seconds=90.0)
    (section,) = sections(standing)
    (block,) = section.blocks
    assert isinstance(block, Card) and (section.key, section.run) == ("card", "toy/base")
    copies, facts = dict(block.copies), dict(block.facts)
    again = config.make_run("toy/base", yaml.safe_load(copies["configs/toy/base.yaml"]))
    assert again.config() == config.load_run("toy/base").config()
    text = copies["configs/toy/competition.yaml"]
    assert config.parse_competition(text, "copied") == config.load_competition("toy")
    assert copies["Make it again, and compare"] == "make reproduce RUN=toy/base"
    assert copies["As it was made"] == "make submission RUN=toy/base SET='epochs=3 mixup=0.2'"
    assert copies["The code that made it"].startswith("git checkout 0123456789ab  #")
    assert facts["data hash"] == data.load("toy").hash and facts["training, all folds"] == "90 s"
    assert "torch " in facts["versions"] and "cores " in facts["hardware"]
    assert facts["begun"] and facts["fold table hash"] and facts["seed"] == "0"


def test_card_tells_what_reproduce_found_and_of_which_state(competition: Callable[..., str]):
    competition("binary")
    standing = begun()
    again = {
        "verdict": "equal to the byte",
        "differs": {},
        "made": "2026-11-21T10:00:00",
        "card": card.stamp(standing.record),
    }
    path = artifacts.run_folder("toy/base") / "reproduced.json"
    artifacts.write_json(path, again)
    (block,) = sections(standing)[0].blocks
    assert dict(block.facts)["reproduced"] == "2026-11-21: equal to the byte, same code, versions and hardware"
    artifacts.write_json(path, again | {"card": "another", "differs": {"torch": "2.15 there, 2.16 now"}})
    (block,) = sections(standing)[0].blocks
    assert dict(block.facts)["reproduced"].endswith("with other torch (of an earlier state of this run)")


def test_card_of_an_older_version_says_what_it_lacks_and_none_is_prose(competition: Callable[..., str]):
    competition("binary")
    standing = begun()
    old = {k: v for k, v in standing.record.items() if k not in card.LATER}
    (block,) = sections(Standing("toy/base", "image", "scored", record=old))[0].blocks
    assert "the competition's configuration" in dict(block.facts)["not in this card"]
    assert "configs/toy/competition.yaml" not in dict(block.copies)
    (block,) = sections(Standing("toy/base", "", "damaged", "run.json is cut short"))[0].blocks
    assert isinstance(block, Prose) and "run.json is cut short" in block.lines[0]


def test_no_secret_is_shown(competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    competition("binary")
    monkeypatch.setenv("SOME_TOKEN", "swordfish-1234")
    token = "hf_" + "a" * 34
    config_ = begun().record["config"] | {
        "backbone": f"x {token}",
        "params": {"url": "see swordfish-1234", "api_key": "0123456789"},
    }
    text = str(sections(begun({"config": config_ | {"opt": "adamw"}, "set": f"a={token}"})))
    assert token not in text and "swordfish" not in text and "0123456789" not in text
    assert "adamw" in text and "***" in text


def test_hiding_leaves_the_rest_as_it_is():
    values = {"a": [1, "plain", {"token": "longer than 8"}], "b": None, "c": "env:WANDB_API_KEY"}
    assert secret.hidden(values) == {"a": [1, "plain", {"token": "***"}], "b": None, "c": "env:WANDB_API_KEY"}
