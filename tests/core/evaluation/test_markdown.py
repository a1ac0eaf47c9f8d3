"""Markdown in which no name becomes markup."""

from core.evaluation.markdown import bullets, code, page, plain, section, table


def test_characters_that_markdown_reads_are_escaped_and_a_name_stays_on_its_line() -> None:
    assert plain("a|b *c* <d>\n# e_f") == r"a\|b \*c\* \<d\> \# e\_f"


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert table(["arm", "loss", "note"], [["x", 0.5, "a|b"]], words=(2,)).splitlines() == [
        "| arm | loss | note |",
        "|---|---:|---|",
        r"| x | 0.5 | a\|b |",
    ]


def test_nothing_is_no_table_and_no_section() -> None:
    assert table(["arm"], []) == ""
    assert section("Empty", "", "") == ""
    assert bullets([]) == ""


def test_code_cannot_end_its_own_fence() -> None:
    assert code("a\n```\nb\n", language="sh") == "````sh\na\n```\nb\n````"


def test_a_page_is_its_title_and_its_sections() -> None:
    assert page("T", "", section("S", "x"), "") == "# T\n\n## S\n\nx\n"
