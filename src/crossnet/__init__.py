"""crossnet lets hosts reach a network they have no route to, through a host that stands in both."""

__version__ = "0.1.0"
