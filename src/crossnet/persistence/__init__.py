"""What brings a crossing back after a reboot: one small module per way in which a host keeps its network."""
