"""Names that others choose become file names here: no path, nothing hidden, nothing long."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SecurityError
from core.security.names import check_name, is_digest, is_name, is_whole, shown

MODULES = sorted(path.stem for path in Path(sys.modules["core.security.names"].__file__ or "").parent.glob("*.py"))


@pytest.mark.parametrize("name", ["a", "h01", "St.Mary-2_b", "x" * 64, "a..b"])
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name(name, what="site") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc", "a\\b", ".hidden", "-rf", "x" * 65, "a b", "a\n", "a\x00b", "é", "a:b", 5,
     None],
)  # fmt: skip
def test_a_path_or_an_odd_name_is_refused(name: object) -> None:
    assert not is_name(name)
    with pytest.raises(SecurityError, match=r"the site: .* is no name; take 1 to 64 letters"):
        check_name(name, what="the site")


@given(st.text(max_size=70))
def test_what_passes_stays_in_its_folder(name: str) -> None:
    if is_name(name):
        assert (Path("/a") / name).resolve().parent == Path("/a")
        assert name.isascii()


def test_a_whole_number_is_no_flag_no_fraction_and_not_negative() -> None:
    assert all(map(is_whole, [0, 1, 2**53 - 1]))
    assert not any(map(is_whole, [2**53, -1, True, 1.0, "1", None]))


def test_a_digest_is_64_lower_case_hexadecimal_digits() -> None:
    assert is_digest("0a" * 32)
    assert not any(map(is_digest, ["0A" * 32, "0a" * 31, "0a" * 32 + "\n", 0, b"0a" * 32]))


def test_a_foreign_value_is_shown_in_one_short_printable_line() -> None:
    assert shown("a\n\x1b[2J\u202e") == r"'a\n\x1b[2J\u202e'"
    assert shown("x" * 1000) == "'" + "x" * 79 + "..."


def test_no_module_imports_torch_flower_or_numpy() -> None:
    names = ", ".join(f"core.security.{name}" for name in MODULES if name != "__init__")
    script = f"import sys, {names}\nprint(sorted({{'torch', 'flwr', 'numpy', 'omegaconf', 'yaml'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_names_and_audit_logs_need_no_cryptography_either() -> None:
    script = "import sys, core.security.audit; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
