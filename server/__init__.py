"""The consortium: the round loop, admission, aggregation, checkpoints, receipts."""

import core  # noqa: F401 its switches stand before the first import of Flower
