"""Taking datasets out: as `cp -r` would, verified on the way, resumed after a break, overwriting nothing."""
