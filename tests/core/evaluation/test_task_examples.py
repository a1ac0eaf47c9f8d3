"""Examples are chosen by a rule that shows the worst as well as the best."""

import numpy as np
import pytest

from core.evaluation.task_examples import (
    Shown,
    dice_values,
    examples_of,
    numbered,
    show_class,
    show_masks,
    show_restored,
    three_of,
)


def test_the_best_the_middle_and_the_worst_patient_are_taken() -> None:
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.4, "e": 0.6}
    assert three_of(values) == [("Best", "b"), ("In the middle", "c"), ("Worst", "a")]


def test_of_equals_the_first_name_counts_and_few_patients_are_shown_once() -> None:
    assert three_of({"b": 0.5, "a": 0.5}) == [("Best", "a"), ("Worst", "b")]
    assert three_of({"a": 0.5}) == [("Best", "a")]
    assert three_of({}) == []


def test_patients_are_numbered_by_the_alphabet_and_counted_once() -> None:
    assert numbered(["z", "b", "z", "m"]) == {"b": "patient 1 of 3", "m": "patient 2 of 3", "z": "patient 3 of 3"}


def test_a_patient_is_shown_by_the_image_nearest_to_the_mean() -> None:
    # Patient a: mean (0.2 + 0.8 + 0.6) / 3 = 0.53, nearest 0.6; an image without a value is not shown.
    values = np.array([0.2, 0.8, 0.6, np.nan, 1.0])
    patients = np.array(["a", "a", "a", "a", "b"])
    made = examples_of(values, patients, show=lambda row: Shown(f"image {row}.", []), called={"a": "A", "b": "B"})
    assert [(example.title, example.note) for example in made] == [
        ("Best: B", "image 4."),
        ("Worst: A", "image 2. This patient has 3 such images."),
    ]


def test_dice_of_an_empty_mask_is_no_value() -> None:
    truth = np.zeros((2, 2, 2), np.bool_)
    truth[0, 0] = True
    predicted = np.ones((2, 2, 2), np.bool_)
    values = dice_values(predicted, truth)
    assert values[0] == pytest.approx(2 * 2 / (2 + 4))
    assert np.isnan(values[1])


def test_what_is_shown_says_what_it_is() -> None:
    image, mask = np.zeros((8, 8), np.uint8), np.ones((8, 8), np.bool_)
    masks = show_masks(image, mask, ~mask, dice=0.0)
    assert masks.note == "Dice 0.00 in this image. The model found nothing here."
    assert [name for name, _ in masks.pictures] == ["image", "drawn by hand", "the model's", "both"]
    named = show_class(image, 0, np.array([0.25, 0.75]), classes=["benign", "malignant"])
    assert named.note == ("It is benign: wrong, taken for malignant. Probabilities: benign 0.25, malignant 0.75.")
    grey = np.zeros((8, 8), np.float32)
    restored = show_restored(grey, grey, grey, gain=1.25)
    assert restored.note == "Gain of PSNR +1.2 dB in this image."
    assert [name for name, _ in restored.pictures] == ["degraded", "restored", "clean"]
