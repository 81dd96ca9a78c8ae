"""What can pass, and which rule decides it: answered from facts alone, without asking a host."""
