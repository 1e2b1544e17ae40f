"""The demo: a film with known truth, and the whole of castmine run on it."""
