"""Scanners that differ, and patients that come to them as their case mixes say."""

from collections import Counter

import pytest

from core.data.phantom_devices import DEVICES, LESION_ORGANS, NOMINAL_MHZ, ORGANS, case_of, device_of, roster
from core.errors import ConfigError


def test_scanners_differ_in_frequency_range_gain_and_field() -> None:
    for read in (
        lambda device: device.frequency_factor,
        lambda device: device.dynamic_range_db,
        lambda device: device.gain_db,
        lambda device: device.phased_degrees,
        lambda device: device.depth_factor,
        lambda device: device.site,
    ):
        assert len({read(device) for device in DEVICES}) == 5


def test_abdomen_and_heart_are_seen_in_a_fan_and_the_breast_in_a_rectangle() -> None:
    general = DEVICES[0]
    assert [general.aperture(organ).curved for organ in ORGANS] == [
        organ in ("liver", "kidney", "heart") for organ in ORGANS
    ]
    assert general.frequency_mhz("breast") == NOMINAL_MHZ["breast"]
    assert DEVICES[3].aperture("thyroid").curved  # a trapezoid


def test_patients_fill_the_sites_in_proportion_to_their_case_mix() -> None:
    """Breast over the first two sites, 1 to 2: of 30 patients 10 and 20, give or take one."""
    names = Counter(device_of("breast", index=index, devices=2, start=0.3).name for index in range(30))
    assert names["A"] == pytest.approx(10, abs=1)
    assert names["B"] == pytest.approx(20, abs=1)


def test_a_site_without_an_organ_gets_none_of_its_patients() -> None:
    for organ in ORGANS:
        for index in range(50):
            device = device_of(organ, index=index, devices=5, start=0.9)
            assert device.case_mix.get(organ, 0.0) > 0


def test_one_device_sees_everything() -> None:
    assert {device_of(organ, index=3, devices=1, start=0.5).name for organ in ORGANS} == {"A"}


@pytest.mark.parametrize("devices", [0, 6])
def test_a_number_of_devices_that_does_not_exist_is_refused(devices: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 5"):
        device_of("breast", index=0, devices=devices, start=0.0)


def test_the_scanner_does_not_tell_the_label() -> None:
    """Of 60 breast patients a scanner with n has 3/8 n benign and 3/8 n malignant ones, give or take two."""
    entries = [(device.name, case) for device, case in roster("breast", seed=1, patients=60, devices=3)]
    for name in ("A", "B"):
        cases = Counter(case for device, case in entries if device == name)
        assert [cases["benign"], cases["malignant"]] == pytest.approx([cases.total() * 3 / 8] * 2, abs=2)


def test_a_longer_roster_begins_with_the_shorter_one() -> None:
    assert roster("liver", seed=1, patients=30, devices=5)[:10] == roster("liver", seed=1, patients=10, devices=5)


def test_cases_come_in_their_shares() -> None:
    """A quarter normal, three eighths each benign and malignant: of 80 patients 20, 30, 30, give or take two."""
    for organ in LESION_ORGANS:
        cases = Counter(case_of(organ, index=index, start=0.2) for index in range(80))
        assert [cases[case] for case in ("normal", "benign", "malignant")] == pytest.approx([20, 30, 30], abs=2)
    assert case_of("heart", index=0, start=0.2) == ""
