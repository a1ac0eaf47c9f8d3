"""What the two sides say to each other: plan, update, weights, codec, wire."""
