"""The encoder, its decoders and their sizes."""
