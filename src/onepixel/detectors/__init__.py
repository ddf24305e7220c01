"""Detectors: fitted on signatures of clean and trojaned classifiers; each scores one signature."""
