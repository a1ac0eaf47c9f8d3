"""The whole federation on one machine, and the comparison of its arms."""
