/**
 * The only helpers that kernels share. All but activate4 is inlined into its caller.
 * f32 in, f32 out; error bounds hold for both binaries (fused and unfused multiply-add).
 */

/** a * b + c; one rounding in the relaxed binary where the CPU has FMA, else two. The same within one machine and binary. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  else return f32x4.add(f32x4.mul(a, b), c);
}

/**
 * A splat by way of memory at `scratch`. V8 makes a vector constant anew, in several instructions, at every use of it in a
 * loop; what was loaded before the loop stays in its register.
 */
// @ts-ignore: decorator
@inline
export function constant(scratch: usize, value: i32): v128 {
  store<i32>(scratch, value);
  return v128.load32_splat(scratch);
}

/** For exp4, four lanes each, in the order of their use: range, rounding, log2 e, ln 2 in two parts, polynomial, 1. */
const EXP: usize = memory.data<f32>([
  -87, -87, -87, -87, 89, 89, 89, 89, 12582912, 12582912, 12582912, 12582912, 1.44269504, 1.44269504, 1.44269504, 1.44269504,
  -0.693359375, -0.693359375, -0.693359375, -0.693359375, 2.12194440e-4, 2.12194440e-4, 2.12194440e-4, 2.12194440e-4,
  1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4, 1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3,
  8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3, 4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2,
  1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1, 5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1,
  1, 1, 1, 1,
], 16);
/** The bias of an exponent. */
export const BIAS: usize = memory.data<i32>([127, 127, 127, 127], 16);

/** Four vectors, one behind the other. */
// @ts-ignore: decorator
@inline
export function store4(to: usize, x0: v128, x1: v128, x2: v128, x3: v128): void {
  v128.store(to, x0);
  v128.store(to, x1, 16);
  v128.store(to, x2, 32);
  v128.store(to, x3, 48);
}

/** Sum of the four lanes: (l0 + l2) + (l1 + l3). */
// @ts-ignore: decorator
@inline
export function sum_lanes(x: v128): f32 {
  const pair = f32x4.add(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(pair, 0) + f32x4.extract_lane(pair, 1);
}

/** The lane sums of four vectors. */
// @ts-ignore: decorator
@inline
export function add_across(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/** Bytes of n numbers, rounded up to whole vectors; as f64 where a sum with it may pass 2^32. */
// @ts-ignore: decorator
@inline
export function vector_bytes<T = i32>(n: i32): T {
  return <T>((n + 3) & ~3) * 4;
}

/** The lanes of x into every `step`-th byte from `out` on; returns where the next one goes. */
// @ts-ignore: decorator
@inline
export function scatter_lanes(out: usize, step: usize, x: v128): usize {
  const to1 = out + step, to2 = to1 + step, to3 = to2 + step;
  v128.store_lane<f32>(out, x, 0);
  v128.store_lane<f32>(to1, x, 1);
  v128.store_lane<f32>(to2, x, 2);
  v128.store_lane<f32>(to3, x, 3);
  return to3 + step;
}

/**
 * exp, relative error < 2e-7 on [-87, 88]; exp(-87) = 1.6e-38 for all below, infinity above 88.37 (the true limit is 88.72), NaN for NaN.
 * x = n ln 2 + r with |r| <= 0.35; ln 2 in two parts, so that n * high is exact; Cephes' polynomial for exp(r).
 */
// @ts-ignore: decorator
@inline
function exp4(x: v128): v128 {
  // pmin and pmax return their first operand when it is NaN.
  const clamped = f32x4.pmin(f32x4.pmax(x, v128.load(EXP, 0)), v128.load(EXP, 16));
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  const magic = v128.load(EXP, 32);
  const shifted = madd(clamped, v128.load(EXP, 48), magic);
  const n = f32x4.sub(shifted, magic);
  let r = madd(n, v128.load(EXP, 64), clamped);
  r = madd(n, v128.load(EXP, 80), r);
  let p = madd(v128.load(EXP, 96), r, v128.load(EXP, 112));
  p = madd(p, r, v128.load(EXP, 128));
  p = madd(p, r, v128.load(EXP, 144));
  p = madd(p, r, v128.load(EXP, 160));
  p = madd(p, r, v128.load(EXP, 176));
  p = f32x4.add(madd(p, f32x4.mul(r, r), r), v128.load(EXP, 192));
  // 2^n by its exponent bits; n = 128 makes infinity.
  return f32x4.mul(p, i32x4.shl(i32x4.add(shifted, v128.load(BIAS)), 23));
}

/** x sigmoid(-t) = x / (1 + exp(t)): relative error < 4e-7 beside that of exp's argument; -0 where exp overflows. */
// @ts-ignore: decorator
@inline
function times_sigmoid4(x: v128, t: v128): v128 {
  return f32x4.div(x, f32x4.add(v128.load(EXP, 192), exp4(t)));
}

/**
 * erfc of a non-negative number: t exp(-a^2 + P(t)), t = 1 / (1 + a / 2) (Numerical Recipes, erfcc). Absolute error
 * < 4e-7, relative error < 2e-6 up to a = 4 (the square's rounding grows with a^2). Where exp is below 1.7e-38 exactly 0, so that
 * subnormals are flushed.
 */
// @ts-ignore: decorator
@inline
function erfc4(a: v128): v128 {
  const one = f32x4.splat(1);
  const t = f32x4.div(one, madd(a, f32x4.splat(0.5), one));
  let p = madd(f32x4.splat(0.17087277), t, f32x4.splat(-0.82215223));
  p = madd(p, t, f32x4.splat(1.48851587));
  p = madd(p, t, f32x4.splat(-1.13520398));
  p = madd(p, t, f32x4.splat(0.27886807));
  p = madd(p, t, f32x4.splat(-0.18628806));
  p = madd(p, t, f32x4.splat(0.09678418));
  p = madd(p, t, f32x4.splat(0.37409196));
  p = madd(p, t, f32x4.splat(1.00002368));
  p = madd(p, t, f32x4.splat(-1.26551223));
  const exponent = f32x4.sub(p, f32x4.mul(a, a));
  return f32x4.mul(t, v128.andnot(exp4(exponent), f32x4.lt(exponent, f32x4.splat(-87))));
}

// The activations of src/ops/activation.ts. At -infinity silu, gelu and their kin give NaN (0 * infinity), like the reference.

// @ts-ignore: decorator
@inline
export function silu4(x: v128): v128 {
  return times_sigmoid4(x, f32x4.neg(x));
}

/** x / 2 * erfc(-x / sqrt 2), so that the negative tail keeps its relative accuracy. */
// @ts-ignore: decorator
@inline
function gelu4(x: v128): v128 {
  const tail = erfc4(f32x4.mul(f32x4.abs(x), f32x4.splat(0.70710678)));
  const both = v128.bitselect(tail, f32x4.sub(f32x4.splat(2), tail), f32x4.lt(x, f32x4.splat(0)));
  return f32x4.mul(f32x4.mul(x, f32x4.splat(0.5)), both);
}

/** (1 + tanh u) / 2 is sigmoid(2u). */
// @ts-ignore: decorator
@inline
function gelu_tanh4(x: v128): v128 {
  const cubic = madd(f32x4.mul(f32x4.mul(x, x), x), f32x4.splat(0.044715), x);
  return times_sigmoid4(x, f32x4.mul(cubic, f32x4.splat(-1.5957691216)));
}

/** The activation whose index in ACTIVATIONS is `code`; 0 is the identity. Not inlined: at every use it would be most of the binary. */
export function activate4(code: i32, x: v128): v128 {
  if (code == 0) return x;
  if (code == 1) return silu4(x);
  if (code == 2) return gelu4(x);
  if (code == 3) return gelu_tanh4(x);
  if (code == 4) return times_sigmoid4(x, f32x4.mul(x, f32x4.splat(-1.702))); // quick_gelu
  return v128.andnot(x, f32x4.le(x, f32x4.splat(0))); // relu: 0 where x <= 0; NaN passes through
}
