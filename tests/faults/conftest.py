"""The labs of the lab tests."""

from lab.conftest import eventually, lab_name, lab_possible, lab_up, run_on

__all__ = ["eventually", "lab_name", "lab_possible", "lab_up", "run_on"]
