"""A real Neutron for the lab: the API that a cloud's user speaks to, and its own firewall for the ports."""
