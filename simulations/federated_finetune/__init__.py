"""Federated fine-tuning for one task, beside each hospital alone and the pooled labels."""
