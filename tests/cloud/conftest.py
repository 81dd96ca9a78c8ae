"""Tests here speak to a real Neutron."""

from cloud.fixtures import asking, installed, logged_in, seed, seed_apart, seed_networks, served

__all__ = ["asking", "installed", "logged_in", "seed", "seed_apart", "seed_networks", "served"]
