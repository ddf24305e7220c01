"""Readings: what a detector makes of a signature. One file for each kind; its last lines put it into `READINGS`."""

from onepixel.detectors.readings.table import READINGS, Reader, Reading, Schedule

__all__ = ["READINGS", "Reader", "Reading", "Schedule"]
