"""Errors list everything and each kind has its exit code."""

import pytest

from core import errors
from core.errors import ConfigError, DataError, PlanError, UsfmError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UsfmError)]
PUBLIC = [kind for kind in KINDS if not kind.__name__.startswith("_")]


def test_each_kind_has_an_exit_code_of_its_own_as_the_tree_in_the_docstring_says() -> None:
    lines = (errors.__doc__ or "").splitlines()
    drawn = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith(("├──", "└──"))}
    assert {kind.__name__: kind.exit_code for kind in PUBLIC if kind is not UsfmError} == drawn
    assert UsfmError.exit_code == 1
    assert len({kind.exit_code for kind in PUBLIC}) == len(PUBLIC)


@pytest.mark.parametrize("kind", [ConfigError, DataError, PlanError])
def test_all_problems_are_listed(kind: type) -> None:
    error = kind(["first is wrong", "second is wrong"], title="manifest")
    assert error.problems == ("first is wrong", "second is wrong")
    assert str(error) == "manifest: 2 problems\n  - first is wrong\n  - second is wrong"


@pytest.mark.parametrize("kind", [ConfigError, DataError, PlanError])
def test_one_problem_is_one_sentence(kind: type) -> None:
    assert str(kind("it is wrong")) == "it is wrong"
    assert kind("it is wrong").problems == ("it is wrong",)
    assert str(kind(["it is wrong"], title="plan")) == "plan: it is wrong"


def test_problems_may_come_from_a_generator() -> None:
    error = ConfigError(f"field {n}" for n in range(2))
    assert error.problems == ("field 0", "field 1")
    assert str(error) == "2 problems\n  - field 0\n  - field 1"
