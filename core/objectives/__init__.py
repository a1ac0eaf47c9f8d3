"""What an encoder is trained to do: spatial-frequency dual masked image modelling."""
