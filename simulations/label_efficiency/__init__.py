"""The label-efficiency study on one machine: encoders of every arm, fine-tuned for every task, budget and draw."""
