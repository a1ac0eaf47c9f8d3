"""Speed and memory as ratios against a named baseline of the same run; `python -m simulations.bench --help`."""
