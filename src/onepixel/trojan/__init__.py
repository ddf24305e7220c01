"""Attacks: triggers, which classes they send where, and how the poison enters a training set."""
