"""Write polynomials.h: interpolation at Chebyshev nodes, in 60 digits, rounded once.

Run `python csrc/simd/fit_polynomials.py > csrc/simd/polynomials.h` (needs mpmath). The error of
each fit, relative to the function that it serves, is printed beside its coefficients.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]


def fit(f: Function, low: mp.mpf, high: mp.mpf, degree: int) -> list[mp.mpf]:
    """Monomial coefficients, lowest first, of the interpolant of f on [low, high]."""
    middle, half, count = (low + high) / 2, (high - low) / 2, degree + 1
    nodes = [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    powers = mp.matrix(count, count)
    for i, x in enumerate(nodes):
        for j in range(count):
            powers[i, j] = x**j
    return list(mp.lu_solve(powers, mp.matrix([f(x) for x in nodes])))


def worst(f: Function, c: list[mp.mpf], low: mp.mpf, high: mp.mpf, weight: Function) -> mp.mpf:
    points = [low + (high - low) * i / 300 for i in range(301)]
    return max(abs((mp.polyval(c[::-1], x) - f(x)) * weight(x)) for x in points)


def exp_q(r: mp.mpf) -> mp.mpf:
    return (mp.exp(r) - 1 - r) / r**2 if abs(r) > mp.mpf("1e-20") else mp.mpf(1) / 2


def exp2_q(r: mp.mpf) -> mp.mpf:
    return (2**r - 1) / r if abs(r) > mp.mpf("1e-20") else mp.log(2)


def log_p(z: mp.mpf) -> mp.mpf:
    if z < mp.mpf("1e-20"):
        return mp.mpf(2) / 3
    s = mp.sqrt(z)
    return ((mp.log((1 + s) / (1 - s)) - 2 * s) / s) / z


def erf_s(z: mp.mpf) -> mp.mpf:
    return mp.erf(mp.sqrt(z)) / mp.sqrt(z) if z > mp.mpf("1e-20") else 2 / mp.sqrt(mp.pi)


def sin_s(z: mp.mpf) -> mp.mpf:
    r = mp.sqrt(z)
    return mp.sin(2 * mp.pi * r) / r if z > mp.mpf("1e-20") else 2 * mp.pi


def cos_c(z: mp.mpf) -> mp.mpf:
    return (mp.cos(2 * mp.pi * mp.sqrt(z)) - 1) / z if z > mp.mpf("1e-20") else -2 * mp.pi**2


def table(name: str, f: Function, low: mp.mpf, high: mp.mpf, degree: int, weight: Function) -> str:
    c = fit(f, low, high, degree)
    bits = mp.log(worst(f, c, low, high, weight), 2)
    values = ", ".join(mp.nstr(x, 20) for x in c)
    return f"  // error 2^{mp.nstr(bits, 4)}\n  static constexpr T {name}[] = {{{values}}};\n"


def eighths(fraction: int) -> tuple[mp.mpf, str]:
    """ln(f), f near 2^(1/16), and the bits below the exponent of 2^(i/8) f, those of i in the first
    three turned over. 2^(7/8) f is exact and even, so that 1 can be added to its half exactly."""
    even = 2 * mp.nint(2 ** (fraction + mp.mpf(15) / 16) / 2)
    powers = [even * 2 ** (mp.mpf(i - 7) / 8) for i in range(8)]
    words = [int(mp.nint(x)) - 2**fraction ^ i << fraction - 3 for i, x in enumerate(powers)]
    table = f"  static constexpr Bits<T>::Int eighths[] = {{{', '.join(map(hex, words))}}};\n"
    return mp.log(powers[0] / 2**fraction), table


def tables(cpp_type: str, fraction: int, erf_end: str, degrees: dict[str, int]) -> str:
    ln2 = mp.log(2) / 2 * mp.mpf("1.0001")
    z_log = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.001")
    first, last = 1 / (mp.mpf(erf_end) + 3), mp.mpf(1) / 4  # t = 1 / (u + 3) for u = end .. 1
    slope, shift = 2 / (last - first), (last + first) / (last - first)

    def erfc_g(y: mp.mpf) -> mp.mpf:
        t = (y + shift) / slope
        u = 1 / t - 3
        return mp.exp(u * u) * mp.erfc(u) / t

    def exp_m(r: mp.mpf) -> mp.mpf:
        return mp.expm1(mp.log(2) / 8 - log_f - r)

    log_f, powers = eighths(fraction)
    one, half = mp.mpf(1), mp.mpf("0.50005")
    parts = [
        table("exp_q", exp_q, -ln2, ln2, degrees["exp"], lambda r: r * r),
        table("exp_m", exp_m, -ln2 / 8, ln2 / 8, degrees["exp_m"], lambda r: one),
        powers,
        table("exp2_q", exp2_q, -half, half, degrees["exp2"], lambda r: r),
        table("log_p", log_p, mp.mpf(0), z_log, degrees["log"], lambda z: z / 2),
        table("erf_s", erf_s, mp.mpf(0), one, degrees["erf"], lambda z: 1 / erf_s(z)),
        table("erfc_g", erfc_g, -one, one, degrees["erfc"], lambda y: 1 / erfc_g(y)),
        table("sin_s", sin_s, mp.mpf(0), one / 64, degrees["trig"], lambda z: 1 / (2 * mp.pi)),
        table("cos_c", cos_c, mp.mpf(0), one / 64, degrees["trig"], lambda z: z),
    ]
    ends = f"  static constexpr T erfc_end = {erf_end}, erfc_slope = {mp.nstr(slope, 20)}, "
    return (
        f"template <>\nstruct Polynomials<{cpp_type}> {{\n  using T = {cpp_type};\n"
        + "".join(parts)
        + ends
        + f"erfc_shift = {mp.nstr(shift, 20)};\n}};\n"
    )


HEADER = """// Written by fit_polynomials.py; do not edit. Coefficients, lowest power first:
// exp(r) = 1 + r + r^2 exp_q(r), |r| <= ln(2)/2;
// exp(ln(2)/8 - r) = f + f exp_m(r), |r| <= ln(2)/16, f near 2^(1/16); eighths: of 2^(i/8) f;
// 2^r = 1 + r exp2_q(r), |r| <= 1/2;
// log((1+s)/(1-s)) = 2 s + s z log_p(z), z = s^2; erf(x) = x erf_s(x^2), |x| <= 1;
// erfc(u) = exp(-u^2) t erfc_g(slope t - shift), t = 1/(u + 3), 1 <= u <= erfc_end;
// sin(2 pi r) = r sin_s(r^2), cos(2 pi r) = 1 + r^2 cos_c(r^2), |r| <= 1/8.
#pragma once
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

template <class T>
struct Polynomials;
// clang-format off
"""
FOOTER = """// clang-format on
}  // namespace
}  // namespace pydiff::PYDIFF_ISA_NAMESPACE"""

if __name__ == "__main__":
    single = {"exp": 5, "exp_m": 4, "exp2": 5, "log": 3, "erf": 6, "erfc": 9, "trig": 3}
    double = {"exp": 10, "exp_m": 7, "exp2": 11, "log": 7, "erf": 12, "erfc": 20, "trig": 7}
    print(HEADER + tables("float", 23, "10.5", single), end="")
    print(tables("double", 52, "27.4", double) + FOOTER)
