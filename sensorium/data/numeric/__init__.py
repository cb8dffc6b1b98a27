"""Files of numbers: columns, clocks, grids, and what a series or a cloud is made of."""
