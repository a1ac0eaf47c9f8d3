"""Settings and vocabularies as YAML, shipped inside the wheel: a hospital's install reads `organs.yaml` from here."""
