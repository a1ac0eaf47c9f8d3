"""The consortium: the round loop, admission, aggregation, checkpoints, receipts."""
