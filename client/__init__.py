"""A hospital: its data, its policy, its Flower `ClientApp`."""
