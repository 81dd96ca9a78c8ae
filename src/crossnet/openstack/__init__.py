"""What an OpenStack cloud says of the ports of hosts, and what it is asked to let them send and take."""
