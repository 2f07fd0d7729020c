"""`make demo`: a whole site on real input, and its promises looked at one by one."""
