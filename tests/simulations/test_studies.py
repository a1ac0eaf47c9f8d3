"""Which study a file is of."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from simulations.reproduce import SHIPPED, shipped
from simulations.studies import PRETRAINING, study_named


def test_a_file_is_of_the_study_that_its_key_names() -> None:
    assert study_named(SHIPPED / "demo.yaml") == PRETRAINING
    assert study_named(SHIPPED / "federated_finetune.yaml") == "federated_finetune"
    assert study_named(SHIPPED / "label_efficiency.yaml") == "label_efficiency"
    assert SHIPPED / "federated_finetune.yaml" not in shipped()
    assert SHIPPED / "demo.yaml" in shipped()


@pytest.mark.parametrize("text", [None, "", "[", "- 1", "3", "\xff", "[" * 10_000])
def test_what_cannot_be_read_is_left_to_whoever_loads_it(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    assert study_named(path) == PRETRAINING


@pytest.mark.parametrize("name", ["magic", "3", "[a]", "null"])
def test_a_study_that_is_none_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"study: {name}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: study must be one of federated_finetune"):
        study_named(path)
