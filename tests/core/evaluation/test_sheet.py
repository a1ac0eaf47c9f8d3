"""A contact sheet holds every picture once, with its caption, and runs nothing."""

from core.evaluation.sheet import ACROSS, Cell, sheet


def test_pictures_stand_in_rows_with_their_captions() -> None:
    cells = [Cell(f"<i>{number}", f"data:image/jpeg;base64,{number}") for number in range(ACROSS + 1)]
    page = sheet(title="t", lead=["One."], cells=cells, notes=["Two."])
    assert page.count('class="row"') == 2
    for number in range(ACROSS + 1):
        assert page.count(f'src="data:image/jpeg;base64,{number}"') == 1
        assert f"&lt;i&gt;{number}</div>" in page
    assert "<i>" not in page
    assert "<p>One.</p>" in page
    assert "<li>Two.</li>" in page


def test_a_sheet_without_pictures_is_still_a_page() -> None:
    assert "Pictures" not in sheet(title="t", lead=[], cells=[], notes=[])
