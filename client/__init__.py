"""A hospital: its data, its policy, its Flower `ClientApp`."""

import core  # noqa: F401 its switches stand before the first import of Flower
