"""The label-efficiency study on one machine: encoders of every arm, fine-tuned for every task, budget and draw."""

STUDY = "label_efficiency"
"""What the key `study` of a configuration file says."""
