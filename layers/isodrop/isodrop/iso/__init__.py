"""What is on the ISO: bounded, ranged reading of UDF and WIM. Knows no AWS."""
