#!/usr/bin/env python3
"""The table of `dense` (src/record/coding/dense/distribution.rs).

    python3 benches/dense_table.py

Prints, for x = 0, 1/16, ... 12, the probability that a value of Student's t distribution with 6 degrees of freedom
lies between 0 and x, as 2^20ths of the one for x = 12. For an even number of degrees the distribution function has a closed form
(Abramowitz and Stegun, 26.7.4): with 6, sin/2 (1 + cos^2/2 + 3 cos^4/8), where tan = x / sqrt(6).
"""

from math import sqrt

DEGREES, STEPS, LAST = 6, 16, 12


def half(x):
    cos2 = DEGREES / (DEGREES + x * x)
    return x / sqrt(DEGREES + x * x) / 2 * (1 + cos2 / 2 + 3 * cos2 * cos2 / 8)


def main():
    table = [round(2**20 * half(i / STEPS) / half(LAST)) for i in range(LAST * STEPS + 1)]
    for at in range(0, len(table), 12):
        print("    " + ", ".join(f"{value:_}" if value > 9999 else str(value) for value in table[at : at + 12]) + ",")


if __name__ == "__main__":
    main()
