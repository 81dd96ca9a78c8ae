"""One apply over all hosts: it ends confirmed or rolled back."""
