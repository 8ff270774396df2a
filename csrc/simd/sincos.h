// Sine and cosine of pi x, for any vector type: phases are kept in half-turns, so that reducing
// them takes no multiplication.
#pragma once

#include "simd/inline.h"

namespace {

template <class V>
struct SinCos {
  V sine, cosine;
};

// x half-turns are an integer n and a rest |r| <= 1/2; sin and cos of n half-turns are a sign.
// Exact for |n| < 2^21.
template <class V>
INLINE V rest_of_half_turns(V x, V& parity) {
  const V magic = V::set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  parity = x + magic;
  return x - (parity - magic);
}

// sin(pi r) as pi r + r (a polynomial in r^2), the leading term fused last: half a unit in the
// last place or little more, without bias. Minimax; 1.0e-8 off with coefficients in float.
template <class V>
INLINE V sine_polynomial(V r, V s) {
  V p = multiply_add(V::set(0.0772222476098f), s, V::set(-0.598046449675f));
  p = multiply_add(p, s, V::set(2.55003164075f));
  p = multiply_add(p, s, V::set(-5.16770690019f));
  p = multiply_add(p, s, V::set(-1.6044e-7f));  // 3.14159258057 less the float below
  return multiply_add(V::set(3.14159274101f), r, p * r);
}

// cos(pi r) as 1 + a polynomial in r^2. Minimax; 1.8e-8 off with coefficients in float.
template <class V>
INLINE V cosine_polynomial(V s) {
  V q = multiply_add(V::set(-0.0243967165370f), s, V::set(0.234937558901f));
  q = multiply_add(q, s, V::set(-1.33521205665f));
  q = multiply_add(q, s, V::set(4.05870916434f));
  q = multiply_add(q, s, V::set(-4.93480213723f));
  return multiply_add(q, s, V::set(1.0f));
}

template <class V>
INLINE SinCos<V> sincos_half_turns(V x) {
  V parity;
  const V r = rest_of_half_turns(x, parity);
  const V s = r * r;
  return {flip_sign_by_parity(sine_polynomial(r, s), parity),
          flip_sign_by_parity(cosine_polynomial(s), parity)};
}

template <class V>
INLINE V sin_half_turns(V x) {
  V parity;
  const V r = rest_of_half_turns(x, parity);
  return flip_sign_by_parity(sine_polynomial(r, r * r), parity);
}

// Both to 7e-5, a thirtieth of a bfloat16's last place at 1, for results that are rounded to one.
template <class V>
INLINE SinCos<V> coarse_sincos_half_turns(V x) {
  V parity;
  const V r = rest_of_half_turns(x, parity);
  const V s = r * r;
  V p = multiply_add(V::set(2.29954737f), s, V::set(-5.13690535f));
  p = multiply_add(p, s, V::set(3.14064004f));
  V q = multiply_add(V::set(-1.22212924f), s, V::set(4.04128478f));
  q = multiply_add(q, s, V::set(-4.93393813f));
  q = multiply_add(q, s, V::set(0.9999933f));
  return {flip_sign_by_parity(p * r, parity), flip_sign_by_parity(q, parity)};
}

}  // namespace
