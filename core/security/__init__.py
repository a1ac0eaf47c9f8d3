"""Who somebody is and what they said: keys, certificates, signatures, the list of sites, the audit log.

Nothing here knows Flower, PyTorch or NumPy, so that a command line that only shows a fingerprint starts at once.
Every primitive is that of the library `cryptography`.
"""
