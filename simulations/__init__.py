"""The whole federation on one machine, and the comparison of its arms."""

import core  # noqa: F401 its switches stand before the first import of Flower
