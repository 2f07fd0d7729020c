"""Disks that people carry: jobs at disks, packing, reading, custody, news."""
