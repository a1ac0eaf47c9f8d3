"""One door for configuration: what is given arrives, and everything wrong is said at once."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from core.config import from_mapping, load
from core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Server:
    rate: float = 1.0
    name: str = "fedavg"

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ConfigError(f"federation.server.rate must be positive, got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Federation:
    rounds: int = 3
    learning_rate: float = 0.1
    server: Server = field(default_factory=Server)

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ConfigError(f"federation.rounds must be at least 1, got {self.rounds}")


@dataclass(frozen=True, kw_only=True)
class Run:
    name: str = "run"
    quick: bool = False
    arms: list[str] = field(default_factory=lambda: ["local", "federated"])
    skip: dict[str, list[int]] = field(default_factory=dict)
    federation: Federation = field(default_factory=Federation)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("name must not be empty")


def problems(*overrides: str, path: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(Run, path=path, overrides=overrides)
    assert str(caught.value).startswith("configuration: ")
    return list(caught.value.problems)


def written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


def test_nothing_said_is_the_defaults() -> None:
    config, text = load(Run, path=None, overrides=[])
    assert config == Run()
    assert yaml.safe_load(text)["federation"] == {
        "rounds": 3, "learning_rate": 0.1, "server": {"rate": 1.0, "name": "fedavg"}
    }  # fmt: skip


def test_the_file_holds_over_the_defaults_and_the_overrides_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "name: file\nfederation: {rounds: 5, server: {rate: 0.5}}\n")
    config, _ = load(Run, path=path, overrides=["federation.rounds=6", "federation.rounds=7"])
    assert config == Run(name="file", federation=Federation(rounds=7, server=Server(rate=0.5)))
    assert type(config.federation.server) is Server


def test_the_resolved_text_gives_the_same_configuration_again(tmp_path: Path) -> None:
    overrides = ["name=x", "arms=[federated]", "skip.north=[1,2]", "federation.learning_rate=1e-3"]
    config, text = load(Run, path=None, overrides=overrides)
    assert load(Run, path=written(tmp_path, text), overrides=[]) == (config, text)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("federation.learning_rate=1e-3", 0.001),  # a string in YAML 1.1
        ("federation.learning_rate=2", 2.0),
        ("federation.learning_rate=.5", 0.5),
    ],
)
def test_numbers_as_people_write_them(override: str, expected: float) -> None:
    value = load(Run, path=None, overrides=[override])[0].federation.learning_rate
    assert (value, type(value)) == (expected, float)


@pytest.mark.parametrize("word", ["007", "2026-01-31", "2026-02-31", "yes", "null", "1.5", "a=b", "x:y", "{", "é"])
def test_a_word_stays_the_word_as_typed(word: str) -> None:
    assert load(Run, path=None, overrides=[f"name={word}"])[0].name == word


def test_free_mappings_merge_by_key(tmp_path: Path) -> None:
    path = written(tmp_path, "skip: {north: [1], east: [2]}\n")
    config, _ = load(Run, path=path, overrides=["skip.north=[3]", "skip.west=[4, 5]"])
    assert config.skip == {"north": [3], "east": [2], "west": [4, 5]}


def test_lists_are_replaced(tmp_path: Path) -> None:
    assert load(Run, path=written(tmp_path, "arms: [fedavg]\n"), overrides=[])[0].arms == ["fedavg"]


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert load(Run, path=written(tmp_path, "# only a remark\n"), overrides=[])[0] == Run()


def test_problems_of_file_overrides_and_values_come_together(tmp_path: Path) -> None:
    path = written(tmp_path, "nmae: x\nfederation: {rounds: 0, server: {rate: -1}}\n")
    found = problems("federation.learning_rate=fast", "name", "name=", path=path)
    assert len(found) == 6
    text = "\n".join(found)
    for part in (
        f"{path}: unknown key nmae, did you mean name?",
        "federation.rounds must be at least 1, got 0",
        "federation.server.rate must be positive, got -1",
        "command line: federation.learning_rate: ",
        "'name': an override is written key=value",
    ):
        assert part in text


def test_a_broken_section_hides_no_problem_of_the_sections_around_it() -> None:
    assert problems("federation.server.rate=0", "federation.rounds=0", "name=") == [
        "federation.server.rate must be positive, got 0.0",
        "federation.rounds must be at least 1, got 0",
        "name must not be empty",
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("fedration.rounds=3", "did you mean"),
        ("federation.round=3", "did you mean federation.rounds?"),
        ("rounds=3", "did you mean federation.rounds?"),
        ("zzz=3", "unknown key zzz; known here: name, quick, arms, skip, federation"),
        ("federation=3", "federation is a section, found 3"),
        ("name.first=x", "name is a single value, found the keys first"),
        ("federation.rounds=2.5", "federation.rounds"),
        ("federation.rounds=many", "federation.rounds"),
        ("federation.rounds=", "federation.rounds"),
        ("federation.rounds=[1]", "federation.rounds"),
        ("quick=perhaps", "quick"),
        ("arms=3", "arms"),
        ("skip.north=3", "skip"),
        ("skip.north=[x]", "skip"),
        ("federation.learning_rate=.nan", "federation.learning_rate must be a finite number, got nan"),
        ("federation.learning_rate=.inf", "federation.learning_rate must be a finite number, got inf"),
        ("name=${nope}", "name"),
        ("arms=['${nope}']", "arms"),
        ("name=${", "name"),
        ("=3", "an override is written key=value"),
        ("federation..rounds=3", "unknown key"),
    ],
)
def test_one_bad_override_is_one_problem(override: str, problem: str) -> None:
    found = problems(override)
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", "not YAML"),
        ("- a\n- b\n", "must hold sections and keys, found list"),
        ("word", "must hold sections and keys, found str"),
        ("1: 2\n", "unknown key 1"),
        ("federation.rounds: 2\n", "unknown key federation.rounds"),
        ("federation: [1]\n", "federation is a section"),
        ("name: !!python/object/apply:os.getcwd []\n", "not YAML"),
    ],
)
def test_a_bad_file_is_one_problem_that_names_it(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)
    found = problems(path=path)
    assert len(found) == 1
    assert found[0].startswith(f"{path}: ")
    assert problem in found[0]


def test_a_file_that_cannot_be_read_is_a_problem_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"name: \xe9\n")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "latin"):
        found = problems("zzz=1", path=path)
        assert [f"{path}: cannot be read" in found[0], "zzz" in found[1]] == [True, True]


def test_a_document_is_read_as_strictly_as_a_file() -> None:
    values = {"name": "doc", "federation": {"rounds": 5, "server": {"rate": 0.5}}}
    assert from_mapping(Run, values, source="plan") == Run(
        name="doc", federation=Federation(rounds=5, server=Server(rate=0.5))
    )
    wrong = {"nam": "x", "federation": {"rounds": "many", "server": {"rate": 0}}, "quick": {"a": 1}}
    with pytest.raises(ConfigError) as caught:
        from_mapping(Run, wrong, source="plan")
    assert list(caught.value.problems) == [
        "plan: unknown key nam, did you mean name?",
        "plan: quick is a single value, found the keys a",
        "plan: federation.rounds: Value 'many' of type 'str' could not be converted to Integer",
        "federation.server.rate must be positive, got 0.0",
    ]
