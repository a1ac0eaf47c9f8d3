"""Scores of downstream tasks: segmentation, classification and enhancement, patient by patient, with intervals."""
