"""A task's file: what is wrong with it is said, all at once; the shipped ones are good."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from core.training.task import HEADS, HeadConfig, Task, TuningConfig, load_task

SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "tasks").glob("*.yaml"))


def test_shipped_tasks_are_named_as_their_files() -> None:
    tasks = [load_task(path) for path in SHIPPED]
    assert [task.name for task in tasks] == [path.stem for path in SHIPPED]
    assert {task.kind for task in tasks} == {"segmentation", "classification", "enhancement"}
    assert len(tasks) == 6


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_value_of_a_shipped_task_has_its_unit_or_source(path: Path) -> None:
    plain = ("name:", "kind:", "classes:", "head:", "tuning:", "degradation:")
    for line in path.read_text().splitlines():
        said = "#" in line or line.startswith(plain)
        assert said, line


def test_the_first_head_of_a_kind_is_the_default() -> None:
    assert Task(kind="segmentation").head_kind == "light"
    assert Task(kind="segmentation", head=HeadConfig(kind="upernet")).head_kind == "upernet"
    assert {kind: heads[0] for kind, heads in HEADS.items()} == {
        "segmentation": "light", "classification": "linear", "enhancement": "restore"}  # fmt: skip


def test_every_problem_of_a_file_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(
        "name: ../etc\nkind: magic\nclases: [a, b]\ncolumn: site\nhead: 3\n"
        "tuning: {steps: 0, batch: many, encoder: some}\ndegradation: {speckle: 9}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_task(path)
    text = str(caught.value)
    for wrong in ("unknown key clases, did you mean classes?", "head is a section", "tuning.batch: Value 'many'",
                  "degradation.speckle = 9.0", "tuning.encoder must be one of frozen, last_blocks, all, got 'some'",
                  "tuning.steps must be at least 1, got 0", "name must be 1 to 64 letters", "kind must be one of",
                  "column must be label or organ, got 'site'"):  # fmt: skip
        assert wrong in text
    assert len(caught.value.problems) == 9


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"name: [", "not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"- 1\n- 2\n", "must hold sections and keys"),
        (b"tuning: {learning_rate: .nan}", "tuning.learning_rate must be a finite number"),
        (b"!!python/object/apply:os.system [ls]", "not YAML"),
        (b"kind: classification\nclasses: [one]", "classes must name two classes or more"),
        (b"kind: classification\nclasses: [a|b, b]", "classes must be different words"),
        (b"kind: classification\nhead: {kind: upernet}", "head.kind must be one of linear, attentive"),
        (b"head: {width: -1}", "head.width must be 0 to 4096 channels"),
        (b"head: {width: 1000000000000}", "head.width must be 0 to 4096 channels"),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="configuration: ") as caught:
        load_task(path)
    assert problem in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_task(tmp_path / "none.yaml")


def test_every_range_of_tuning_is_checked_and_all_are_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        TuningConfig(encoder="none", last_blocks=0, layer_decay=0, steps=0, batch=0, learning_rate=-1,
                     head_learning_rate=0, warmup_fraction=2, weight_decay=-1, clip_norm=0, crop_scale_min=0,
                     evaluations=0, patience=-1, precision="16", accelerator="banana")  # fmt: skip
    assert len(caught.value.problems) == 15
