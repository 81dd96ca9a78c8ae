"""One change of all hosts: it ends confirmed or rolled back."""
