"""Runs side by side: what differs, and which numbers compare."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from simulations.comparison import as_markdown, as_page, cautions, comparable, differing, results_table, settings_table
from simulations.saved_run import SavedRun, read_runs

Saved = Callable[..., Path]
OBJECTIVE = "objective.mask_ratio=0.6"


def _row(runs: list[SavedRun], name: str) -> dict[str, str]:
    found = results_table(runs)
    row = next(row for row in found.rows if row[0] == name)
    return dict(zip(found.head, row, strict=True))


def test_only_settings_that_differ_are_named_and_never_places(saved: Saved) -> None:
    runs = read_runs([saved("a", "runs=/x", "data.cache=/x/c"), saved("b", "federation.tau=0.25", "runs=/y")])
    assert differing(runs) == ["federation.tau"]
    assert settings_table(runs).rows == [["federation.tau", "0.5", "0.25"]]
    assert _row(runs, "b")["settings that differ"] == "federation.tau=0.25"


def test_losses_of_another_objective_are_dashes_but_gap_and_dice_remain(saved: Saved) -> None:
    runs = read_runs([saved("a"), saved("b", OBJECTIVE)])
    assert [comparable(run, runs[0]) for run in runs] == [True, False]
    a, b = _row(runs, "a"), _row(runs, "b")
    losses = [head for head in a if head.startswith("loss")]
    assert [a[head] for head in losses] == ["1.200", "0.900", "0.700", "0.600", "0.800 (breast)"]
    assert [b[head] for head in losses] == ["–"] * 5
    for row in (a, b):
        assert row["gap closed (95% interval)"] == "0.67 (0.50 to 0.80)"
        assert row["Dice, mass, frozen, linear map, federated (ours)"] == "0.60 (0.50 to 0.70)"
        assert row["Dice, mass, fine-tuned, 8 patients, federated (ours)"] == "0.60 (0.50 to 0.70)"
    assert "another objective" in cautions(runs)[0]
    assert cautions(runs)[0].endswith("Here: b.")


def test_a_run_without_a_configuration_compares_in_no_loss(saved: Saved) -> None:
    folders = [saved("a"), saved("b")]
    (folders[1] / "config.yaml").unlink()
    runs = read_runs(folders)
    assert not comparable(runs[1], runs[0])
    assert _row(runs, "b")["settings that differ"] == "–"
    assert any("No config.yaml" in caution for caution in cautions(runs))


def test_other_patients_and_another_mix_are_said(saved: Saved) -> None:
    runs = read_runs([saved("a"), saved("b", "seed=3"), saved("c", mix={"liver": 1.0})])
    said = cautions(runs)
    assert any("Other held-out patients" in caution and caution.endswith(": b.") for caution in said)
    assert any("another target mix" in caution and caution.endswith(": c.") for caution in said)
    assert cautions(runs[:1]) == said[-1:]


def test_a_run_that_lacks_arms_has_dashes(saved: Saved) -> None:
    runs = read_runs(
        [saved("a"), saved("b", arms={"federated": {"held_out_loss": {"overall": 0.5}}}), saved("c", arms={})]
    )
    assert _row(runs, "b")["loss, federated (ours)"] == "0.500"
    assert _row(runs, "b")["loss, pooled (reference)"] == "–"
    assert _row(runs, "c")["Dice, mass, frozen, linear map, federated (ours)"] == "–"
    assert "<svg" in as_page(runs)


def test_the_page_is_whole_safe_and_carries_its_data(saved: Saved) -> None:
    runs = read_runs([saved("a"), saved("b", OBJECTIVE, name="<script>x</script>|")])
    page = as_page(runs)
    opened: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "img"):
                opened.append(tag)
            for name, value in attrs:
                if tag == "a" and name == "href":
                    assert (value or "").startswith("data:text/csv;base64,")

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Parser().feed(page)
    assert opened == []
    assert "<script" not in page
    assert page.count("<figure>") == page.count("<a download=") == 5
    assert "Read this first" in page


def test_the_markdown_is_the_results_losses_by_organ_and_cautions(saved: Saved) -> None:
    lines = as_markdown(read_runs([saved("a"), saved("b", OBJECTIVE, name="x|y")])).splitlines()
    assert lines[0].startswith("| run | settings that differ | loss, random weights |")
    assert lines[3].startswith(r"| x\|y | objective.mask\_ratio=0.6 | – |")
    assert len({line.replace(r"\|", "").count("|") for line in lines[:4]}) == 1
    assert lines[5] == "Held-out loss by organ:"
    assert lines[7].startswith("| organ | random weights | a |")
    assert next(line for line in lines if line.startswith("*")).startswith("* A dash stands where")
